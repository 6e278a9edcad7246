//! The exact log of one minute: every admission is remembered until it is 60 seconds old.
//!
//! Of the usual algorithms it alone keeps both promises: no half-open interval of 60 seconds holds more than the
//! quota, and whoever comes no faster than one per 60 s / quota is never refused. (A bucket that refills admits up
//! to twice the quota in a minute.)

use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

use tokio::time::Instant;

/// How long an admission counts.
pub const WINDOW: Duration = Duration::from_secs(60);

/// The admissions that count, oldest first.
#[derive(Debug, Default)]
pub struct Window {
    admitted: VecDeque<Instant>,
    /// No admission is noted before an earlier one: the log stays in order also when requests overtake each other
    /// on the way here, and a promise is never broken in favour of the one that came late.
    latest: Option<Instant>,
}

/// What was decided about one request, and what its answer says of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The quota that it was decided by.
    pub quota: NonZeroU32,
    /// How many more would be admitted now.
    pub remaining: u32,
    /// When the oldest admission stops counting: until then no more become free. After a refusal, how long to wait
    /// for certain admission.
    pub reset_after: Duration,
    /// Where the admission stands in the log; none if it was refused.
    pub admitted: Option<Admission>,
}

/// A place in the log, for giving it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission(Instant);

impl Window {
    /// Decides about a request that arrived at `arrived`.
    pub fn take(&mut self, quota: NonZeroU32, arrived: Instant) -> Decision {
        let now = self.latest.map_or(arrived, |latest| latest.max(arrived));
        self.latest = Some(now);
        self.forget_before(now);
        let most = quota.get() as usize;
        let admitted = (self.admitted.len() < most).then(|| {
            self.admitted.push_back(now);
            Admission(now)
        });
        // After a quota was lowered more than one must leave before another fits.
        let leaves = self.admitted.len().saturating_sub(most);
        let reset_after = self.admitted.get(leaves).map_or(Duration::ZERO, |&at| at + WINDOW - now);
        let remaining = most.saturating_sub(self.admitted.len()) as u32;
        Decision { quota, remaining, reset_after, admitted }
    }

    /// The admitted request turned out not to count.
    pub fn give_back(&mut self, Admission(at): Admission) {
        if let Ok(place) = self.admitted.binary_search(&at) {
            self.admitted.remove(place);
        }
    }

    /// Every admission that still counts at `now`, by its age.
    pub fn ages(&self, now: Instant) -> impl Iterator<Item = Duration> {
        let ages = self.admitted.iter().map(move |&at| now.saturating_duration_since(at));
        ages.filter(|&age| age < WINDOW)
    }

    /// The log whose admissions have these ages now, oldest first.
    #[must_use]
    pub fn with_ages(ages: impl IntoIterator<Item = Duration>, now: Instant) -> Self {
        // An instant before the clock began counts as made just now, which only makes the log stricter.
        let mut admitted: Vec<_> = ages.into_iter().map(|age| now.checked_sub(age).unwrap_or(now)).collect();
        admitted.sort_unstable();
        Self { latest: admitted.last().copied(), admitted: admitted.into() }
    }

    /// When nothing that was admitted counts any more.
    #[must_use]
    pub fn empty_at(&self) -> Option<Instant> {
        self.admitted.back().map(|&latest| latest + WINDOW)
    }

