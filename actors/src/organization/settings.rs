//! What an organization may choose, with the ranges of each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::OrganizationPatch;
use crate::{
    clock::Timestamp,
    patch::{Change, InvalidField},
};

/// Ten years: whoever keeps longer keeps for ever.
const RETENTION_DAYS_MOST: u32 = 3_650;

/// A week: a request that waited longer is not waiting.
const HANDOVER_TIMEOUT_MOST: u32 = 604_800;

/// Every language is searched and listened to at each question.
const LANGUAGES_MOST: usize = 20;

/// Intervals in one day.
const INTERVALS_MOST: usize = 8;

const DAY_MS: i64 = 24 * 3_600 * 1_000;

const MINUTES_A_DAY: f64 = 1_440.0;

/// Everything that an organization may PATCH but its name. Stored as JSON; a field that is not in a row yet has its
/// default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// An IANA zone: what a local day is in analytics and opening hours.
    pub timezone: String,
    /// Two or three letters each: what questions may be asked in.
    pub languages: Vec<String>,
    /// Conversations are erased after this many days; none keeps them.
    pub retention_days: Option<u32>,
    /// A customer's message opens a completed conversation again.
    pub reopen_on_message: bool,
    /// How long a handover waits for an agent; none is for ever.
    pub handover_timeout_seconds: Option<u32>,
    /// A failed answer asks for a person.
    pub handover_on_failure: bool,
    /// The AI goes on answering while a handover waits.
    pub answer_while_waiting: bool,
    /// When people are there; none is always.
    pub opening_hours: Option<OpeningHours>,
    /// Say "I don't know" rather than ask a model without passages.
    pub strict_grounding: bool,
    /// From this confidence on, a passage is an answer.
    pub answer_threshold: f64,
    /// From this confidence on, articles are suggested.
    pub suggest_threshold: f64,
    /// What a person would have spent on a conversation.
    pub minutes_per_conversation: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timezone: "UTC".to_owned(),
            // Those that the index knows the words of.
            languages: ["en", "nl", "de", "fr"].map(str::to_owned).to_vec(),
            retention_days: None,
            reopen_on_message: true,
            handover_timeout_seconds: Some(600),
            handover_on_failure: false,
            answer_while_waiting: true,
            opening_hours: None,
            strict_grounding: false,
            answer_threshold: 0.5,
            suggest_threshold: 0.2,
            minutes_per_conversation: 6.0,
        }
    }
}

/// Local hours per weekday; a day that is not named is closed.
pub type OpeningHours = BTreeMap<Weekday, Vec<Hours>>;

/// A merge patch of the hours: a day that is null is closed from now on.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "the days are what they are")]
pub struct OpeningHoursPatch {
    pub monday: Change<Vec<Hours>>,
    pub tuesday: Change<Vec<Hours>>,
    pub wednesday: Change<Vec<Hours>>,
    pub thursday: Change<Vec<Hours>>,
    pub friday: Change<Vec<Hours>>,
    pub saturday: Change<Vec<Hours>>,
    pub sunday: Change<Vec<Hours>>,
}

impl OpeningHoursPatch {
    fn days(self) -> [(Weekday, Change<Vec<Hours>>); 7] {
        [
            (Weekday::Monday, self.monday),
            (Weekday::Tuesday, self.tuesday),
            (Weekday::Wednesday, self.wednesday),
            (Weekday::Thursday, self.thursday),
            (Weekday::Friday, self.friday),
            (Weekday::Saturday, self.saturday),
            (Weekday::Sunday, self.sunday),
        ]
    }
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the days are what they are")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// From the first minute until before the last: `{"opens":"09:00","closes":"17:30"}`, up to `24:00`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// `HH:MM`.
    pub opens: String,
    /// `HH:MM`, later than `opens`.
    pub closes: String,
}

impl Hours {
    /// Minutes since midnight, the end excluded.
    #[must_use]
    pub fn minutes(&self) -> Option<(u16, u16)> {
        let (opens, closes) = (minute_of_day(&self.opens)?, minute_of_day(&self.closes)?);
        (opens < closes).then_some((opens, closes))
    }
}

fn minute_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str, most: u16| {
        let two_digits = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|number| two_digits && *number <= most)
    };
    let total = number(hour, 24)? * 60 + number(minute, 59)?;
    (total <= 24 * 60).then_some(total)
}

