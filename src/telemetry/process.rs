//! `process_*`, by the names that every Prometheus client uses, read from `/proc` when asked for.

use std::{fmt, fs, time::SystemTime};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// The kernel counts CPU time in hundredths of a second on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process {
    started_at: f64,
}

impl Process {
    pub(super) fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { started_at: since_epoch.as_secs_f64() }
    }
}

/// What can be read without effort; a number that cannot be read is left out.
fn read<T>(from: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    parse(&fs::read_to_string(from).ok()?)
}

/// User and system time of all threads.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name before may hold spaces and parentheses.
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn kibibytes(status: &str, name: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches(':').split_whitespace().next()?.parse::<i64>().ok()? * 1024)
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(seconds) = read("/proc/self/stat", cpu_seconds) {
            let counter = ConstCounter::new(seconds);
            let help = "User and system CPU time";
            counter.encode(encoder.encode_descriptor(
                "process_cpu_seconds",
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        let mut gauge = |name: &str, help: &str, value: Option<i64>| -> Result<(), fmt::Error> {
            let Some(value) = value else { return Ok(()) };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        let status = |name: &'static str| read("/proc/self/status", |status| kibibytes(status, name));
        gauge("process_resident_memory_bytes", "Memory in use", status("VmRSS"))?;
        gauge("process_virtual_memory_bytes", "Address space", status("VmSize"))?;
        let open = fs::read_dir("/proc/self/fd").ok().map(|open| open.count() as i64);
        gauge("process_open_fds", "Open files and sockets", open)?;
        let most = rlimit::Resource::NOFILE.get_soft().ok().and_then(|most| i64::try_from(most).ok());
        gauge("process_max_fds", "Most files and sockets that may be open", most)?;
        gauge("process_start_time_seconds", "When the server started", Some(self.started_at as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_past_odd_names() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(kibibytes("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS"), Some(12_288));
    }
}
