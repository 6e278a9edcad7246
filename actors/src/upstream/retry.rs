//! When an upstream is asked again: a bounded number of times, later each time, and never at one moment with others.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};

/// How often one answer is asked for. What does not work the third time within seconds will not the fourth.
pub(crate) const TRIES: u32 = 3;

/// The wait before the second try, doubled before each further one: a restart of the other side or a lost packet is
/// over by then, and a customer hardly notices.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The wait after `tries` tries. `drawn` is a number from 0 to 1: half of the wait is random, so that those who failed
/// together do not come back together. Never less than the upstream asked for.
pub(crate) fn wait(tries: u32, drawn: f64, asked: Option<Duration>) -> Duration {
    let whole = FIRST_WAIT.saturating_mul(1 << tries.saturating_sub(1).min(10));
    whole.mul_f64(0.5 + drawn.clamp(0.0, 1.0) / 2.0).max(asked.unwrap_or_default())
}

/// A number from 0 to 1.
pub(crate) fn draw() -> f64 {
    // Without randomness everyone waits the longest.
    getrandom::u32().map_or(1.0, |drawn| f64::from(drawn) / f64::from(u32::MAX))
}

/// `Retry-After`: seconds, or a date.
pub(crate) fn after(header: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = header.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    // A wrong day of the week does not make the date less clear.
    let at = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(header.trim()).ok()?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_never_all_the_same() {
        let ms = Duration::from_millis;
        assert_eq!([wait(1, 0.0, None), wait(1, 1.0, None)], [ms(125), ms(250)]);
        assert_eq!([wait(2, 0.0, None), wait(2, 1.0, None)], [ms(250), ms(500)]);
        assert_eq!(wait(1, 0.0, Some(ms(2000))), ms(2000));
        assert!((0.0..=1.0).contains(&draw()));
    }

    #[test]
    fn the_upstream_says_when_in_seconds_or_as_a_date() {
        let now: Timestamp = "1994-11-06T08:49:30Z".parse().unwrap();
        assert_eq!(after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        for nonsense in ["", "soon", "-1", "1.5"] {
            assert_eq!(after(nonsense, now), None, "{nonsense}");
        }
    }
}
