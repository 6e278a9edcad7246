//! How rates rise.

use clap::Args;

use super::ramp::{Plan, Rule};

/// The lowest rate unless told otherwise: one that any machine keeps up with.
const LOWEST: f64 = 20.0;

/// `--rate` is the lowest rate, `--duration` the time that each is measured.
#[derive(Debug, Args)]
pub(super) struct RampOptions {
    /// Raise the rate, from --rate on [default: 20], until the server no longer keeps up: find its knee
    #[arg(long, conflicts_with = "concurrency")]
    ramp: bool,
    /// Each rate is so many times the one before
    #[arg(long, value_name = "TIMES", requires = "ramp", default_value_t = 1.5, value_parser = growth)]
    ramp_growth: f64,
    /// Try so many rates at most
    #[arg(long, value_name = "N", requires = "ramp", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    ramp_steps: u32,
    /// A server that answers less than this share of the rate does not keep up
    #[arg(long, value_name = "SHARE", requires = "ramp", default_value_t = 0.95, value_parser = share)]
    ramp_answered: f64,
    /// A server whose p99 of the first token is more than so many times that at the lowest rate does not keep up
    #[arg(long, value_name = "TIMES", requires = "ramp", default_value_t = 5.0, value_parser = times)]
    ramp_slower: f64,
}

fn number(text: &str, is_good: impl Fn(&f64) -> bool, otherwise: &str) -> Result<f64, String> {
    text.parse().ok().filter(is_good).ok_or_else(|| otherwise.to_owned())
}

fn growth(text: &str) -> Result<f64, String> {
    number(text, |growth| (1.05..=10.0).contains(growth), "it must be a number from 1.05 to 10")
}

fn share(text: &str) -> Result<f64, String> {
    number(text, |share| (0.1..=1.0).contains(share), "it must be a share from 0.1 to 1")
}

fn times(text: &str) -> Result<f64, String> {
    number(text, |times| (1.0..=1_000.0).contains(times), "it must be a number from 1 to 1000")
}

impl RampOptions {
    /// From that rate on, if rates are to rise.
    pub(super) fn plan(&self, lowest: Option<f64>) -> Option<Plan> {
        self.ramp.then(|| Plan {
            lowest: lowest.unwrap_or(LOWEST),
            growth: self.ramp_growth,
            steps: self.ramp_steps,
            rule: Rule { answered_at_least: self.ramp_answered, p99_at_most_times: self.ramp_slower },
        })
    }
}
