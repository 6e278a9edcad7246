//! `bench compare A.json B.json`: two reports of the same, figure by figure.

mod table;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde::Serialize;

use super::{
    figures::{Better, figures},
    html,
    output::Output,
    report::{Report, rounded},
};
use crate::cli::Outcome;

/// How much worse a figure may be unless told otherwise: what calm machines differ by from run to run.
const TOLERANCE: f64 = 10.0;

/// Compare two reports of bench --json
///
/// Each figure of the second beside that of the first, with their ratio. The exit status is 1 if one is worse by more
/// than the tolerance. p99.9 and the longest wait rest on a handful of requests: they are shown, and not judged. Reports
/// of other scenarios or options are refused.
#[derive(Debug, Args)]
pub(in crate::cli) struct Compare {
    /// The report to compare with
    #[arg(value_name = "A.json")]
    before: PathBuf,
    /// The report that may be better or worse
    #[arg(value_name = "B.json")]
    after: PathBuf,
    /// How much worse a figure may be, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = TOLERANCE, value_parser = percent)]
    tolerance: f64,
    /// Write the comparison as a page with plots, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=10_000.0).contains(percent));
    percent.ok_or_else(|| "it must be a number of percent, 0 or more".to_owned())
}

/// What became of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Better,
    /// Within the tolerance.
    Same,
    Worse,
    /// Known of one alone, or too few requests stand behind it.
    NotJudged,
}

/// A figure of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) better: Better,
    pub(super) a: Option<f64>,
    pub(super) b: Option<f64>,
    /// B over A; nothing where A is 0.
    pub(super) ratio: Option<f64>,
    pub(super) verdict: Verdict,
}

/// A whole comparison.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Comparison {
    pub(super) tolerance_percent: f64,
    pub(super) worse: usize,
    pub(super) better: usize,
    /// Why the figures may differ for other reasons than the program.
    pub(super) notes: Vec<String>,
    pub(super) figures: Vec<Pair>,
}

impl Compare {
    pub(super) fn run(self) -> Outcome {
        let page = self.html.as_deref().map(Output::to).transpose()?;
        let (a, b) = (read(&self.before)?, read(&self.after)?);
        let comparison = Comparison::of(&a, &b, self.tolerance)?;
        if let Some(page) = page {
            page.write(html::comparison(&a, &b, &comparison).as_bytes())?;
        }
        let told = match self.json {
            true => format!("{}\n", serde_json::to_string(&comparison)?),
            false => comparison.to_string(),
        };
        io::stdout().write_all(told.as_bytes())?;
        Ok(if comparison.worse == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A report that was kept.
pub(super) fn read(path: &Path) -> Result<Report, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = fs::read_to_string(path).map_err(|error| told(&error))?;
    serde_json::from_str(&text).map_err(|error| {
        told(&format_args!("that is not a report of this version's `bench --json`: {error}"))
    })
}

impl Comparison {
    /// Of reports of the same scenario and options alone.
    fn of(a: &Report, b: &Report, tolerance: f64) -> Result<Self, String> {
        let (asked, now) = (&a.about.options, &b.about.options);
        let names = asked.keys().chain(now.keys().filter(|name| !asked.contains_key(*name)));
        let text =
            |value: Option<&serde_json::Value>| value.map_or("nothing".to_owned(), ToString::to_string);
        let differs: Vec<String> = names
            .filter(|name| asked.get(*name) != now.get(*name))
            .map(|name| format!("{name} is {} and {}", text(asked.get(name)), text(now.get(name))))
            .collect();
        if !differs.is_empty() {
            return Err(format!("these reports are not of the same: {}", differs.join(", ")));
        }
        let figures = pairs(a, b, tolerance);
        let count = |verdict| figures.iter().filter(|pair| pair.verdict == verdict).count();
        Ok(Self {
            tolerance_percent: tolerance,
            worse: count(Verdict::Worse),
            better: count(Verdict::Better),
            notes: notes(a, b),
            figures,
        })
    }
}

fn notes(a: &Report, b: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    if a.about.machine != b.about.machine {
        notes.push("they ran on different machines".to_owned());
    }
    if a.about.build != b.about.build {
        notes.push(format!("A is of a {} build, B of a {} build", a.about.build, b.about.build));
    }
    notes
}

fn pairs(a: &Report, b: &Report, tolerance: f64) -> Vec<Pair> {
    let (of_a, of_b) = (figures(a), figures(b));
    let found = |name: &str| of_b.iter().find(|figure| figure.name() == name).and_then(|figure| figure.value);
    let mut pairs: Vec<Pair> = of_a
        .iter()
        .map(|figure| {
            let (name, a) = (figure.name(), figure.value);
            let b = found(&name);
            let verdict = match (a, b) {
                (Some(a), Some(b)) if figure.is_judged => judge(a, b, figure.better, tolerance),
                _ => Verdict::NotJudged,
            };
            Pair { name, unit: figure.unit, better: figure.better, a, b, ratio: ratio(a, b), verdict }
        })
        .collect();
    let new = of_b.iter().filter(|figure| of_a.iter().all(|other| other.name() != figure.name()));
    pairs.extend(new.map(|figure| Pair {
        name: figure.name(),
        unit: figure.unit,
        better: figure.better,
        a: None,
        b: figure.value,
        ratio: None,
        verdict: Verdict::NotJudged,
    }));
    pairs.retain(|pair| pair.a.is_some() || pair.b.is_some());
    pairs
}

fn ratio(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(rounded(b? / a.filter(|a| *a > 0.0)?, 4))
}

/// Worse by more than so many percent of A; from nothing, anything is.
fn judge(a: f64, b: f64, better: Better, tolerance: f64) -> Verdict {
    let change = match better {
        Better::Lower => b - a,
        Better::Higher => a - b,
    };
    let bound = a.abs() * tolerance / 100.0;
    match () {
        // Not by the last bit of a percentage.
        () if change > bound + a.abs() * 1e-9 => Verdict::Worse,
        () if change < -bound - a.abs() * 1e-9 => Verdict::Better,
        () => Verdict::Same,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn worse_is_what_is_worse_by_more_than_the_tolerance() {
        use Better::{Higher, Lower};
        for (a, b, better, verdict) in [
            (100.0, 110.0, Lower, Verdict::Same),
            (100.0, 110.1, Lower, Verdict::Worse),
            (100.0, 89.9, Lower, Verdict::Better),
            (100.0, 90.0, Higher, Verdict::Same),
            (100.0, 89.9, Higher, Verdict::Worse),
            (100.0, 110.1, Higher, Verdict::Better),
            (0.0, 1.0, Lower, Verdict::Worse),
            (0.0, 0.0, Lower, Verdict::Same),
            (0.0, 1.0, Higher, Verdict::Better),
        ] {
            assert_eq!(judge(a, b, better, 10.0), verdict, "{a} → {b}, {better:?}");
        }
    }

    proptest! {
        #[test]
        fn a_figure_is_never_better_and_worse(a in 0.0..1e6f64, b in 0.0..1e6f64, tolerance in 0.0..200.0f64) {
            let (lower, higher) =
                (judge(a, b, Better::Lower, tolerance), judge(a, b, Better::Higher, tolerance));
            let mirrored = match lower {
                Verdict::Better => Verdict::Worse,
                Verdict::Worse => Verdict::Better,
                other => other,
            };
            prop_assert_eq!(higher, mirrored);
            prop_assert_eq!(judge(a, a, Better::Lower, tolerance), Verdict::Same);
        }
    }
}
