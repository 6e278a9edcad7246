//! Whether people are there now, and when they are next.

use jiff::{Zoned, civil, tz::TimeZone};

use super::{Hours, OpeningHours, Settings, Weekday};
use crate::clock::Timestamp;

/// Hours repeat every week: whoever opens at all opens within one, today's hours of next week included.
const DAYS_AHEAD: u8 = 7;

/// When people are next there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextOpening {
    /// On which day.
    pub day: OpensOn,
    /// `HH:MM`, local.
    pub time: String,
}

/// A day as one says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpensOn {
    /// Later today.
    Today,
    /// Tomorrow.
    Tomorrow,
    /// One of the days after.
    Weekday(Weekday),
}

impl Settings {
    /// Are people there at that time? Always, where no hours are given.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        let Some(hours) = &self.opening_hours else { return true };
        let now = self.local(at);
        let minute = minute_of(&now);
        on(hours, now.weekday()).any(|(opens, closes)| (opens..closes).contains(&minute))
    }

    /// When people are next there, if they ever are. To be asked while they are not.
    #[must_use]
    pub fn next_opening(&self, at: Timestamp) -> Option<NextOpening> {
        let hours = self.opening_hours.as_ref()?;
        let now = self.local(at);
        let mut weekday = now.weekday();
        for ahead in 0..=DAYS_AHEAD {
            let earliest = if ahead == 0 { minute_of(&now) + 1 } else { 0 };
            if let Some((opens, _)) = on(hours, weekday).find(|(opens, _)| *opens >= earliest) {
                let day = match ahead {
                    0 => OpensOn::Today,
                    1 => OpensOn::Tomorrow,
                    _ => OpensOn::Weekday(named(weekday)),
                };
                return Some(NextOpening { day, time: format!("{:02}:{:02}", opens / 60, opens % 60) });
            }
            weekday = weekday.next();
        }
        None
    }

    fn local(&self, at: Timestamp) -> Zoned {
        // Checked when it was set. The zone's data may have gone since; UTC is better than nothing.
        let zone = TimeZone::get(&self.timezone).unwrap_or(TimeZone::UTC);
        jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().to_zoned(zone)
    }
}

fn minute_of(time: &Zoned) -> u16 {
    u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs())
}

/// The intervals of that day, in order.
fn on(hours: &OpeningHours, weekday: civil::Weekday) -> impl Iterator<Item = (u16, u16)> {
    hours.get(&named(weekday)).into_iter().flatten().filter_map(Hours::minutes)
}

fn named(weekday: civil::Weekday) -> Weekday {
    match weekday {
        civil::Weekday::Monday => Weekday::Monday,
        civil::Weekday::Tuesday => Weekday::Tuesday,
        civil::Weekday::Wednesday => Weekday::Wednesday,
        civil::Weekday::Thursday => Weekday::Thursday,
        civil::Weekday::Friday => Weekday::Friday,
        civil::Weekday::Saturday => Weekday::Saturday,
        civil::Weekday::Sunday => Weekday::Sunday,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop(hours: &str) -> Settings {
        let patch = format!(r#"{{"timezone":"Europe/Amsterdam","opening_hours":{hours}}}"#);
        Settings::default().patched(serde_json::from_str(&patch).unwrap()).unwrap()
    }

    fn at(utc: &str) -> Timestamp {
        Timestamp(utc.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    const WEEKDAYS: &str = r#"{
        "monday":[{"opens":"09:00","closes":"12:30"},{"opens":"13:00","closes":"17:00"}],
        "friday":[{"opens":"09:00","closes":"24:00"}]}"#;

    #[test]
    fn people_are_there_within_their_local_hours() {
        let shop = shop(WEEKDAYS);
        for (utc, open) in [
            // Winter: an hour ahead of UTC. 23 November 2026 is a Monday.
            ("2026-11-23T07:59:59.999Z", false),
            ("2026-11-23T08:00:00Z", true),
            ("2026-11-23T11:30:00Z", false),
            ("2026-11-23T12:00:00Z", true),
            ("2026-11-23T16:00:00Z", false),
            // Summer: two hours ahead.
            ("2026-07-06T07:00:00Z", true),
            ("2026-07-06T06:59:00Z", false),
            ("2026-11-24T10:00:00Z", false),
            ("2026-11-27T22:59:00Z", true),
            ("2026-11-27T23:00:00Z", false),
        ] {
            assert_eq!(shop.is_open(at(utc)), open, "{utc}");
        }
        assert!(Settings::default().is_open(at("2026-11-24T03:00:00Z")), "without hours always");
    }

    #[test]
    fn the_next_opening_is_named_as_one_says_it() {
        let shop = shop(WEEKDAYS);
        for (utc, day, time) in [
            ("2026-11-23T05:00:00Z", OpensOn::Today, "09:00"),
            ("2026-11-23T11:45:00Z", OpensOn::Today, "13:00"),
            ("2026-11-23T17:00:00Z", OpensOn::Weekday(Weekday::Friday), "09:00"),
            ("2026-11-26T10:00:00Z", OpensOn::Tomorrow, "09:00"),
            ("2026-11-28T10:00:00Z", OpensOn::Weekday(Weekday::Monday), "09:00"),
        ] {
            assert_eq!(shop.next_opening(at(utc)), Some(NextOpening { day, time: time.to_owned() }), "{utc}");
        }
        assert_eq!(self::shop("{}").next_opening(at("2026-11-23T05:00:00Z")), None, "it never opens");
        let mondays = self::shop(r#"{"monday":[{"opens":"09:00","closes":"10:00"}]}"#);
        let next = mondays.next_opening(at("2026-11-23T12:00:00Z")).map(|next| next.day);
        assert_eq!(next, Some(OpensOn::Weekday(Weekday::Monday)));
    }
}
