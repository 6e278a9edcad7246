//! The layers of the configuration, and which of them a value came from.

use std::{fmt, path::PathBuf};

use config::{Environment, File, FileFormat};
use serde::Serialize;

use super::{Config, ConfigError, Override};

/// Begins the name of each variable.
const PREFIX: &str = "OPENCLAW";

/// After the prefix of each variable's name, and between its section and its key.
const SEPARATOR: &str = "__";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "source", content = "name", rename_all = "snake_case")]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// This file.
    File(PathBuf),
    /// This variable.
    Environment(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// What was set, layer by layer.
#[derive(Debug)]
pub struct Layers {
    file: Option<(PathBuf, config::Config)>,
    environment: config::Config,
    flags: Vec<Override>,
}

impl Layers {
    /// Reads the file, if one is named, and the environment.
    ///
    /// # Errors
    /// The file is missing or not TOML.
    pub fn read(file: Option<PathBuf>, flags: &[Override]) -> Result<Self, ConfigError> {
        let variables = Environment::with_prefix(PREFIX).prefix_separator(SEPARATOR).separator(SEPARATOR);
        let environment = config::Config::builder().add_source(variables).build()?;
        let file = match file {
            Some(path) => {
                let source = File::from(path.as_path()).format(FileFormat::Toml);
                Some((path, config::Config::builder().add_source(source).build()?))
            }
            None => None,
        };
        Ok(Self { file, environment, flags: flags.to_vec() })
    }

    /// What is in force.
    ///
    /// # Errors
    /// A key is unknown, or a value makes no sense.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let mut layers = config::Config::builder();
        if let Some((_, file)) = &self.file {
            layers = layers.add_source(file.clone());
        }
        layers = layers.add_source(self.environment.clone());
        for (key, value) in &self.flags {
            layers = layers.set_override(*key, value.as_str())?;
        }
        let config: Config = layers.build()?.try_deserialize()?;
        config.check()?;
        Ok(config)
    }

    /// Where the value of `section.key` came from: the topmost layer that has it.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        let has = |layer: &config::Config| layer.get::<config::Value>(key).is_ok();
        if self.flags.iter().any(|(flag, _)| *flag == key) {
            return Origin::Flag;
        }
        if has(&self.environment) {
            let name = key.to_uppercase().replace('.', SEPARATOR);
            return Origin::Environment(format!("{PREFIX}{SEPARATOR}{name}"));
        }
        match &self.file {
            Some((path, file)) if has(file) => Origin::File(path.clone()),
            _ => Origin::Default,
        }
    }
}
