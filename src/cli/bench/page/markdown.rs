//! Reports as Markdown.

use std::fmt::Write;

use super::Section;
use crate::cli::bench::{
    about::{About, Machine},
    figures::{RATES, figures, rate, waits},
    html::{
        plots::Plot,
        text::{known, number},
    },
    ramp::Ramp,
    report::Report,
};

/// A plot, of the section of that name, in that file.
type Drawn = (String, Plot, String);

/// One after the other.
pub(super) fn sections(sections: &[Section], drawn: &[Drawn]) -> String {
    let mut page = String::new();
    if let Some(first) = sections.first() {
        page += &machine(&first.report.about);
    }
    for Section { name, report } in sections {
        // Writing to memory does not fail.
        let _ = writeln!(page, "\n### {}\n", cell(&report.name()));
        let _ = writeln!(page, "```sh\n{}\n```\n", report.about.command.replace('`', ""));
        let _ = writeln!(page, "{}\n", cell(&report.in_words()));
        page += &spread_table(report);
        page += &figure_table(report);
        if let Some(ramp) = &report.ramp {
            page += &rates(ramp);
        }
        for (_, plot, file) in drawn.iter().filter(|(of, ..)| of == name) {
            let _ = writeln!(page, "![{}: {}]({file})", cell(&plot.title), cell(&plot.description));
        }
    }
    page
}

fn machine(about: &About) -> String {
    let Machine { cores, processor, memory_mib, kernel } = &about.machine;
    let memory = memory_mib.map_or_else(|| "–".to_owned(), |mib| number(mib as f64));
    format!(
        "Measured on {} with version {} ({} build): {cores} cores ({}), {memory} MiB, {}.\n",
        cell(&about.began_at),
        cell(&about.version),
        cell(&about.build),
        cell(processor.as_deref().unwrap_or("processor unknown")),
        cell(kernel)
    )
}

/// Text that cannot be anything else in a line or a cell of a table.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for c in text.chars() {
        match c {
            '<' => cell.push_str("&lt;"),
            '|' | '*' | '[' | ']' | '`' | '\\' => cell.extend(['\\', c]),
            c if c.is_control() => cell.push(' '),
            c => cell.push(c),
        }
    }
    cell
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn head(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let rule: Vec<String> =
        (0..names.len()).map(|at| if at == 0 { "---" } else { "--:" }.to_owned()).collect();
    row(&names) + &row(&rule)
}

fn spread_table(report: &Report) -> String {
    let rows = waits(report);
    if rows.is_empty() {
        return String::new();
    }
    let mut table = head(&["ms", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"]);
    for (name, spread) in rows {
        let values = [spread.mean, spread.p50, spread.p90, spread.p95, spread.p99, spread.p999, spread.max];
        let cells: Vec<String> = [name.to_owned()].into_iter().chain(values.map(number)).collect();
        table += &row(&cells);
    }
    table + "\n"
}

fn figure_table(report: &Report) -> String {
    let spreads = waits(report);
    let mut table = head(&["", "value", "unit"]);
    for figure in figures(report) {
        let is_wait = spreads.iter().any(|(name, _)| *name == figure.of);
        if figure.value.is_some() && !is_wait {
            table += &row(&[figure.name(), known(figure.value), figure.unit.to_owned()]);
        }
    }
    table + "\n"
}

fn rates(ramp: &Ramp) -> String {
    let mut table = head(&RATES);
    for step in &ramp.steps {
        table += &row(&rate(step).map(|text| cell(&text)));
    }
    table + "\n"
}
