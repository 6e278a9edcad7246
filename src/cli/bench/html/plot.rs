//! Lines over axes, as SVG: sizes and colours are the page's, or its own where it stands alone.

use std::fmt::Write;

use super::text::{escaped, number};

/// The picture, in units of its own; the page scales it.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 52.0;

/// Ticks on a linear axis, about.
const TICKS: f64 = 5.0;

/// Between the entries of the legend, for each of their letters.
const LETTER: f64 = 7.8;

/// Colours and letters of a picture that stands alone.
const ALONE: &str = include_str!("plot.css");

/// How values are laid out along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::bench) enum Scale {
    /// From zero.
    Linear,
    Log,
    /// Percent; every nine takes as much room as the one before.
    Nines,
}

#[derive(Debug, Clone)]
pub(in crate::cli::bench) struct Axis {
    /// What it is, with its unit.
    pub(in crate::cli::bench) label: &'static str,
    pub(in crate::cli::bench) scale: Scale,
}

#[derive(Debug, Clone)]
pub(in crate::cli::bench) struct Line {
    pub(in crate::cli::bench) name: String,
    pub(in crate::cli::bench) points: Vec<(f64, f64)>,
}

/// A picture.
#[derive(Debug, Clone)]
pub(in crate::cli::bench) struct Plot {
    /// Of the page's own kind: what its elements are called by.
    pub(in crate::cli::bench) id: &'static str,
    pub(in crate::cli::bench) title: String,
    /// In words, for whoever does not see it.
    pub(in crate::cli::bench) description: String,
    pub(in crate::cli::bench) x: Axis,
    pub(in crate::cli::bench) y: Axis,
    pub(in crate::cli::bench) lines: Vec<Line>,
    /// A place along the horizontal axis that has a name.
    pub(in crate::cli::bench) mark: Option<(f64, String)>,
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.max(f64::MIN_POSITIVE).log10(),
            Self::Nines => -(1.0 - value / 100.0).max(1e-9).log10(),
        }
    }

    /// Ticks that cover the values, and the ends of the axis.
    fn ticks(self, least: f64, most: f64) -> (Vec<f64>, f64, f64) {
        match self {
            Self::Linear => {
                let step = nice(most.max(1e-9) / TICKS);
                let count = (most / step - 1e-9).ceil().max(1.0);
                let ticks = (0..=count as u32).map(|tick| f64::from(tick) * step).collect();
                (ticks, 0.0, count * step)
            }
            Self::Log => {
                let (low, high) = (decade(least, f64::floor), decade(most.max(least * 1.01), f64::ceil));
                let all = (low..=high).flat_map(|exponent| [1.0, 2.0, 5.0].map(|x| x * 10f64.powi(exponent)));
                let first = all.clone().rfind(|tick| *tick <= least * 1.000_1).unwrap_or(least);
                let last = all.clone().find(|tick| *tick >= most * 0.999_9).unwrap_or(most);
                let only_tens = (last / first).log10() > 2.5;
                let is_shown = |tick: &f64| {
                    let is_ten = (tick.log10() - tick.log10().round()).abs() < 1e-9;
                    *tick >= first * 0.999 && *tick <= last * 1.001 && (is_ten || !only_tens)
                };
                (all.filter(is_shown).collect(), first, last)
            }
            Self::Nines => {
                let all = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999];
                let ticks = all.into_iter().filter(|tick| *tick <= most).collect();
                (ticks, 0.0, most)
            }
        }
    }
}

fn decade(value: f64, round: fn(f64) -> f64) -> i32 {
    round(value.max(1e-6).log10()) as i32
}

/// The least of 1, 2, 5 and their tens that is no less.
fn nice(step: f64) -> f64 {
    let ten = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * ten)
        .into_iter()
        .find(|nice| *nice >= step * 0.999)
        .unwrap_or(step)
}

/// An axis with its ends known.
struct Laid {
    scale: Scale,
    ticks: Vec<f64>,
    from: f64,
    to: f64,
    /// Where the ends are in the picture.
    ends: (f64, f64),
}

impl Laid {
    fn out(axis: &Axis, values: impl Iterator<Item = f64> + Clone, ends: (f64, f64)) -> Self {
        let positive = values.clone().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        let least = if positive.is_finite() { positive } else { 1.0 };
        let most = values.fold(0.0, f64::max);
        let (ticks, from, to) = axis.scale.ticks(least, most.max(least));
        Self { scale: axis.scale, ticks, from, to, ends }
    }

    fn at(&self, value: f64) -> f64 {
        let (from, to) = (self.scale.place(self.from), self.scale.place(self.to));
        let share = (self.scale.place(value) - from) / (to - from).max(1e-12);
        self.ends.0 + share.clamp(0.0, 1.0) * (self.ends.1 - self.ends.0)
    }
}

impl Plot {
    /// Nothing to draw.
    pub(in crate::cli::bench) fn is_empty(&self) -> bool {
        self.lines.iter().all(|line| line.points.is_empty())
    }

    /// As part of a page, which colours it.
    pub(in crate::cli::bench) fn inline(&self) -> String {
        self.draw("")
    }

    /// As a file of its own.
    pub(in crate::cli::bench) fn alone(&self) -> String {
        self.draw(&format!("<style>{ALONE}</style>"))
    }

