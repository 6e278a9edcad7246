//! `openclaw-server doctor`: looks at everything a server needs, changes nothing, and says what to do.

mod data;
mod embeddings;
mod finding;
mod listening;
mod machine;
mod models;
mod store;
mod tls;

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use self::finding::{Finding, Verdict};
use super::{Outcome, on_one_line, settings::ServerSettings};
use crate::config::ConfigError;

/// Look for what is wrong here, and say what to do about it
///
/// Takes the settings that the server is started with, and may run beside it. The exit status is 1 if something fails.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    settings: ServerSettings,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self) -> Outcome {
        let findings = actix::System::new().block_on(examine(self.settings));
        let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
        if self.json {
            println!("{:#}", json!({ "status": worst, "data": findings }));
        } else {
            findings.iter().for_each(|finding| println!("{finding}"));
        }
        Ok(if worst == Verdict::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

async fn examine(settings: ServerSettings) -> Vec<Finding> {
    let config = match settings.layers().and_then(|layers| layers.config()) {
        Ok(config) => config,
        Err(error) => return vec![not_understood(&error)],
    };
    let mut findings = vec![Finding::ok("configuration", "every setting makes sense")];
    findings.extend(data::examine(&config.store));
    findings.push(machine::files());
    findings.push(machine::clock(&config.store.data));
    findings.push(machine::space(&config.store.data));
    findings.extend(store::examine(&config.store).await);
    findings.extend(tls::examine(config.server.tls.files().as_ref()));
    findings.extend(listening::examine(&config.server).await);
    findings.extend(models::examine(&config.model).await);
    findings.extend(embeddings::examine(&config.knowledge.embeddings).await);
    findings
}

fn not_understood(error: &ConfigError) -> Finding {
    Finding::fail("configuration", on_one_line(error))
        .advise("correct that setting; nothing else was looked at, because it depends on the settings")
}
