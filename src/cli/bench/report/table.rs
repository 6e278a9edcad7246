//! What a run says at its end, as a table for people.

use std::fmt;

use super::{Ratio, Report, Server};
use crate::cli::bench::{
    hooks::{Drained, Told},
    html::text::known,
    knowledge::Learned,
    ramp::Ramp,
    tally::Spread,
};

/// A row of the table of waits.
fn waits(f: &mut fmt::Formatter<'_>, name: &str, spread: Option<Spread>) -> fmt::Result {
    let Some(Spread { mean, p50, p90, p95, p99, p999, max }) = spread else { return Ok(()) };
    writeln!(f, "{name:<22}{mean:>9.2}{p50:>9.2}{p90:>9.2}{p95:>9.2}{p99:>9.2}{p999:>9.2}{max:>9.2}")
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

impl Report {
    fn waits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["mean", "p50", "p90", "p95", "p99", "p99.9", "max"];
        write!(f, "{:<22}", "ms")?;
        head.iter().try_for_each(|name| write!(f, "{name:>9}"))?;
        writeln!(f)?;
        waits(f, "first token", self.first_token_ms)?;
        waits(f, "between tokens", self.between_tokens_ms)?;
        waits(f, "completion", self.completion_ms)?;
        waits(f, "resumed", self.resumed_ms)?;
        let Some(bare) = &self.bare else { return Ok(()) };
        waits(f, "bare: first token", bare.first_token_ms)?;
        waits(f, "bare: between tokens", bare.between_tokens_ms)?;
        waits(f, "bare: completion", bare.completion_ms)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, completed, errors, wrong, .. } = self;
        let clients = match (self.concurrency, self.rate) {
            _ if self.ramp.is_some() => "rising rates".to_owned(),
            (Some(clients), _) => format!("{clients} clients"),
            (None, rate) => format!("{} requests per second", number(rate)),
        };
        writeln!(
            f,
            "{requests} requests from {clients} in {} s: {completed} completed, {errors} errors, {wrong} wrong",
            self.seconds
        )?;
        self.errors_by_kind.iter().try_for_each(|(kind, count)| writeln!(f, "  error  {kind}: {count}"))?;
        self.faults.iter().try_for_each(|fault| writeln!(f, "  wrong  {fault}"))?;
        if self.completion_ms.is_some() {
            let at = if self.ramp.is_some() { "at the knee: " } else { "" };
            writeln!(f, "{at}{} answers/s, {} words/s\n", self.requests_per_second, self.tokens_per_second)?;
            self.waits(f)?;
        }
        if self.resumes > 0 {
            writeln!(f, "\n{} streams were cut and resumed", self.resumes)?;
        }
        if !self.away_ms.is_empty() {
            let times: Vec<String> = self.away_ms.iter().map(ToString::to_string).collect();
            writeln!(f, "killed {} times; back after {} ms", times.len(), times.join(", "))?;
        }
        if let Some(idle) = &self.idle {
            write!(f, "{idle}")?;
        }
        if let Some(learned) = &self.knowledge {
            write!(f, "{learned}")?;
        }
        if let Some(ramp) = &self.ramp {
            write!(f, "{ramp}")?;
        }
        if let Some(told) = &self.webhooks {
            write!(f, "{told}")?;
        }
        if let Some(server) = &self.server {
            write!(f, "\n{server}")?;
        }
        if let (Some(bare), Some(ratio)) = (&self.bare, &self.ratio) {
            match bare.cpu_us_per_answer {
                Some(each) => {
                    writeln!(f, "bare    {each} µs of CPU per answer, {} answers/s", bare.requests_per_second)
                }
                None => writeln!(f, "bare    {} accepts/s", bare.requests_per_second),
            }?;
            write!(f, "{ratio}")?;
        }
        if let Some(load) = self.load_average {
            writeln!(f, "load average {load}, {} s of CPU for the generator", self.generator_cpu_seconds)?;
        }
        Ok(())
    }
}

