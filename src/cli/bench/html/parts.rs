//! The parts of a page: cards, tables, and how it was measured.

use super::text::{escaped, known, number};
use crate::cli::bench::{
    about::About,
    compare::{Comparison, Verdict},
    figures::{self, Figure},
    ramp::Ramp,
    report::Report,
};

/// The figures that people look for first.
pub(super) fn cards(report: &Report) -> String {
    let mut cards = String::new();
    let mut card = |name: &str, value: String, unit: &str, is_bad: bool| {
        let class = if is_bad { "card bad" } else { "card" };
        cards += &format!(
            "<div class=\"{class}\"><dt>{}</dt><dd>{value} <span>{}</span></dd></div>\n",
            escaped(name),
            escaped(unit)
        );
    };
    if let Some(ramp) = &report.ramp {
        let beyond = if ramp.knee_is_beyond { "/s or more" } else { "/s" };
        card("Knee", known(ramp.knee_per_second), beyond, false);
    }
    if report.completion_ms.is_some() {
        let at = if report.ramp.is_some() { "Answers at the knee" } else { "Answers" };
        card(at, number(report.requests_per_second), "/s", false);
    }
    if let Some(first) = report.first_token_ms {
        card("First token, p50", number(first.p50), "ms", false);
        card("First token, p99", number(first.p99), "ms", false);
    }
    if let Some(completion) = report.completion_ms {
        card("Completion, p99", number(completion.p99), "ms", false);
    }
    if let Some(server) = &report.server {
        if let Some(each) = server.cpu_us_per_answer {
            card("CPU per answer", number(each), "µs", false);
        }
        card("Memory, peak", number(server.peak_rss_mib), "MiB", false);
    }
    card("Wrong answers", number(report.wrong as f64), "", report.wrong > 0);
    card("Errors", number(report.errors as f64), "", report.errors > 0);
    format!("<dl class=\"cards\">\n{cards}</dl>\n")
}

fn table(caption: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = head.iter().map(|name| format!("<th scope=\"col\">{}</th>", escaped(name))).collect();
    let row = |cells: &Vec<String>| {
        let cells = cells.iter().enumerate().map(|(number, cell)| match number {
            0 => format!("<th scope=\"row\">{}</th>", escaped(cell)),
            _ => format!("<td>{}</td>", escaped(cell)),
        });
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let rows: String = rows.iter().map(row).collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table><caption>{0}</caption>\
         <thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n",
        escaped(caption)
    )
}

/// How waits are spread.
pub(super) fn waits(report: &Report) -> String {
    let rows: Vec<Vec<String>> = figures::waits(report)
        .into_iter()
        .map(|(name, spread)| {
            let values =
                [spread.mean, spread.p50, spread.p90, spread.p95, spread.p99, spread.p999, spread.max];
            [name.to_owned()].into_iter().chain(values.map(number)).collect()
        })
        .collect();
    table("Milliseconds", &["", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"], &rows)
}

/// One row for each rate.
pub(super) fn rates(ramp: &Ramp) -> String {
    let rows: Vec<Vec<String>> = ramp.steps.iter().map(|step| figures::rate(step).into()).collect();
    format!(
        "{}<p>{}</p>\n",
        table("Each rate, waits in milliseconds", &figures::RATES, &rows),
        escaped(&ramp.in_words())
    )
}

/// What happened when.
pub(super) fn seconds(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report
        .timeline
        .iter()
        .map(|second| {
            vec![
                number(second.at),
                number(second.answers_per_second),
                number(second.tokens_per_second),
                number(second.errors as f64),
                known(second.cpu_cores),
                known(second.rss_mib),
            ]
        })
        .collect();
    table("By measured second", &["Second", "Answers/s", "Words/s", "Errors", "CPU cores", "MiB"], &rows)
}

/// Everything else.
pub(super) fn row_table(report: &Report) -> String {
    let is_wait = |figure: &Figure| figures::waits(report).iter().any(|(name, _)| *name == figure.of);
    let mut rows: Vec<Vec<String>> = figures::figures(report)
        .iter()
        .filter(|figure| figure.value.is_some() && !is_wait(figure))
        .map(|figure| vec![figure.name(), known(figure.value), figure.unit.to_owned()])
        .collect();
    rows.insert(0, vec!["requests".to_owned(), number(report.requests as f64), String::new()]);
    rows.insert(1, vec!["completed".to_owned(), number(report.completed as f64), String::new()]);
    let mut told = table("Figures", &["", "value", "unit"], &rows);
    for (kind, count) in &report.errors_by_kind {
        told += &format!("<p class=\"note\">Error {}: {count}</p>\n", escaped(kind));
    }
    for fault in &report.faults {
        told += &format!("<p class=\"note bad\">Wrong: {}</p>\n", escaped(fault));
    }
    told
}

/// Two reports, figure by figure.
pub(super) fn pairs(compared: &Comparison) -> String {
    let mut rows = String::new();
    for pair in &compared.figures {
        let class = match pair.verdict {
            Verdict::Better => " class=\"good\"",
            Verdict::Worse => " class=\"bad\"",
            Verdict::Same | Verdict::NotJudged => "",
        };
        let ratio = pair.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.3}"));
        rows += &format!(
            "<tr{class}><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{ratio}</td><td>{}</td></tr>\n",
            escaped(&pair.name),
            escaped(pair.unit),
            known(pair.a),
            known(pair.b),
            pair.verdict.word().to_lowercase()
        );
    }
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Figures of both\"><table>\
         <caption>Figures of both</caption><thead><tr><th scope=\"col\"></th><th scope=\"col\">unit</th>\
         <th scope=\"col\">A</th><th scope=\"col\">B</th><th scope=\"col\">B/A</th><th scope=\"col\"></th></tr></thead>\
         \n<tbody>{rows}</tbody></table></div>\n"
    )
}

/// With what, on what, and what was asked.
pub(super) fn about(about: &About) -> String {
    let machine = &about.machine;
    let memory =
        machine.memory_mib.map_or_else(|| "–".to_owned(), |mib| format!("{} MiB", number(mib as f64)));
    let mut rows = vec![
        ("Command", format!("<code>{}</code>", escaped(&about.command))),
        ("Began", escaped(&about.began_at)),
        ("Version", escaped(&format!("{}, {} build", about.version, about.build))),
        ("Cores", machine.cores.to_string()),
        ("Processor", escaped(machine.processor.as_deref().unwrap_or("–"))),
        ("Memory", escaped(&memory)),
        ("Kernel", escaped(&machine.kernel)),
    ];
    let options = about.options.iter().map(|(name, value)| format!("{name} {value}"));
    rows.push(("Options", escaped(&options.collect::<Vec<_>>().join(", "))));
    let rows: String =
        rows.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{value}</dd>\n")).collect();
    format!("<dl class=\"about\">\n{rows}</dl>\n")
}
