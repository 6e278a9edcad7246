//! A question about figures, and its answer: a sum over cells, in one pass for what there is and one for the groups.

use std::collections::HashMap;

use jiff::{civil::Date, tz::TimeZone};
use serde::Serialize;

use super::{
    calendar::{Interval, number_of},
    histogram::Sum,
    tally::{Numbers, Tally},
};

/// Groups shown, the largest first: what comes after them is a tail of single conversations.
pub(super) const MOST_GROUPS: usize = 200;

/// What figures are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// Where conversations take place.
    Channel,
    /// What they are about.
    Topic,
}

/// Which conversations: those that began between two local days, both included.
#[derive(Debug, Clone)]
pub struct Selection {
    /// What a local day is.
    pub zone: TimeZone,
    /// The first.
    pub from: Date,
    /// The last.
    pub to: Date,
    /// Of these channels; of all if none is named.
    pub channels: Vec<String>,
    /// Of these topics; of all if none is named. `''` is none.
    pub topics: Vec<String>,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// Of which conversations.
    pub selection: Selection,
    /// In which steps.
    pub interval: Interval,
    /// By what beside.
    pub group_by: Option<GroupBy>,
}

/// There are more periods in the range than one answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the range has more than {} periods", super::calendar::MOST_PERIODS)]
pub struct RangeTooLong;

/// What conversations of a period, a group or all of them add up to.
#[derive(Debug, Clone, Default)]
pub struct Bucket {
    numbers: Numbers,
    first_tokens: Sum,
    answers: Sum,
}

/// The figures.
#[derive(Debug)]
pub struct Figures {
    /// Of all of it.
    pub totals: Bucket,
    /// By period: its first day, also where that lies before the range.
    pub series: Vec<(Date, Bucket)>,
    /// By group; a topic's `''` is none.
    pub groups: Vec<(String, Bucket)>,
}

impl Selection {
    /// The numbers of its first and last day.
    pub(super) fn days(&self) -> (i64, i64) {
        (number_of(self.from), number_of(self.to))
    }

    /// The name of its time zone.
    pub(super) fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    fn has(&self, channel: &str, topic: &str) -> bool {
        let among =
            |names: &[String], name: &str| names.is_empty() || names.iter().any(|known| known == name);
        among(&self.channels, channel) && among(&self.topics, topic)
    }
}

/// The answer while it is being added up.
pub(super) struct Adding<'a> {
    question: &'a Question,
    periods: Vec<Date>,
    first: i64,
    /// The place in `periods` of each day of the range.
    places: Vec<usize>,
    series: Vec<Bucket>,
    sizes: HashMap<String, i64>,
    groups: HashMap<String, Bucket>,
}

impl<'a> Adding<'a> {
    pub(super) fn new(question: &'a Question) -> Result<Self, RangeTooLong> {
        let Question { selection, interval, .. } = question;
        let periods = interval.periods(selection.from, selection.to).ok_or(RangeTooLong)?;
        let (first, last) = selection.days();
        let starts: Vec<i64> = periods.iter().map(|start| number_of(*start)).collect();
        let places = (first..=last).map(|day| starts.partition_point(|start| *start <= day) - 1).collect();
        let series = vec![Bucket::default(); periods.len()];
        let (sizes, groups) = (HashMap::new(), HashMap::new());
        Ok(Self { question, periods, first, places, series, sizes, groups })
    }

    fn group<'b>(&self, channel: &'b str, topic: &'b str) -> Option<&'b str> {
        self.question.group_by.map(|by| match by {
            GroupBy::Channel => channel,
            GroupBy::Topic => topic,
        })
    }

    /// The first pass.
    pub(super) fn add(&mut self, day: i64, channel: &str, topic: &str, tally: &Tally) {
        if !self.question.selection.has(channel, topic) {
            return;
        }
        let place = usize::try_from(day - self.first).ok();
        if let Some(&period) = place.and_then(|place| self.places.get(place)) {
            self.series[period].add(tally);
        }
        if let Some(group) = self.group(channel, topic) {
            match self.sizes.get_mut(group) {
                Some(size) => *size += tally.numbers.conversations,
                None => drop(self.sizes.insert(group.to_owned(), tally.numbers.conversations)),
            }
        }
    }

