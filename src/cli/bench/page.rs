//! `bench page`: reports as part of a Markdown page, with plots beside it.

mod markdown;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{compare::read, html::plots, output::Output, report::Report};
use crate::cli::Outcome;

/// What is written stands between these lines; the rest of the page is somebody's prose.
const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// Write reports into a Markdown page
///
/// Each report of bench --json becomes a section with its figures and plots. They replace what stands in the page between
/// the lines `<!-- measured: begin -->` and `<!-- measured: end -->`; the plots are SVG files in a folder beside the page
/// that has its name.
#[derive(Debug, Args)]
pub(in crate::cli) struct Page {
    /// The page to write into
    #[arg(long, value_name = "FILE.md")]
    out: PathBuf,
    /// Reports, in their order on the page
    #[arg(value_name = "REPORT.json", required = true)]
    reports: Vec<PathBuf>,
}

/// A report under the name of its file.
pub(super) struct Section {
    pub(super) name: String,
    pub(super) report: Report,
}

impl Page {
    pub(super) fn run(self) -> Outcome {
        let output = Output::to(&self.out)?;
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", self.out.display());
        let page = fs::read_to_string(&self.out).map_err(|error| told(&error))?;
        let sections: Vec<Section> =
            self.reports.iter().map(|path| section(path)).collect::<Result<_, String>>()?;
        let folder = self.out.with_extension("");
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let beside = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut drawn = Vec::new();
        for Section { name, report } in &sections {
            for plot in plots::of(&[("", report)]) {
                let file = format!("{name}-{}.svg", plot.id);
                Output::to(&folder.join(&file))?.write(plot.alone().as_bytes())?;
                drawn.push((name.clone(), plot, format!("{beside}/{file}")));
            }
        }
        let measured = markdown::sections(&sections, &drawn);
        let whole = between(&page, &measured).ok_or_else(|| {
            told(&format_args!("the page needs a line `{BEGIN}` and after it a line `{END}`, once each"))
        })?;
        output.write(whole.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

fn section(path: &Path) -> Result<Section, String> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    Ok(Section { name, report: read(path)? })
}

/// The page with that between its marks.
fn between(page: &str, measured: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    let is_once = !after.contains(BEGIN) && !after.contains(END) && !before.contains(END);
    is_once.then(|| format!("{before}{BEGIN}\n\n{measured}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_outside_the_marks_stays() {
        let page = format!("# A\n\n{BEGIN}\nold\n{END}\n\nmore\n");
        let written = between(&page, "new").unwrap();
        assert_eq!(written, format!("# A\n\n{BEGIN}\n\nnew\n{END}\n\nmore\n"));
        assert_eq!(between(&written, "new").unwrap(), written);
        for broken in [String::new(), BEGIN.to_owned(), format!("{END}{BEGIN}"), format!("{page}{BEGIN}")] {
            assert_eq!(between(&broken, "new"), None, "{broken}");
        }
    }
}
