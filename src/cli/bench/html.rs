//! Reports as pages: one file each, without a script and without anything from elsewhere.

mod parts;
mod plot;
pub(super) mod plots;
pub(super) mod text;

use self::{
    parts::{about, cards, pairs, rates, row_table, seconds, waits},
    plot::Plot,
    text::escaped,
};
use super::{compare::Comparison, report::Report};

const STYLE: &str = include_str!("html/page.css");
const PLOTS: &str = include_str!("html/plot.css");

/// A report.
pub(super) fn report(report: &Report) -> String {
    let title = report.name();
    let mut body = format!("<header><p class=\"kind\">Load test</p><h1>{}</h1>", escaped(&title));
    body += &format!("<p class=\"lead\">{}</p></header>\n", escaped(&report.in_words()));
    body += &cards(report);
    body += &figure_grid(&plots::of(&[("", report)]));
    body += &section("Latency", &waits(report));
    if let Some(ramp) = &report.ramp {
        body += &section("Rates", &rates(ramp));
    }
    if !report.timeline.is_empty() {
        let table = seconds(report);
        body += &section(
            "Second by second",
            &format!("<details><summary>Show the figures</summary>{table}</details>"),
        );
    }
    body += &section("Other figures", &row_table(report));
    body += &section("How it was measured", &about(&report.about));
    page(&title, &body)
}

/// Two reports of the same.
pub(super) fn comparison(a: &Report, b: &Report, compared: &Comparison) -> String {
    let title = format!("{}, compared", a.name());
    let mut body = format!("<header><p class=\"kind\">Comparison</p><h1>{}</h1>", escaped(&title));
    let (worse, better, bound) = (compared.worse, compared.better, compared.tolerance_percent);
    body +=
        &format!("<p class=\"lead\">{worse} figures worse and {better} better by more than {bound} %.</p>");
    for note in &compared.notes {
        body += &format!("<p class=\"note\">Note: {}</p>", escaped(note));
    }
    body += "</header>\n";
    body += &figure_grid(&plots::of(&[("A", a), ("B", b)]));
    body += &section("Figures", &pairs(compared));
    body += &section("How A was measured", &about(&a.about));
    body += &section("How B was measured", &about(&b.about));
    page(&title, &body)
}

fn section(title: &str, content: &str) -> String {
    format!("<section><h2>{}</h2>{content}</section>\n", escaped(title))
}

fn figure_grid(plots: &[Plot]) -> String {
    let figure = |plot: &Plot| {
        format!("<figure><figcaption>{}</figcaption>{}</figure>\n", escaped(&plot.title), plot.inline())
    };
    let figures: String = plots.iter().map(figure).collect();
    format!("<div class=\"grid-of-plots\">\n{figures}</div>\n")
}

fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{PLOTS}{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}
