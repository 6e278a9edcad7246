//! The flags that every command on a data directory takes, and what they make of the configuration.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::Value;

use super::Outcome;
use crate::config::{Config, ConfigError, Override};

/// Where the data is.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE", env = "OPENCLAW_CONFIG")]
    config: Option<PathBuf>,
    /// Keep everything in this directory [default: data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Use PostgreSQL instead of the embedded database
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

impl Settings {
    /// The configuration in force, with a command's own flags on top.
    pub(super) fn load(self, flags: impl IntoIterator<Item = Override>) -> Result<Config, ConfigError> {
        let mut overrides: Vec<Override> = flags.into_iter().collect();
        if let Some(data) = self.data {
            overrides.push(("store.data", data.to_string_lossy().into_owned()));
        }
        if let Some(url) = self.database_url {
            overrides.push(("store.database_url", url));
        }
        Config::load(self.config, &overrides)
    }
}

/// `openclaw-server config`
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    settings: Settings,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self) -> Outcome {
        let config = serde_json::to_value(self.settings.load([])?)?;
        if self.json {
            println!("{config:#}");
        } else {
            print_lines("", &config);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// TOML's dotted keys; what is not set stands as a comment.
fn print_lines(key: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                print_lines(&inner, value);
            }
        }
        Value::Null => println!("# {key} is not set"),
        value => println!("{key} = {value}"),
    }
}