impl Settings {
    /// Conversations in which nothing was said since then are kept no longer; `None`: all are kept.
    #[must_use]
    pub fn kept_since(&self, now: Timestamp) -> Option<Timestamp> {
        self.retention_days.map(|days| now.plus_ms(-i64::from(days) * DAY_MS))
    }

    /// The settings after the patch.
    ///
    /// # Errors
    /// A field of the patch cannot be so.
    pub fn patched(self, patch: OrganizationPatch) -> Result<Self, InvalidField> {
        let default = Self::default();
        let timezone = patch.timezone.try_map(timezone)?;
        let languages = patch.languages.try_map(languages)?;
        let retention = whole("retention_days", patch.retention_days, RETENTION_DAYS_MOST)?;
        let timeout =
            whole("handover_timeout_seconds", patch.handover_timeout_seconds, HANDOVER_TIMEOUT_MOST)?;
        let answer = patch.answer_threshold.try_map(|value| share("answer_threshold", value))?;
        let suggest = patch.suggest_threshold.try_map(|value| share("suggest_threshold", value))?;
        let minutes = patch.minutes_per_conversation.try_map(minutes)?;
        let after = Self {
            timezone: timezone.apply(self.timezone, default.timezone),
            languages: languages.apply(self.languages, default.languages),
            retention_days: optional(retention, self.retention_days),
            reopen_on_message: patch
                .reopen_on_message
                .apply(self.reopen_on_message, default.reopen_on_message),
            handover_timeout_seconds: optional(timeout, self.handover_timeout_seconds),
            handover_on_failure: patch
                .handover_on_failure
                .apply(self.handover_on_failure, default.handover_on_failure),
            answer_while_waiting: patch
                .answer_while_waiting
                .apply(self.answer_while_waiting, default.answer_while_waiting),
            opening_hours: opening_hours(patch.opening_hours, self.opening_hours)?,
            strict_grounding: patch.strict_grounding.apply(self.strict_grounding, default.strict_grounding),
            answer_threshold: answer.apply(self.answer_threshold, default.answer_threshold),
            suggest_threshold: suggest.apply(self.suggest_threshold, default.suggest_threshold),
            minutes_per_conversation: minutes
                .apply(self.minutes_per_conversation, default.minutes_per_conversation),
        };
        if after.suggest_threshold > after.answer_threshold {
            return Err(InvalidField::new("suggest_threshold", "must not be above answer_threshold"));
        }
        Ok(after)
    }
}

/// A field whose null means "none", not "the default".
fn optional<T>(change: Change<T>, present: Option<T>) -> Option<T> {
    match change {
        Change::Keep => present,
        Change::Reset => None,
        Change::Set(value) => Some(value),
    }
}

fn timezone(name: String) -> Result<String, InvalidField> {
    match jiff::tz::TimeZone::get(&name) {
        Ok(_) => Ok(name),
        Err(_) => Err(InvalidField::new("timezone", "must be an IANA time zone, like Europe/Amsterdam")),
    }
}

fn languages(names: Vec<String>) -> Result<Vec<String>, InvalidField> {
    let is_code = |name: &String| {
        (2..=3).contains(&name.len()) && name.bytes().all(|letter| letter.is_ascii_lowercase())
    };
    if names.is_empty() || names.len() > LANGUAGES_MOST || !names.iter().all(is_code) {
        let reason =
            format!("must be 1 to {LANGUAGES_MOST} codes of two or three lower-case letters, like nl");
        return Err(InvalidField::new("languages", reason));
    }
    let mut once: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    Ok(once)
}

fn whole(param: &'static str, change: Change<u32>, most: u32) -> Result<Change<u32>, InvalidField> {
    change.try_map(|value| {
        let possible = (1..=most).contains(&value);
        possible.then_some(value).ok_or_else(|| InvalidField::new(param, format!("must be from 1 to {most}")))
    })
}

fn share(param: &'static str, value: f64) -> Result<f64, InvalidField> {
    let possible = (0.0..=1.0).contains(&value);
    possible.then_some(value).ok_or_else(|| InvalidField::new(param, "must be from 0 to 1"))
}

