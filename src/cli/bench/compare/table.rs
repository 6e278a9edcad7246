//! A comparison as a table for people.

use std::fmt;

use super::{Comparison, Pair, Verdict};
use crate::cli::bench::html::text::known;

impl Verdict {
    pub(in crate::cli::bench) fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Same => "",
            Self::Worse => "WORSE",
            Self::NotJudged => "not judged",
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<40}{:>12}{:>12}{:>9}", "", "A", "B", "B/A")?;
        for Pair { name, unit, a, b, ratio, verdict, .. } in &self.figures {
            let name = if unit.is_empty() { name.clone() } else { format!("{name} ({unit})") };
            let (a, b) = (known(*a), known(*b));
            let ratio = ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.3}"));
            let line = format!("{name:<40}{a:>12}{b:>12}{ratio:>9}  {}", verdict.word());
            writeln!(f, "{}", line.trim_end())?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))?;
        let Self { worse, better, tolerance_percent, .. } = self;
        writeln!(f, "{worse} worse and {better} better by more than {tolerance_percent} %")
    }
}
