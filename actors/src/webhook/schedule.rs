//! When the next attempt is made, and when an endpoint is left alone. Plain data: time and luck are passed in.

use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;
use tokio::time::Instant;

use crate::clock::Timestamp;

/// Attempts of one delivery in all.
pub const ATTEMPTS: i64 = 5;

/// The longest that a receiver may ask us to wait.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// How deliveries are made, by configuration.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// For one attempt: name, connection, TLS, request, answer.
    pub timeout: Duration,
    /// Before the second attempt, the third, and so on; the last for all after it.
    pub waits: Vec<Duration>,
    /// Each wait is up to that part longer or shorter, so that what failed together does not come back together.
    pub jitter: f64,
    /// Failures in a row after which an endpoint is left alone; 0: never.
    pub breaker_failures: u32,
    /// How long, before one attempt may try again.
    pub breaker_probe: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            waits: [5, 60, 600, 3_600].map(Duration::from_secs).to_vec(),
            jitter: 0.2,
            breaker_failures: 5,
            breaker_probe: Duration::from_secs(60),
        }
    }
}

/// How long after the deadline of an attempt the next may begin if nothing is known of it: long beside a commit.
const LEASE_GRACE: Duration = Duration::from_secs(1);

impl Schedule {
    /// Until when nobody else makes an attempt at what is tried from `at` on.
    pub(super) fn lease_from(&self, at: Timestamp) -> Timestamp {
        at.plus_ms((self.timeout + LEASE_GRACE).as_millis() as i64)
    }

    /// The wait after that many attempts. `drawn` is from 0 to 1.
    pub(super) fn wait(&self, attempts: i64, drawn: f64, asked: Option<Duration>) -> Duration {
        let place = usize::try_from(attempts - 1).unwrap_or(0);
        let whole = self.waits.get(place).or(self.waits.last()).copied().unwrap_or_default();
        let part = 1.0 + self.jitter * (2.0 * drawn.clamp(0.0, 1.0) - 1.0);
        whole.mul_f64(part.max(0.0)).max(asked.unwrap_or_default().min(LONGEST_RETRY_AFTER))
    }
}

/// A number from 0 to 1.
pub(super) fn draw() -> f64 {
    // Without randomness waits are as configured.
    getrandom::u32().map_or(0.5, |drawn| f64::from(drawn) / f64::from(u32::MAX))
}

/// `Retry-After`: seconds, or a date.
pub(super) fn retry_after(header: &str, now: jiff::Timestamp) -> Option<Duration> {
    let asked = match header.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(header.trim()).ok()?;
            Duration::try_from(at.duration_since(now)).unwrap_or_default()
        }
    };
    Some(asked.min(LONGEST_RETRY_AFTER))
}

/// How many attempts an endpoint has under way at first, and at most while it takes its time.
const IN_FLIGHT: usize = 8;

/// The most for one that answers fast: it has them under way for so short that it hardly notices.
const MOST_IN_FLIGHT: usize = 32;

/// An answer that came within is fast.
const FAST: Duration = Duration::from_millis(100);

/// What is known of an endpoint's health: how much it is trusted with at once, and whether it is left alone.
///
/// One that fails is trusted with one attempt at a time until it succeeds, and with twice as many after each success;
/// beyond a few, only one that answers fast is trusted with more, one by one. So endpoints that hang hold few of the
/// places that all share, and a small server is not asked for everything at once.
#[derive(Debug)]
pub(super) struct Health {
    failures: u32,
    open_until: Option<Instant>,
    paused_until: Option<Instant>,
    trust: usize,
}

impl Default for Health {
    fn default() -> Self {
        Self { failures: 0, open_until: None, paused_until: None, trust: IN_FLIGHT }
    }
}

impl Health {
    /// May another attempt start while that many are under way? If not, and time alone will change it, says when.
    pub(super) fn may_start(&self, in_flight: usize, now: Instant) -> Result<(), Option<Instant>> {
        if let Some(until) = self.left_alone_until(now) {
            return Err(Some(until));
        }
        // After a pause of the breaker, one attempt finds out.
        let most = if self.open_until.is_some() { 1 } else { self.trust };
        if in_flight < most { Ok(()) } else { Err(None) }
    }

