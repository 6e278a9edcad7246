//! What a report says of its own making: with what, on what, and what was asked. No secret is part of it.

use std::{collections::BTreeMap, env, fs, thread};

use jiff::Timestamp;
use rustix::system::uname;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Options whose values are nobody's business: a key, and an address that may hold a password.
const SECRET: [&str; 2] = ["--key", "--database-url"];

/// What stands in their place.
const HIDDEN: &str = "…";

/// Where a report comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct About {
    /// What the caller calls it.
    pub(super) title: Option<String>,
    /// The command line, without secrets.
    pub(super) command: String,
    /// RFC 3339, in UTC.
    pub(super) began_at: String,
    pub(super) version: String,
    /// `release` or `debug`: figures of a debug build say little.
    pub(super) build: String,
    pub(super) machine: Machine,
    /// What was measured: reports of other options are not compared.
    pub(super) options: BTreeMap<String, Value>,
}

/// Where it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) processor: Option<String>,
    pub(super) memory_mib: Option<u64>,
    pub(super) kernel: String,
}

impl About {
    /// This program, here and now.
    pub(super) fn now(title: Option<&str>, options: BTreeMap<String, Value>) -> Self {
        let arguments = env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
        Self {
            title: title.map(str::to_owned),
            command: shown(arguments),
            began_at: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
            machine: Machine::this(),
            options,
        }
    }
}

impl Machine {
    fn this() -> Self {
        let line = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = line("/proc/meminfo", "MemTotal")
            .and_then(|memory| memory.split_whitespace().next()?.parse::<u64>().ok());
        let kernel = uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            processor: line("/proc/cpuinfo", "model name"),
            memory_mib: memory.map(|kibibytes| kibibytes / 1024),
            kernel: format!(
                "{} {} {}",
                text(kernel.sysname()),
                text(kernel.release()),
                text(kernel.machine())
            ),
        }
    }
}

/// The command line as a shell takes it, with secrets hidden.
fn shown(arguments: impl Iterator<Item = String>) -> String {
    let mut shown = vec!["openclaw-server".to_owned()];
    let mut hides_next = false;
    for argument in arguments {
        let named = argument.split_once('=').filter(|(name, _)| SECRET.contains(name));
        shown.push(match named {
            _ if std::mem::take(&mut hides_next) => HIDDEN.to_owned(),
            Some((name, _)) => format!("{name}={HIDDEN}"),
            None => quoted(&without_password(&argument)),
        });
        hides_next = SECRET.contains(&argument.as_str());
    }
    shown.join(" ")
}

/// A URL may say who asks.
fn without_password(argument: &str) -> String {
    let Some((scheme, rest)) = argument.split_once("://") else { return argument.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, host)) => format!("{scheme}://{HIDDEN}@{host}{}", &rest[user.len() + 1 + host.len()..]),
        None => argument.to_owned(),
    }
}

fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+%…".contains(c);
    match argument.chars().all(is_plain) && !argument.is_empty() {
        true => argument.to_owned(),
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    }
}

/// The text without the secret, if it is in it.
pub(super) fn without(text: &str, secret: Option<&str>) -> String {
    match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => text.replace(secret, HIDDEN),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_shown_without_its_secrets() {
        let line = |arguments: &[&str]| shown(arguments.iter().map(|argument| (*argument).to_owned()));
        assert_eq!(
            line(&["bench", "--key", "oc_live_1", "--url", "https://me:pw@host:1/a", "--title", "a b"]),
            "openclaw-server bench --key … --url https://…@host:1/a --title 'a b'"
        );
        assert_eq!(line(&["--key=oc_live_1"]), "openclaw-server --key=…");
        assert_eq!(line(&["--database-url", "postgres://u:p@h/db"]), "openclaw-server --database-url …");
        assert_eq!(without("no oc_1 here", Some("oc_1")), "no … here");
    }
}
