//! Programs in other languages, with the clients that `tests/clients/` pins.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where the clients are. The first test that asks installs them.
pub(crate) struct Clients(PathBuf);

impl Clients {
    /// Installs them unless they are there.
    pub(crate) fn installed() -> Self {
        Self::with(&[])
    }

    /// The same, and a Chromium.
    pub(crate) fn with_chromium() -> Self {
        Self::with(&["chromium"])
    }

    /// Schemathesis, on a file of `tests/schemathesis/`.
    pub(crate) fn schemathesis() -> Command {
        let own = Self::with(&["schemathesis"]);
        let mut command = Command::new(own.0.join("schemathesis/bin/schemathesis"));
        command.current_dir(root().join("tests/schemathesis"));
        command
    }

    /// Prometheus' own tool.
    pub(crate) fn promtool() -> Command {
        Command::new(Self::with(&["promtool"]).0.join("bin/promtool"))
    }

    fn with(programs: &[&str]) -> Self {
        let install = root().join("tests/clients/install.sh");
        let output = Command::new("bash")
            .arg(install)
            .arg(env!("CARGO_TARGET_TMPDIR"))
            .args(programs)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "the clients are not there: see above");
        Self(String::from_utf8(output.stdout).unwrap().trim_end().into())
    }

    /// A Python program of `tests/`.
    pub(crate) fn python(&self, program: &str) -> Command {
        let mut command = Command::new(self.0.join("python/bin/python"));
        command.arg(root().join("tests").join(program));
        command
    }

    /// A Node program of `tests/`.
    pub(crate) fn node(&self, program: &str) -> Command {
        let mut command = Command::new("node");
        command.arg(root().join("tests").join(program)).current_dir(self.0.join("node"));
        command
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