    fn draw(&self, style: &str) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let marked = self.mark.iter().map(|(x, _)| *x);
        let across = points().map(|(x, _)| *x).chain(marked).collect::<Vec<_>>();
        let x = Laid::out(&self.x, across.into_iter(), (LEFT, WIDTH - RIGHT));
        let y = Laid::out(&self.y, points().map(|(_, y)| *y), (HEIGHT - BOTTOM, TOP));
        let (id, title, described) = (self.id, escaped(&self.title), escaped(&self.description));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-labelledby=\"{id}-title {id}-desc\">{style}\n<title id=\"{id}-title\">{title}</title>\n\
             <desc id=\"{id}-desc\">{described}</desc>\n"
        );
        self.axes(&mut svg, &x, &y);
        self.marked(&mut svg, &x);
        for (number, line) in self.lines.iter().enumerate() {
            draw_line(&mut svg, line, number, &x, &y);
        }
        self.legend(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self, svg: &mut String, x: &Laid, y: &Laid) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for tick in &y.ticks {
            let at = y.at(*tick);
            add(svg, format_args!("<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>"));
            let (x, y) = (LEFT - 8.0, at + 4.0);
            add(
                svg,
                format_args!(
                    "<text class=\"tick\" x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>",
                    number(*tick)
                ),
            );
        }
        for tick in &x.ticks {
            let at = x.at(*tick);
            add(svg, format_args!("<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>"));
            let y = bottom + 18.0;
            add(
                svg,
                format_args!(
                    "<text class=\"tick\" x=\"{at:.1}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
                    number(*tick)
                ),
            );
        }
        add(svg, format_args!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>"));
        let (middle, below, up) = ((LEFT + right) / 2.0, HEIGHT - 10.0, (TOP + bottom) / 2.0);
        let (across, high) = (escaped(self.x.label), escaped(self.y.label));
        add(
            svg,
            format_args!(
                "<text class=\"label\" x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{across}</text>"
            ),
        );
        add(
            svg,
            format_args!(
                "<text class=\"label\" transform=\"translate(16 {up}) rotate(-90)\" text-anchor=\"middle\">{high}</text>"
            ),
        );
    }

    fn marked(&self, svg: &mut String, x: &Laid) {
        let Some((place, name)) = &self.mark else { return };
        let (at, bottom, name) = (x.at(*place), HEIGHT - BOTTOM, escaped(name));
        let (anchor, beside) = if at > WIDTH / 2.0 { ("end", at - 6.0) } else { ("start", at + 6.0) };
        add(svg, format_args!("<path class=\"mark\" d=\"M{at:.1} {TOP}V{bottom}\"/>"));
        let y = TOP + 14.0;
        add(
            svg,
            format_args!(
                "<text class=\"marked\" x=\"{beside:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{name}</text>"
            ),
        );
    }

    fn legend(&self, svg: &mut String) {
        let mut at = LEFT;
        for (number, line) in self.lines.iter().enumerate() {
            let (end, text, class) = (at + 22.0, at + 28.0, number + 1);
            add(svg, format_args!("<path class=\"line s{class}\" d=\"M{at:.1} 18H{end:.1}\"/>"));
            let name = escaped(&line.name);
            add(svg, format_args!("<text class=\"label\" x=\"{text:.1}\" y=\"22\">{name}</text>"));
            at = text + line.name.chars().count() as f64 * LETTER + 18.0;
        }
    }
}

fn draw_line(svg: &mut String, line: &Line, number: usize, x: &Laid, y: &Laid) {
    let mut path = String::new();
    for (count, (across, high)) in line.points.iter().enumerate() {
        let step = if count == 0 { 'M' } else { 'L' };
        // Writing to memory does not fail.
        let _ = write!(path, "{step}{:.1} {:.1}", x.at(*across), y.at(*high));
    }
    let class = number + 1;
    if !path.is_empty() {
        add(svg, format_args!("<path class=\"line s{class}\" d=\"{path}\"/>"));
    }
    // A single point has no line; many points are a line.
    if line.points.len() <= 24 {
        for (across, high) in &line.points {
            let (at, up) = (x.at(*across), y.at(*high));
            add(svg, format_args!("<circle class=\"dot s{class}\" cx=\"{at:.1}\" cy=\"{up:.1}\" r=\"3\"/>"));
        }
    }
}

fn add(svg: &mut String, element: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = writeln!(svg, "{element}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_all_values() {
        assert_eq!(Scale::Linear.ticks(3.0, 47.0), (vec![0.0, 10.0, 20.0, 30.0, 40.0, 50.0], 0.0, 50.0));
        assert_eq!(Scale::Linear.ticks(0.1, 0.42).2, 0.5);
        let (ticks, from, to) = Scale::Log.ticks(1.3, 48.0);
        assert_eq!((from, to), (1.0, 50.0));
        assert_eq!(ticks.len(), 6, "{ticks:?}");
        let (ticks, ..) = Scale::Log.ticks(1.0, 100_000.0);
        assert_eq!(ticks.len(), 6, "only tens where there are many: {ticks:?}");
        assert_eq!(Scale::Nines.ticks(0.0, 99.95).0, [0.0, 50.0, 90.0, 99.0, 99.9]);
    }

    #[test]
    fn what_comes_from_outside_is_text_in_a_picture_too() {
        let axis = Axis { label: "ms", scale: Scale::Linear };
        let line = Line { name: "<script>".to_owned(), points: vec![(0.0, 1.0), (1.0, 2.0)] };
        let plot = Plot {
            id: "x",
            title: "a & b".to_owned(),
            description: "\"quoted\"".to_owned(),
            x: axis.clone(),
            y: axis,
            lines: vec![line],
            mark: Some((0.5, "</svg>".to_owned())),
        };
        let svg = plot.alone();
        assert!(svg.contains("&lt;script&gt;") && svg.contains("a &amp; b") && svg.contains("&lt;/svg&gt;"));
        assert_eq!(svg.matches("</svg>").count(), 1);
    }
}
