//! Figures, and the conversations that they are made of.

mod export;

use actix_web::web::{Data, Json as Answer};
use jiff::{ToSpan, civil::Date, tz::TimeZone};
use openclaw_actors::{
    analytics::{
        AnalyticsError,
        answer::{BucketView, GroupBy, Question, Selection},
        calendar::Interval,
    },
    ids::OrgId,
};
use serde::{Deserialize, Serialize};

pub(super) use self::export::conversations;
use super::{
    auth::{Caller, ReadAnalytics},
    error::ApiError,
    query::Query,
};
use crate::server::Parts;

/// Days shown when nothing else is said.
const DAYS: i64 = 30;

/// Channels or topics that one question names: each is compared with each cell.
const MOST_NAMES: usize = 100;

/// What figures may be asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FigureParameters {
    from: Option<String>,
    to: Option<String>,
    timezone: Option<String>,
    channel: Vec<String>,
    topic: Vec<String>,
    interval: Interval,
    group_by: Option<GroupBy>,
}

/// Which conversations are meant.
#[derive(Debug, Clone, Default)]
struct Range {
    from: Option<String>,
    to: Option<String>,
    timezone: Option<String>,
    channels: Vec<String>,
    topics: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct FiguresView {
    interval: Interval,
    timezone: String,
    from: String,
    to: String,
    totals: BucketView,
    series: Vec<PeriodView>,
    groups: Vec<GroupView>,
}

#[derive(Debug, Serialize)]
struct PeriodView {
    period_start: String,
    #[serde(flatten)]
    figures: BucketView,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum GroupView {
    Channel {
        channel: String,
        totals: BucketView,
    },
    /// Null: conversations without one.
    Topic {
        topic: Option<String>,
        totals: BucketView,
    },
}

/// `GET /v1/analytics`
///
/// # Errors
/// A parameter is malformed, the range is too long, or the store is away.
pub(super) async fn figures(
    caller: Caller<ReadAnalytics>,
    parameters: Query<FigureParameters>,
    parts: Data<Parts>,
) -> Result<Answer<FiguresView>, ApiError> {
    let Query(FigureParameters { from, to, timezone, channel, topic, interval, group_by }) = parameters;
    let range = Range { from, to, timezone, channels: channel, topics: topic };
    let (selection, minutes) = range.read(caller.org, &parts).await?;
    let question = Question { selection, interval, group_by };
    let figures = parts.analytics.answer(caller.org, question.clone()).await?;
    let period = |(start, bucket): &(Date, openclaw_actors::analytics::answer::Bucket)| PeriodView {
        period_start: start.to_string(),
        figures: bucket.view(minutes),
    };
    let groups = figures.groups.into_iter().filter_map(|(name, bucket)| {
        let totals = bucket.view(minutes);
        group_by.map(|by| match by {
            GroupBy::Channel => GroupView::Channel { channel: name, totals },
            GroupBy::Topic => GroupView::Topic { topic: Some(name).filter(|name| !name.is_empty()), totals },
        })
    });
    let Selection { zone, from, to, .. } = question.selection;
    Ok(Answer(FiguresView {
        interval,
        timezone: zone.iana_name().unwrap_or("UTC").to_owned(),
        from: from.to_string(),
        to: to.to_string(),
        totals: figures.totals.view(minutes),
        series: figures.series.iter().map(period).collect(),
        groups: groups.collect(),
    }))
}

impl Range {
    /// What is meant, and what the organization takes a conversation to cost, in minutes.
    async fn read(self, org: OrgId, parts: &Parts) -> Result<(Selection, f64), ApiError> {
        // A key without an organization was erased with it a moment ago.
        let organization = parts.organizations.recent(org).await?.ok_or_else(ApiError::unauthenticated)?;
        let zone = match &self.timezone {
            Some(name) => zone(name)?,
            None => TimeZone::get(&organization.settings.timezone).map_err(ApiError::internal)?,
        };
        let to = self.to.as_deref().map(|text| date("to", text)).transpose()?;
        let from = self.from.as_deref().map(|text| date("from", text)).transpose()?;
        let to = to.unwrap_or_else(|| jiff::Timestamp::now().to_zoned(zone.clone()).date());
        let from = from.unwrap_or_else(|| to.saturating_sub((DAYS - 1).days()));
        if from > to {
            return Err(ApiError::invalid_field("from", "it must not be later than `to`"));
        }
        for (param, names) in [("channel", &self.channels), ("topic", &self.topics)] {
            if names.len() > MOST_NAMES {
                return Err(ApiError::invalid_field(param, format!("at most {MOST_NAMES} may be named")));
            }
        }
        let Self { channels, topics, .. } = self;
        let minutes = organization.settings.minutes_per_conversation;
        Ok((Selection { zone, from, to, channels, topics }, minutes))
    }
}

fn zone(name: &str) -> Result<TimeZone, ApiError> {
    let found = TimeZone::get(name).ok().filter(|zone| zone.iana_name().is_some());
    found.ok_or_else(|| {
        ApiError::invalid_field("timezone", "it must be an IANA time zone, such as Europe/Amsterdam")
    })
}

/// `2026-11-30`, and nothing else that could be read as a date.
fn date(param: &str, text: &str) -> Result<Date, ApiError> {
    let parsed = text.parse::<Date>().ok().filter(|date| date.to_string() == text);
    parsed.ok_or_else(|| ApiError::invalid_field(param, "it must be a date, such as 2026-11-30"))
}

impl From<AnalyticsError> for ApiError {
    fn from(error: AnalyticsError) -> Self {
        match error {
            AnalyticsError::RangeTooLong(error) => {
                Self::bad_request("range_too_long", error.to_string()).param("from")
            }
            AnalyticsError::NotYet => Self::unavailable().caused_by(error),
            AnalyticsError::Store(error) => error.into(),
            AnalyticsError::Write(error) => error.into(),
        }
    }
}
