//! `openclaw-server config`: what is in force, and where each value came from.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Outcome, settings::ServerSettings};
use crate::config::{Layers, Origin};

/// Show the configuration in force, and where each value came from
#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(flatten)]
    settings: ServerSettings,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One setting, by its full name.
#[derive(Serialize)]
struct Setting {
    key: String,
    value: Value,
    #[serde(flatten)]
    origin: Origin,
}

impl Config {
    pub(super) fn run(self) -> Outcome {
        let layers = self.settings.layers()?;
        let in_force = serde_json::to_value(layers.config()?)?;
        let mut settings = Vec::new();
        collect(&layers, "", in_force, &mut settings);
        if self.json {
            println!("{:#}", json!({ "data": settings }));
        } else {
            settings.iter().for_each(print);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn collect(layers: &Layers, key: &str, value: Value, settings: &mut Vec<Setting>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let inner = if key.is_empty() { name } else { format!("{key}.{name}") };
                collect(layers, &inner, value, settings);
            }
        }
        value => settings.push(Setting { key: key.to_owned(), value, origin: layers.origin(key) }),
    }
}

/// TOML's dotted keys; what is not set stands as a comment.
fn print(setting: &Setting) {
    let Setting { key, value, origin } = setting;
    match value {
        Value::Null => println!("# {key} is not set"),
        value => println!("{:<52}  # {origin}", format!("{key} = {value}")),
    }
}
