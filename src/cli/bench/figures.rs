//! The figures of a report, each with its name, its unit and which way is better: for tables and comparisons.

use serde::Serialize;

use super::{
    html::text::{known, number},
    ramp::Step,
    report::Report,
    tally::Spread,
};

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Better {
    Lower,
    Higher,
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    /// What it is about, and what of that: `first token`, `p99`.
    pub(super) of: &'static str,
    pub(super) what: &'static str,
    pub(super) unit: &'static str,
    pub(super) value: Option<f64>,
    pub(super) better: Better,
    /// It rests on more than a handful of requests, so that a change of it means something.
    pub(super) is_judged: bool,
}

/// The rows of waits that a report has, by name.
pub(super) fn waits(report: &Report) -> Vec<(&'static str, Spread)> {
    let knowledge = report.knowledge.as_ref();
    let of = |spread: fn(&super::knowledge::Learned) -> Option<Spread>| knowledge.and_then(spread);
    let webhooks = report.webhooks.as_ref();
    let rows = [
        ("first token", report.first_token_ms),
        ("between tokens", report.between_tokens_ms),
        (if knowledge.is_some() { "whole round" } else { "completion" }, report.completion_ms),
        ("resumed", report.resumed_ms),
        ("article written and searchable", of(|learned| learned.write_ms)),
        ("search", of(|learned| learned.search_ms)),
        ("answer from articles", of(|learned| learned.answer_ms)),
        ("health beside idle streams", report.idle.as_ref().and_then(|idle| idle.healthz_ms)),
        ("webhook: request to receipt", webhooks.and_then(|told| told.alone.request_to_receipt_ms)),
        ("webhook: beside bad endpoints", webhooks.and_then(|told| told.beside.request_to_receipt_ms)),
    ];
    rows.into_iter().filter_map(|(name, spread)| Some((name, spread?))).collect()
}

/// All of them, in the order in which people read them.
pub(super) fn figures(report: &Report) -> Vec<Figure> {
    let mut all = Vec::new();
    let mut add = |of, what, unit, value, better, is_judged| {
        all.push(Figure { of, what, unit, value, better, is_judged });
    };
    use Better::{Higher, Lower};
    if let Some(ramp) = &report.ramp {
        add("knee", "", "requests/s", ramp.knee_per_second, Higher, true);
    }
    // Of a ramp, what was answered at the knee is the knee.
    if report.completion_ms.is_some() && report.ramp.is_none() {
        add("answers", "", "/s", Some(report.requests_per_second), Higher, true);
        add("words", "", "/s", Some(report.tokens_per_second), Higher, true);
    }
    add("errors", "", "", Some(report.errors as f64), Lower, true);
    add("wrong", "", "", Some(report.wrong as f64), Lower, true);
    for (name, spread) in waits(report) {
        for (what, value, is_judged) in [
            ("mean", spread.mean, true),
            ("p50", spread.p50, true),
            ("p90", spread.p90, true),
            ("p95", spread.p95, true),
            ("p99", spread.p99, true),
            ("p99.9", spread.p999, false),
            ("max", spread.max, false),
        ] {
            add(name, what, "ms", Some(value), Lower, is_judged);
        }
    }
    if let Some(server) = &report.server {
        // A ramp's steps have each their own; the sum over all says nothing.
        if report.ramp.is_none() {
            add("server CPU", "per answer", "µs", server.cpu_us_per_answer, Lower, true);
        }
        add("server memory", "at the end", "MiB", Some(server.rss_mib), Lower, true);
        add("server memory", "peak", "MiB", Some(server.peak_rss_mib), Lower, true);
        add("server memory", "idle", "MiB", Some(server.idle_rss_mib), Lower, true);
        add("server start", "", "ms", Some(server.ready_ms), Lower, false);
    }
    if let Some(idle) = &report.idle {
        add("idle streams", "memory each", "KiB", idle.kib_per_stream, Lower, true);
        add(
            "restart",
            "all streams back",
            "ms",
            idle.restart.map(|restart| restart.all_back_ms),
            Lower,
            false,
        );
    }
    if let Some(told) = &report.webhooks {
        add("webhook backlog", "", "/s", Some(told.backlog.per_second), Higher, true);
        add("webhook delivery", "CPU", "ms", Some(told.backlog.cpu_ms_each), Lower, true);
        add("webhooks end to end", "", "/s", Some(told.end_to_end.per_second), Higher, true);
        add("over the baseline", "delivery CPU", "×", told.cpu_over_bare, Lower, true);
    }
    if let Some(ratio) = &report.ratio {
        add("over the baseline", "CPU", "×", ratio.cpu, Lower, true);
        add("over the baseline", "CPU without the store", "×", ratio.cpu_without_store, Lower, true);
        add("over the baseline", "answers", "×", ratio.requests_per_second, Higher, false);
        add("over the baseline", "first token p99", "×", ratio.first_token_p99, Lower, false);
    }
    all
}

/// What a table of rates has in each row; waits are milliseconds.
pub(super) const RATES: [&str; 10] = [
    "Offered/s",
    "Answered/s",
    "First token p50",
    "p99",
    "Completion p99",
    "CPU cores",
    "MiB",
    "Generator cores",
    "Errors",
    "Keeps up",
];

/// The row of one rate, as plain text.
pub(super) fn rate(step: &Step) -> [String; RATES.len()] {
    [
        number(step.offered_per_second),
        number(step.achieved_per_second),
        known(step.first_token_ms.map(|spread| spread.p50)),
        known(step.first_token_ms.map(|spread| spread.p99)),
        known(step.completion_ms.map(|spread| spread.p99)),
        known(step.cpu_cores),
        known(step.rss_mib),
        number(step.generator_cpu_cores),
        step.errors.to_string(),
        step.falls_behind.as_deref().map_or("yes".to_owned(), |why| format!("no: {why}")),
    ]
}

impl Figure {
    pub(super) fn name(&self) -> String {
        match self.what {
            "" => self.of.to_owned(),
            what => format!("{} {what}", self.of),
        }
    }
}
