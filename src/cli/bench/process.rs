//! What a process costs, read from `/proc`: CPU time by what its threads do, and memory.

use std::{collections::BTreeMap, fs};

use rustix::param::clock_ticks_per_second;
use serde::Serialize;

/// What threads are called that work for the store: the writer's own arbiter, and those that run SQLite's statements.
const STORE_THREADS: [&str; 2] = ["writer", "sqlx-sqlite"];

/// CPU seconds by group of threads.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Cpu {
    /// Of the whole process, ended threads included.
    pub(super) total: f64,
    /// By what the threads are called.
    pub(super) groups: BTreeMap<String, f64>,
}

impl Cpu {
    /// Up to now. Nothing if there is no such process.
    pub(super) fn of(pid: u32) -> Self {
        let total = Self::total_of(pid);
        let mut groups: BTreeMap<String, f64> = BTreeMap::new();
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let path = task.path();
            let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
            let seconds = stat_seconds(&path.join("stat").to_string_lossy());
            *groups.entry(group(name.trim_end()).to_owned()).or_default() += seconds.unwrap_or_default();
        }
        Self { total: total.unwrap_or_default(), groups }
    }

    /// Seconds of the whole process up to now, if there is one.
    pub(super) fn total_of(pid: u32) -> Option<f64> {
        stat_seconds(&format!("/proc/{pid}/stat"))
    }

    /// What was spent since `before`.
    pub(super) fn since(mut self, before: &Self) -> Self {
        self.total -= before.total;
        for (group, seconds) in &mut self.groups {
            *seconds -= before.groups.get(group).copied().unwrap_or_default();
        }
        self
    }

    pub(super) fn add(&mut self, more: &Self) {
        self.total += more.total;
        for (group, seconds) in &more.groups {
            *self.groups.entry(group.clone()).or_default() += seconds;
        }
    }

    /// What the store's threads spent of it.
    pub(super) fn of_store(&self) -> f64 {
        let is_store = |group: &str| STORE_THREADS.contains(&group);
        self.groups.iter().filter(|(group, _)| is_store(group)).map(|(_, seconds)| seconds).sum()
    }
}

/// Threads that do the same are called the same, but for a number; the kernel keeps fifteen characters.
fn group(name: &str) -> &str {
    match name {
        _ if name.starts_with("sqlx-sqlite") => "sqlx-sqlite",
        _ => name.trim_end_matches(|last: char| last.is_ascii_digit() || last == '-'),
    }
}

/// User and system time.
fn stat_seconds(path: &str) -> Option<f64> {
    let stat = fs::read_to_string(path).ok()?;
    // The name before may hold spaces and parentheses.
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / clock_ticks_per_second() as f64)
}

/// Memory, in mebibytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Memory {
    /// Resident now.
    pub(super) resident: f64,
    /// The most that was resident at once.
    pub(super) peak: f64,
}

impl Memory {
    pub(super) fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mebibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok().map(|kibibytes| kibibytes / 1024.0)
        };
        Self {
            resident: mebibytes("VmRSS:").unwrap_or_default(),
            peak: mebibytes("VmHWM:").unwrap_or_default(),
        }
    }
}

/// How busy the machine is: runnable processes on average over the last minute.
pub(super) fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_told_apart_by_what_they_do() {
        for (name, expected) in [
            ("sqlx-sqlite-wor", "sqlx-sqlite"),
            ("writer", "writer"),
            ("http-worker-11", "http-worker"),
            ("openclaw-server", "openclaw-server"),
        ] {
            assert_eq!(group(name), expected);
        }
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let (cpu, memory) = (Cpu::of(std::process::id()), Memory::of(std::process::id()));
        assert!(!cpu.groups.is_empty() && memory.resident > 1.0 && memory.peak >= memory.resident);
    }
}