    /// Between the passes: which groups are the largest. Says whether there are any.
    pub(super) fn choose_groups(&mut self) -> bool {
        let mut sizes: Vec<_> = std::mem::take(&mut self.sizes).into_iter().collect();
        sizes.retain(|(_, size)| *size > 0);
        sizes.sort_by(|(name, size), (other, others)| others.cmp(size).then_with(|| name.cmp(other)));
        sizes.truncate(MOST_GROUPS);
        self.groups = sizes.into_iter().map(|(name, _)| (name, Bucket::default())).collect();
        !self.groups.is_empty()
    }

    /// The second pass.
    pub(super) fn add_to_group(&mut self, channel: &str, topic: &str, tally: &Tally) {
        if !self.question.selection.has(channel, topic) {
            return;
        }
        if let Some(bucket) = self.group(channel, topic).and_then(|group| self.groups.get_mut(group)) {
            bucket.add(tally);
        }
    }

    pub(super) fn finish(self) -> Figures {
        let mut totals = Bucket::default();
        self.series.iter().for_each(|bucket| totals.merge(bucket));
        let mut groups: Vec<_> = self.groups.into_iter().collect();
        groups.sort_by(|(name, bucket), (other, others)| {
            others.numbers.conversations.cmp(&bucket.numbers.conversations).then_with(|| name.cmp(other))
        });
        Figures { totals, series: self.periods.into_iter().zip(self.series).collect(), groups }
    }
}

/// Satisfaction.
#[derive(Debug, Serialize)]
struct Csat {
    average: Option<f64>,
    responses: i64,
    distribution: Distribution,
}

/// How often each score was given.
#[derive(Debug, Serialize)]
struct Distribution {
    #[serde(rename = "1")]
    one: i64,
    #[serde(rename = "2")]
    two: i64,
    #[serde(rename = "3")]
    three: i64,
    #[serde(rename = "4")]
    four: i64,
    #[serde(rename = "5")]
    five: i64,
}

/// A latency.
#[derive(Debug, Serialize)]
struct Percentiles {
    p50: Option<f64>,
    p95: Option<f64>,
}

/// A bucket as it is shown. Nothing to divide by is null, not 0.
#[derive(Debug, Serialize)]
pub struct BucketView {
    conversations: i64,
    messages: i64,
    completed: i64,
    average_duration_seconds: Option<f64>,
    resolution_rate: Option<f64>,
    csat: Csat,
    handovers: i64,
    handover_rate: Option<f64>,
    containment_rate: Option<f64>,
    unanswered: i64,
    first_token_ms: Percentiles,
    answer_ms: Percentiles,
    estimated_hours_saved: f64,
}

impl Bucket {
    fn add(&mut self, tally: &Tally) {
        self.numbers.merge(&tally.numbers, 1);
        self.first_tokens.add(&tally.first_tokens);
        self.answers.add(&tally.answers);
    }

    fn merge(&mut self, other: &Self) {
        self.numbers.merge(&other.numbers, 1);
        self.first_tokens.merge(&other.first_tokens);
        self.answers.merge(&other.answers);
    }

    /// As it is shown. `minutes` is what a person would have spent on each conversation that needed none.
    #[must_use]
    pub fn view(&self, minutes: f64) -> BucketView {
        let numbers = &self.numbers;
        let share = |part: i64, whole: i64| (whole != 0).then(|| part as f64 / whole as f64);
        let percentiles = |sum: &Sum| Percentiles { p50: sum.percentile(0.5), p95: sum.percentile(0.95) };
        let responses: i64 = numbers.ratings.iter().sum();
        let scores: i64 = numbers.ratings.iter().zip(1..).map(|(count, score)| count * score).sum();
        let [one, two, three, four, five] = numbers.ratings;
        BucketView {
            conversations: numbers.conversations,
            messages: numbers.messages,
            completed: numbers.completed,
            average_duration_seconds: share(numbers.duration_ms, numbers.completed).map(|ms| ms / 1_000.0),
            resolution_rate: share(numbers.resolved, numbers.completed),
            csat: Csat {
                average: share(scores, responses),
                responses,
                distribution: Distribution { one, two, three, four, five },
            },
            handovers: numbers.handovers,
            handover_rate: share(numbers.handovers, numbers.conversations),
            containment_rate: share(numbers.contained, numbers.completed),
            unanswered: numbers.unanswered,
            first_token_ms: percentiles(&self.first_tokens),
            answer_ms: percentiles(&self.answers),
            estimated_hours_saved: numbers.contained as f64 * minutes / 60.0,
        }
    }
}
