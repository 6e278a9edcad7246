//! The `openclaw-server` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    openclaw_server::cli::run()
}