    fn forget_before(&mut self, now: Instant) {
        while self.admitted.front().is_some_and(|&oldest| oldest + WINDOW <= now) {
            self.admitted.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUOTA: NonZeroU32 = NonZeroU32::new(100).unwrap();

    fn quota(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    /// The most admissions in any half-open interval of 60 seconds.
    fn worst_minute(admitted: &[Instant]) -> usize {
        let in_minute_from =
            |place: usize| admitted[place..].iter().take_while(|&&at| at < admitted[place] + WINDOW).count();
        (0..admitted.len()).map(in_minute_from).max().unwrap_or(0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// An adversary chooses every gap: bursts, waits to the edge of a window, and to the millisecond beside it.
        #[test]
        fn no_minute_holds_more_than_the_quota_and_retry_after_is_true(
            gaps in prop::collection::vec(
                prop_oneof![
                    4 => Just(0u64),
                    3 => 0u64..2_000_000,
                    1 => 59_990_000u64..60_010_000,
                    1 => Just(600_000u64),
                ],
                1..1_500,
            ),
            most in 1u32..120,
            patient: bool,
        ) {
            let most = quota(most);
            let mut window = Window::default();
            let mut now = Instant::now();
            let mut admitted = Vec::new();
            for gap in gaps {
                now += Duration::from_micros(gap);
                let decision = window.take(most, now);
                if decision.admitted.is_some() {
                    admitted.push(now);
                } else {
                    prop_assert_eq!(decision.remaining, 0);
                    prop_assert!(decision.reset_after > Duration::ZERO);
                    if patient {
                        now += decision.reset_after;
                        prop_assert!(window.take(most, now).admitted.is_some(), "waiting was not enough");
                        admitted.push(now);
                    }
                }
            }
            prop_assert!(worst_minute(&admitted) <= most.get() as usize);
        }

        #[test]
        fn one_per_600_ms_is_never_refused(extra in prop::collection::vec(0u64..400_000, 500)) {
            let mut window = Window::default();
            let mut now = Instant::now();
            for extra in extra {
                prop_assert!(window.take(QUOTA, now).admitted.is_some());
                now += Duration::from_micros(600_000 + extra);
            }
        }

        #[test]
        fn what_is_given_back_can_be_taken_again(given_back in prop::collection::vec(0usize..100, 1..50)) {
            let mut window = Window::default();
            let start = Instant::now();
            let taken: Vec<_> = (0..100u64)
                .map(|ms| window.take(QUOTA, start + Duration::from_millis(ms)).admitted.unwrap())
                .collect();
            let mut free = 0;
            for place in given_back {
                window.give_back(taken[place]);
                free = 100 - window.admitted.len();
            }
            let now = start + Duration::from_secs(1);
            for _ in 0..free {
                prop_assert!(window.take(QUOTA, now).admitted.is_some());
            }
            prop_assert!(window.take(QUOTA, now).admitted.is_none());
        }
    }

    #[test]
    fn hammering_without_a_pause_gets_exactly_the_quota_each_minute() {
        let mut window = Window::default();
        let start = Instant::now();
        let admitted: Vec<_> = (0..300_000u64)
            .map(|ms| start + Duration::from_millis(ms))
            .filter(|&now| window.take(QUOTA, now).admitted.is_some())
            .collect();
        assert_eq!((worst_minute(&admitted), admitted.len()), (100, 500));
    }

    #[test]
    fn exactly_600_ms_apart_is_enough_for_ever() {
        let mut window = Window::default();
        let start = Instant::now();
        for turn in 0..10_000 {
            assert!(
                window.take(QUOTA, start + Duration::from_millis(600) * turn).admitted.is_some(),
                "{turn}"
            );
        }
    }

    #[test]
    fn an_answer_says_how_much_is_left_and_until_when() {
        let mut window = Window::default();
        let start = Instant::now();
        let first = window.take(quota(2), start);
        assert_eq!((first.remaining, first.reset_after), (1, WINDOW));
        let second = window.take(quota(2), start + Duration::from_secs(10));
        assert_eq!((second.remaining, second.reset_after), (0, Duration::from_secs(50)));
        let refused = window.take(quota(2), start + Duration::from_secs(20));
        assert_eq!((refused.admitted, refused.reset_after), (None, Duration::from_secs(40)));
    }

    #[test]
    fn a_lowered_quota_refuses_until_enough_have_left() {
        let mut window = Window::default();
        let start = Instant::now();
        for second in 0..10 {
            window.take(quota(10), start + Duration::from_secs(second));
        }
        let refused = window.take(quota(3), start + Duration::from_secs(10));
        // Eight of the ten must leave; the eighth came at second 7.
        assert_eq!(refused.reset_after, Duration::from_secs(57));
        let retried = window.take(quota(3), start + Duration::from_secs(67));
        assert!(retried.admitted.is_some());
    }

    #[test]
    fn a_request_that_was_overtaken_does_not_loosen_the_limit() {
        let mut window = Window::default();
        let start = Instant::now();
        window.take(quota(2), start + Duration::from_secs(5));
        window.take(quota(2), start);
        let refused = window.take(quota(2), start + Duration::from_secs(64));
        assert_eq!(refused.admitted, None);
        assert!(window.take(quota(2), start + Duration::from_secs(65)).admitted.is_some());
    }

    #[test]
    fn a_log_survives_as_ages() {
        let mut window = Window::default();
        let start = Instant::now();
        for second in 0..50 {
            window.take(QUOTA, start + Duration::from_secs(second));
        }
        let now = start + Duration::from_secs(70);
        let ages: Vec<_> = window.ages(now).collect();
        assert_eq!(ages.len(), 39);
        let mut restored = Window::with_ages(ages, now);
        assert_eq!(restored.take(QUOTA, now).remaining, 60);
        assert_eq!(restored.empty_at(), Some(now + WINDOW));
    }
}
