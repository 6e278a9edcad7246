//! The plots of one report, or of several that are laid over each other.

pub(in crate::cli::bench) use super::plot::Plot;
use super::{
    plot::{Axis, Line, Scale},
    text::number,
};
use crate::cli::bench::{ramp::Step, report::Report, timeline::Second};

/// A report under the name by which its lines are told apart.
type Named<'a> = (&'a str, &'a Report);

/// All that there is something to draw for.
pub(in crate::cli::bench) fn of(reports: &[Named<'_>]) -> Vec<Plot> {
    let mut plots = Vec::new();
    if reports.iter().any(|(_, report)| report.ramp.is_some()) {
        plots.extend([achieved(reports), tail(reports), step_costs(reports)]);
    }
    plots.extend([curves(reports), throughput(reports), cpu(reports), memory(reports)]);
    plots.retain(|plot| !plot.is_empty());
    plots
}

fn linear(label: &'static str) -> Axis {
    Axis { label, scale: Scale::Linear }
}

fn log(label: &'static str) -> Axis {
    Axis { label, scale: Scale::Log }
}

fn named(of: &str, what: &str) -> String {
    match (of, what) {
        ("", what) => what.to_owned(),
        (of, "") => of.to_owned(),
        (of, what) => format!("{of}: {what}"),
    }
}

fn curves(reports: &[Named<'_>]) -> Plot {
    let mut lines = Vec::new();
    for (name, report) in reports {
        let curves = &report.curves;
        let all = [
            ("first token", &curves.first_token),
            ("between tokens", &curves.between_tokens),
            ("completion", &curves.completion),
        ];
        // Laid over each other, two lines of each report are what an eye can follow.
        let shown = all.iter().filter(|(what, _)| reports.len() == 1 || *what != "between tokens");
        lines.extend(
            shown
                .filter(|(_, points)| !points.is_empty())
                .map(|(what, points)| Line { name: named(name, what), points: points.to_vec() }),
        );
    }
    Plot {
        id: "percentiles",
        title: match reports {
            [(_, report)] if report.ramp.is_some() => "Latency by percentile, at the knee".to_owned(),
            _ => "Latency by percentile".to_owned(),
        },
        description: described(&lines, "ms at the longest"),
        x: Axis { label: "percentile of requests", scale: Scale::Nines },
        y: log("milliseconds"),
        lines,
        mark: None,
    }
}

fn over_time(
    reports: &[Named<'_>],
    (id, title, unit): (&'static str, &str, &'static str),
    what: &str,
    value: fn(&Second) -> Option<f64>,
) -> Plot {
    let lines: Vec<Line> = reports
        .iter()
        .map(|(name, report)| {
            let points = report.timeline.iter().filter_map(|second| Some((second.at, value(second)?)));
            Line { name: named(name, what), points: points.collect() }
        })
        .filter(|line| !line.points.is_empty())
        .collect();
    // Of a ramp, the seconds are those of its knee.
    let at = if reports.iter().any(|(_, report)| report.ramp.is_some()) { ", at the knee" } else { "" };
    Plot {
        id,
        title: format!("{title}{at}"),
        description: described(&lines, "at the end"),
        x: linear("seconds measured"),
        y: linear(unit),
        lines,
        mark: None,
    }
}

fn throughput(reports: &[Named<'_>]) -> Plot {
    let about = ("throughput", "Throughput over time", "answers per second");
    over_time(reports, about, "answers", |second| Some(second.answers_per_second))
}

fn cpu(reports: &[Named<'_>]) -> Plot {
    let about = ("cpu", "CPU of the server over time", "cores in use");
    over_time(reports, about, "server", |second| second.cpu_cores)
}

fn memory(reports: &[Named<'_>]) -> Plot {
    let about = ("memory", "Memory of the server over time", "MiB resident");
    over_time(reports, about, "server", |second| second.rss_mib)
}

fn by_rate(name: &str, what: &str, report: &Report, value: fn(&Step) -> Option<f64>) -> Line {
    let steps = report.ramp.iter().flat_map(|ramp| &ramp.steps);
    let points = steps.filter_map(|step| Some((step.offered_per_second, value(step)?)));
    Line { name: named(name, what), points: points.collect() }
}

fn knee(reports: &[Named<'_>]) -> Option<(f64, String)> {
    let [(_, report)] = reports else { return None };
    let knee = report.ramp.as_ref()?.knee_per_second?;
    Some((knee, format!("knee: {}/s", number(knee))))
}

fn achieved(reports: &[Named<'_>]) -> Plot {
    let mut lines: Vec<Line> = reports
        .iter()
        .map(|(name, report)| by_rate(name, "answered", report, |step| Some(step.achieved_per_second)))
        .collect();
    if let [(_, report)] = reports {
        lines.push(by_rate("", "offered", report, |step| Some(step.offered_per_second)));
    }
    Plot {
        id: "achieved",
        title: "What was answered of what was offered".to_owned(),
        description: described(&lines, "per second at the highest rate"),
        x: linear("requests offered per second"),
        y: linear("answers per second"),
        lines,
        mark: knee(reports),
    }
}

fn tail(reports: &[Named<'_>]) -> Plot {
    let mut lines = Vec::new();
    for (name, report) in reports {
        lines.push(by_rate(name, "first token p99", report, |step| Some(step.first_token_ms?.p99)));
        lines.push(by_rate(name, "first token p50", report, |step| Some(step.first_token_ms?.p50)));
    }
    if lines.iter().all(|line| line.points.is_empty()) {
        let each = |(name, report): &Named<'_>| {
            by_rate(name, "completion p99", report, |step| Some(step.completion_ms?.p99))
        };
        lines = reports.iter().map(each).collect();
    }
    Plot {
        id: "tail",
        title: "Latency by rate".to_owned(),
        description: described(&lines, "ms at the highest rate"),
        x: linear("requests offered per second"),
        y: log("milliseconds"),
        lines,
        mark: knee(reports),
    }
}

fn step_costs(reports: &[Named<'_>]) -> Plot {
    let mut lines = Vec::new();
    for (name, report) in reports {
        lines.push(by_rate(name, "server", report, |step| step.cpu_cores));
        if reports.len() == 1 {
            lines.push(by_rate(name, "load generator", report, |step| Some(step.generator_cpu_cores)));
        }
    }
    lines.retain(|line| !line.points.is_empty());
    Plot {
        id: "costs",
        title: "CPU by rate".to_owned(),
        description: described(&lines, "cores at the highest rate"),
        x: linear("requests offered per second"),
        y: linear("cores in use"),
        lines,
        mark: knee(reports),
    }
}

/// Where each line ends, in words.
fn described(lines: &[Line], what: &str) -> String {
    let ends = lines.iter().filter_map(|line| {
        let (_, last) = line.points.last()?;
        Some(format!("{}: {} {what}", line.name, number(*last)))
    });
    ends.collect::<Vec<_>>().join("; ") + "."
}