    /// Until when the endpoint is left alone, whether for its failures or at its own wish.
    pub(super) fn left_alone_until(&self, now: Instant) -> Option<Instant> {
        self.open_until.max(self.paused_until).filter(|until| *until > now)
    }

    /// Its last attempt failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// It answered as it should, within that time.
    pub(super) fn succeeded(&mut self, took: Duration) {
        self.failures = 0;
        self.open_until = None;
        self.trust = match self.trust {
            few @ ..IN_FLIGHT => (few * 2).min(IN_FLIGHT),
            many if took <= FAST => (many + 1).min(MOST_IN_FLIGHT),
            // It slows down, perhaps under what it is sent.
            many => (many - 1).max(IN_FLIGHT),
        };
    }

    /// It did not. `asked` is its `Retry-After`, which holds for all that it is sent.
    pub(super) fn failed(&mut self, schedule: &Schedule, asked: Option<Duration>, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.trust = 1;
        if schedule.breaker_failures > 0 && self.failures >= schedule.breaker_failures {
            self.open_until = Some(now + schedule.breaker_probe);
        }
        if let Some(asked) = asked {
            self.paused_until = self.paused_until.max(Some(now + asked));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_as_promised_within_a_fifth_and_as_long_as_asked_up_to_an_hour() {
        let schedule = Schedule::default();
        let seconds = |attempts, drawn| schedule.wait(attempts, drawn, None).as_secs();
        assert_eq!([1, 2, 3, 4].map(|attempts| seconds(attempts, 0.5)), [5, 60, 600, 3_600]);
        assert_eq!(
            [seconds(1, 0.0), seconds(1, 1.0), seconds(4, 0.0), seconds(4, 1.0)],
            [4, 6, 2_880, 4_320]
        );
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(schedule.wait(1, 0.5, asked(120)).as_secs(), 120);
        assert_eq!(schedule.wait(1, 0.5, asked(9_999)).as_secs(), 3_600);
        assert_eq!(schedule.wait(4, 0.5, asked(1)).as_secs(), 3_600);
    }

    #[test]
    fn a_receiver_says_when_in_seconds_or_as_a_date() {
        let now: jiff::Timestamp = "1994-11-06T08:49:30Z".parse().unwrap();
        let after = |text: &str| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(after("7"), Some(7));
        assert_eq!(after("99999"), Some(3_600));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7));
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn five_failures_in_a_row_leave_an_endpoint_alone_and_one_attempt_finds_out_later() {
        let schedule = Schedule::default();
        let now = Instant::now();
        let mut health = Health::default();
        for _ in 0..4 {
            health.failed(&schedule, None, now);
        }
        assert_eq!(health.may_start(0, now), Ok(()));
        assert_eq!(health.may_start(1, now), Err(None), "one that fails is trusted with one at a time");
        health.failed(&schedule, None, now);
        let later = now + schedule.breaker_probe;
        assert_eq!(health.may_start(0, now), Err(Some(later)));
        assert_eq!((health.may_start(0, later), health.may_start(1, later)), (Ok(()), Err(None)));
        health.succeeded(FAST);
        assert_eq!((health.may_start(1, now), health.may_start(2, now)), (Ok(()), Err(None)));
        for _ in 0..MOST_IN_FLIGHT {
            health.succeeded(FAST);
        }
        let most = |health: &Health| (1..).find(|under_way| health.may_start(*under_way, now).is_err());
        assert_eq!(most(&health), Some(MOST_IN_FLIGHT), "one that answers fast is trusted with more");
        for _ in 0..MOST_IN_FLIGHT {
            health.succeeded(FAST * 2);
        }
        assert_eq!(most(&health), Some(IN_FLIGHT), "one that slows down is not");
        let never = Schedule { breaker_failures: 0, ..Schedule::default() };
        for _ in 0..50 {
            health.failed(&never, None, now);
        }
        assert_eq!(health.may_start(0, now), Ok(()));
        health.failed(&never, Some(Duration::from_secs(9)), now);
        assert_eq!(health.may_start(0, now), Err(Some(now + Duration::from_secs(9))));
    }
}
