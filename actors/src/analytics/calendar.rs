//! Local days, and the periods that they make.

use jiff::{ToSpan, civil::Date, tz::TimeZone};
use serde::Deserialize;

use crate::clock::Timestamp;

/// The most periods that one answer has: a year of days, and a little more.
pub const MOST_PERIODS: usize = 400;

/// Days are counted from here.
const EPOCH: Date = Date::constant(1970, 1, 1);

/// How long a period is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// A local day: 23, 24 or 25 hours.
    #[default]
    Day,
    /// From Monday (ISO 8601).
    Week,
    /// From the first.
    Month,
}

impl Interval {
    /// The first day of the period that the day lies in.
    #[must_use]
    pub fn start_of(self, day: Date) -> Date {
        match self {
            Self::Day => day,
            Self::Week => {
                let since_monday = day.weekday().to_monday_zero_offset();
                day.saturating_sub(i64::from(since_monday).days())
            }
            Self::Month => day.first_of_month(),
        }
    }

    fn next(self, start: Date) -> Option<Date> {
        let span = match self {
            Self::Day => 1.day(),
            Self::Week => 1.week(),
            Self::Month => 1.month(),
        };
        start.checked_add(span).ok()
    }

    /// The periods from one day to another, both included. None: there are too many.
    #[must_use]
    pub fn periods(self, from: Date, to: Date) -> Option<Vec<Date>> {
        let mut periods = Vec::new();
        let mut next = Some(self.start_of(from));
        while let Some(start) = next.filter(|start| *start <= to) {
            if periods.len() == MOST_PERIODS {
                return None;
            }
            periods.push(start);
            next = self.next(start);
        }
        Some(periods)
    }
}

/// The number of a day.
#[must_use]
pub fn number_of(day: Date) -> i64 {
    // Both are dates of a calendar without time: the difference is whole days, and they are not so many.
    EPOCH.until(day).map_or(0, |span| i64::from(span.get_days()))
}

/// The local day of a moment, as its number. A moment beyond what calendars know is on their last day.
#[must_use]
pub fn day_of(at: Timestamp, zone: &TimeZone) -> i64 {
    let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::MAX);
    number_of(zone.to_datetime(at).date())
}

/// The moment at which a local day begins.
#[must_use]
pub fn beginning_of(day: Date, zone: &TimeZone) -> Timestamp {
    let begins = day.to_zoned(zone.clone());
    Timestamp(begins.map_or(i64::MAX, |begins| begins.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn weeks_begin_on_monday_and_a_cut_period_keeps_its_start() {
        let weeks = Interval::Week.periods(date(2026, 1, 1), date(2026, 1, 12)).unwrap();
        assert_eq!(weeks, [date(2025, 12, 29), date(2026, 1, 5), date(2026, 1, 12)]);
        let months = Interval::Month.periods(date(2025, 12, 31), date(2026, 2, 1)).unwrap();
        assert_eq!(months, [date(2025, 12, 1), date(2026, 1, 1), date(2026, 2, 1)]);
        assert_eq!(Interval::Day.periods(date(2026, 1, 1), date(2026, 1, 1)).unwrap().len(), 1);
    }

    #[test]
    fn there_are_never_more_periods_than_allowed() {
        let from = date(2024, 1, 1);
        let last = from.checked_add((MOST_PERIODS as i64 - 1).days()).unwrap();
        assert_eq!(Interval::Day.periods(from, last).unwrap().len(), MOST_PERIODS);
        assert_eq!(Interval::Day.periods(from, last.tomorrow().unwrap()), None);
        assert_eq!(Interval::Month.periods(Date::MIN, Date::MAX), None);
        assert!(Interval::Month.periods(date(9990, 1, 1), Date::MAX).is_some());
    }

    #[test]
    fn days_of_daylight_saving_have_23_and_25_hours() {
        let zone = TimeZone::get("Europe/Amsterdam").unwrap();
        for (day, hours) in [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 7, 1), 24)] {
            let (begins, ends) = (beginning_of(day, &zone), beginning_of(day.tomorrow().unwrap(), &zone));
            assert_eq!(ends.0 - begins.0, hours * 3_600_000, "{day}");
            assert_eq!(day_of(begins, &zone), number_of(day));
            assert_eq!(day_of(begins.plus_ms(-1), &zone), number_of(day) - 1);
            assert_eq!(day_of(ends.plus_ms(-1), &zone), number_of(day));
        }
        assert_eq!(number_of(date(1970, 1, 1)), 0);
        assert_eq!(number_of(date(1969, 12, 31)), -1);
    }

    #[test]
    fn a_day_whose_midnight_does_not_exist_begins_later() {
        // Clocks went from 23:59:59 to 01:00 there.
        let zone = TimeZone::get("America/Sao_Paulo").unwrap();
        let begins = beginning_of(date(2018, 11, 4), &zone);
        assert_eq!(day_of(begins, &zone), number_of(date(2018, 11, 4)));
        assert_eq!(day_of(begins.plus_ms(-1), &zone), number_of(date(2018, 11, 3)));
    }
}
