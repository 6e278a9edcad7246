//! The flags that every command on a data directory takes, and what they make of the configuration.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

use crate::config::{Config, ConfigError, Layers, Override};

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
    /// The configuration in force.
    pub(super) fn load(self) -> Result<Config, ConfigError> {
        self.layers([])?.config()
    }

    /// What was set and where, with a command's own flags on top.
    fn layers(self, flags: impl IntoIterator<Item = Override>) -> Result<Layers, ConfigError> {
        let mut overrides: Vec<Override> = flags.into_iter().collect();
        if let Some(data) = self.data {
            overrides.push(("store.data", data.to_string_lossy().into_owned()));
        }
        if let Some(url) = self.database_url {
            overrides.push(("store.database_url", url));
        }
        Layers::read(self.config, &overrides)
    }
}

/// The flags of a command that looks at a server as a whole.
#[derive(Debug, Args)]
pub(super) struct ServerSettings {
    #[command(flatten)]
    settings: Settings,
    /// Listen on this address [default: 127.0.0.1:8080]; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Answer with these, the first that works: builtin, openai, synthetic [default: builtin]
    #[arg(long, value_name = "PROVIDERS")]
    model: Option<String>,
}

impl ServerSettings {
    pub(super) fn layers(self) -> Result<Layers, ConfigError> {
        let listen = self.listen.map(|address| ("server.listen", address.to_string()));
        let model = self.model.map(|providers| ("model.providers", providers));
        self.settings.layers(listen.into_iter().chain(model))
    }
}
