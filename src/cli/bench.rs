//! `openclaw-server bench`: a load generator that checks what it receives, and a baseline to compare with.

mod about;
mod answer;
pub(super) mod bare;
mod blocks;
mod client;
mod commits;
mod compare;
mod figures;
pub(super) mod hooks;
mod html;
mod idle;
mod knowledge;
mod load;
mod options;
mod output;
mod page;
mod perform;
mod process;
mod progress;
mod protocol;
mod ramp;
mod report;
mod restarts;
mod scenario;
mod slow;
mod stage;
mod tally;
mod timeline;
mod wire;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Subcommand;

pub(super) use self::options::Options as Bench;
use self::{output::Output, perform::Stage};
use super::{Outcome, serve::Signals};

/// As a shell reports a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// What is done with reports that are there.
#[derive(Debug, Subcommand)]
enum Further {
    Compare(compare::Compare),
    Page(page::Page),
}

impl Bench {
    pub(super) fn run(self) -> Outcome {
        match self.further {
            Some(Further::Compare(compare)) => compare.run(),
            Some(Further::Page(page)) => page.run(),
            None => self.measure(),
        }
    }

    fn measure(self) -> Outcome {
        self.check()?;
        // An hour of measuring must not end at a folder that is not there.
        let page = self.html.as_deref().map(Output::to).transpose()?;
        // Thousands of connections from one process; where it cannot be raised, errors will say so.
        drop(rlimit::increase_nofile_limit(u64::MAX));
        actix::System::new().block_on(async {
            let mut signals = Signals::listen()?;
            let mut stage = Stage::default();
            let performed = tokio::select! {
                performed = stage.perform(&self) => Some(performed),
                () = signals.any() => None,
            };
            // Also where the run was broken off or has failed, nothing stays behind.
            stage.strike().await?;
            let Some(report) = performed.transpose()? else {
                eprintln!("interrupted: there is nothing to report");
                return Ok(ExitCode::from(INTERRUPTED));
            };
            if let Some(page) = page {
                page.write(html::report(&report).as_bytes())?;
            }
            let told = match self.json {
                true => format!("{}\n", serde_json::to_string(&report)?),
                false => report.to_string(),
            };
            // Not by a macro, which panics where standard output is a closed pipe.
            io::stdout().write_all(told.as_bytes())?;
            Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }
}