impl fmt::Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        waits(f, "article searchable", self.write_ms)?;
        waits(f, "search", self.search_ms)?;
        waits(f, "answer", self.answer_ms)?;
        let Self { articles, import_seconds, written, .. } = self;
        writeln!(
            f,
            "\n{articles} articles were imported in {import_seconds} s, {written} more were written and changed"
        )?;
        match self.given_found {
            Some(share) => {
                writeln!(f, "{:.1} % of searches for a title had its article among ten", share * 100.0)
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for Ramp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["offered/s", "answered/s", "first p50", "first p99", "end p99", "CPU", "MiB", "errors"];
        writeln!(f)?;
        head.iter().try_for_each(|name| write!(f, "{name:>11}"))?;
        writeln!(f)?;
        for step in &self.steps {
            let cells = [
                known(Some(step.offered_per_second)),
                known(Some(step.achieved_per_second)),
                known(step.first_token_ms.map(|spread| spread.p50)),
                known(step.first_token_ms.map(|spread| spread.p99)),
                known(step.completion_ms.map(|spread| spread.p99)),
                known(step.cpu_cores),
                known(step.rss_mib),
                step.errors.to_string(),
            ];
            cells.iter().try_for_each(|cell| write!(f, "{cell:>11}"))?;
            writeln!(f, "  {}", step.falls_behind.as_deref().unwrap_or_default())?;
        }
        writeln!(f, "{}", self.in_words())
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drained = |f: &mut fmt::Formatter<'_>, name: &str, drained: &Drained| {
            let Drained { deliveries, seconds, per_second, cpu_ms_each, .. } = drained;
            writeln!(f, "{name}  {deliveries} in {seconds} s: {per_second}/s, {cpu_ms_each} ms of CPU each")?;
            let threads = drained.cpu_ms_each_by_threads.iter().filter(|(_, each)| *each > 0.0);
            let threads: Vec<String> = threads.map(|(name, each)| format!("{name} {each}")).collect();
            writeln!(
                f,
                "            {}; {} MiB, {} at most",
                threads.join(", "),
                drained.rss_mib,
                drained.peak_rss_mib
            )
        };
        drained(f, "backlog   ", &self.backlog)?;
        drained(f, "end to end", &self.end_to_end)?;
        let head = ["mean", "p50", "p90", "p95", "p99", "p99.9", "max"];
        write!(f, "\n{:<22}", format!("ms at {}/s", self.rate))?;
        head.iter().try_for_each(|name| write!(f, "{name:>9}"))?;
        writeln!(f)?;
        waits(f, "request to receipt", self.alone.request_to_receipt_ms)?;
        waits(f, "answer to receipt", self.alone.answer_to_receipt_ms)?;
        waits(f, "beside: request", self.beside.request_to_receipt_ms)?;
        waits(f, "beside: answer", self.beside.answer_to_receipt_ms)?;
        let ratio = number(self.beside_over_alone_p99);
        writeln!(f, "p99 beside an endpoint that hangs and one that fails: {ratio} times that alone")?;
        if let Some(bare) = &self.bare {
            let (cpu, rate) = (number(self.cpu_over_bare), number(self.per_second_over_bare));
            writeln!(f, "bare    {}/s, {} ms of CPU each", bare.per_second, bare.cpu_ms_each)?;
            writeln!(f, "ratio   CPU {cpu}, per second {rate}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(each), Some(seconds)) = (self.cpu_us_per_answer, self.cpu_seconds) {
            let without = number(self.cpu_us_per_answer_without_store);
            writeln!(f, "server  {each} µs of CPU per answer, {without} without the store's threads")?;
            let threads: Vec<String> =
                self.cpu_seconds_by_threads.iter().map(|(name, spent)| format!("{name} {spent}")).collect();
            writeln!(f, "        {seconds} s of CPU: {}", threads.join(", "))?;
        }
        writeln!(
            f,
            "memory  {} MiB, {} at most, {} before the first request; ready after {} ms",
            self.rss_mib, self.peak_rss_mib, self.idle_rss_mib, self.ready_ms
        )
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = [
            ("CPU", self.cpu),
            ("CPU without the store's threads", self.cpu_without_store),
            ("first token p50", self.first_token_p50),
            ("p99", self.first_token_p99),
            ("answers/s", self.requests_per_second),
        ];
        let known = known.iter().filter_map(|(name, ratio)| Some(format!("{name} {}", (*ratio)?)));
        writeln!(f, "ratio   {}", known.collect::<Vec<_>>().join(", "))
    }
}