fn minutes(value: f64) -> Result<f64, InvalidField> {
    let possible = value > 0.0 && value <= MINUTES_A_DAY;
    possible
        .then_some(value)
        .ok_or_else(|| InvalidField::new("minutes_per_conversation", "must be above 0 and at most 1440"))
}

fn opening_hours(
    change: Change<OpeningHoursPatch>,
    present: Option<OpeningHours>,
) -> Result<Option<OpeningHours>, InvalidField> {
    let patch = match change {
        Change::Keep => return Ok(present),
        Change::Reset => return Ok(None),
        Change::Set(patch) => patch,
    };
    let mut hours = present.unwrap_or_default();
    for (day, change) in patch.days() {
        match change {
            Change::Keep => {}
            Change::Reset => drop(hours.remove(&day)),
            Change::Set(intervals) if follow_each_other(&intervals) => drop(hours.insert(day, intervals)),
            Change::Set(_) => {
                let reason = "must be up to 8 intervals a day, in order, each {\"opens\":\"09:00\",\
                              \"closes\":\"17:00\"} with closes after opens";
                return Err(InvalidField::new("opening_hours", reason));
            }
        }
    }
    Ok(Some(hours))
}

fn follow_each_other(intervals: &[Hours]) -> bool {
    let mut free_from = 0;
    intervals.len() <= INTERVALS_MOST
        && intervals.iter().all(|interval| match interval.minutes() {
            Some((opens, closes)) if opens >= free_from => {
                free_from = closes;
                true
            }
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(json: &str) -> Result<Settings, InvalidField> {
        Settings::default().patched(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn an_absent_field_stays_and_null_goes_back() {
        let some =
            patched(r#"{"timezone":"Europe/Amsterdam","retention_days":30,"answer_threshold":0.7}"#).unwrap();
        let patch = serde_json::from_str(r#"{"timezone":null,"retention_days":null}"#).unwrap();
        let after = some.patched(patch).unwrap();
        assert_eq!(
            (after.timezone.as_str(), after.retention_days, after.answer_threshold),
            ("UTC", None, 0.7)
        );
        assert_eq!(patched("{}").unwrap().handover_timeout_seconds, Some(600));
        assert_eq!(patched(r#"{"handover_timeout_seconds":null}"#).unwrap().handover_timeout_seconds, None);
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name() {
        for (json, param) in [
            (r#"{"timezone":"Mars/Olympus"}"#, "timezone"),
            (r#"{"languages":[]}"#, "languages"),
            (r#"{"languages":["english"]}"#, "languages"),
            (r#"{"retention_days":0}"#, "retention_days"),
            (r#"{"retention_days":3651}"#, "retention_days"),
            (r#"{"handover_timeout_seconds":0}"#, "handover_timeout_seconds"),
            (r#"{"answer_threshold":1.1}"#, "answer_threshold"),
            (r#"{"suggest_threshold":-0.1}"#, "suggest_threshold"),
            (r#"{"suggest_threshold":0.9}"#, "suggest_threshold"),
            (r#"{"minutes_per_conversation":0}"#, "minutes_per_conversation"),
            (r#"{"opening_hours":{"monday":[{"opens":"9:00","closes":"17:00"}]}}"#, "opening_hours"),
            (r#"{"opening_hours":{"monday":[{"opens":"17:00","closes":"09:00"}]}}"#, "opening_hours"),
            (
                r#"{"opening_hours":{"monday":[{"opens":"09:00","closes":"13:00"},{"opens":"12:00","closes":"17:00"}]}}"#,
                "opening_hours",
            ),
        ] {
            assert_eq!(patched(json).unwrap_err().param, param, "{json}");
        }
    }

    #[test]
    fn opening_hours_are_merged_day_by_day() {
        let some = patched(
            r#"{"opening_hours":{"monday":[{"opens":"09:00","closes":"24:00"}],"sunday":[{"opens":"10:00","closes":"12:00"}]}}"#,
        )
        .unwrap();
        let patch = serde_json::from_str(r#"{"opening_hours":{"sunday":null}}"#).unwrap();
        let hours = some.patched(patch).unwrap().opening_hours.unwrap();
        assert_eq!(hours.keys().collect::<Vec<_>>(), [&Weekday::Monday]);
        assert_eq!(hours[&Weekday::Monday][0].minutes(), Some((540, 1440)));
    }
}
