//! `openclaw-server completions` and `openclaw-server man`: what a package ships beside the program.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Outcome};

/// Print what makes a shell complete this program's commands
///
/// For bash, for example: openclaw-server completions bash > /etc/bash_completion.d/openclaw-server
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Outcome {
        let mut command = Cli::command();
        let name = command.get_name().to_owned();
        // Not straight to standard output: the generator panics where that is a closed pipe.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        io::stdout().write_all(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Write the manual pages, one for each command
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Where to; made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> Outcome {
        fs::create_dir_all(&self.directory)?;
        clap_mangen::generate_to(Cli::command(), &self.directory)?;
        Ok(ExitCode::SUCCESS)
    }
}
