//! Replays: the events of a time, delivered to one endpoint once more.
//!
//! What is asked for is counted at once and queued afterwards, a few events per commit, so that nobody who writes waits
//! for it. How far that has come is a row, changed in the transaction that queues: whatever dies, each event gets one
//! delivery. The log is looked through in the order in which it was written; bodies that nobody kept are made of it.

mod queueing;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use self::queueing::begin;
use super::{Webhooks, endpoint::WebhookError, sql::replays};
use crate::{
    clock::Timestamp,
    event::EventKind,
    ids::{DeliveryId, OrgId, ReplayId, WebhookId},
    outbox::{EventPattern, Filters},
    patch::InvalidField,
    store::{Store, StoreError},
    writer::{Op, Row, WriteError},
};

/// Events that one replay queues at most. They are counted while the client waits: some seconds.
pub const MOST_REPLAYED: i64 = 1_000_000;

/// Rows looked at in one read while counting: some milliseconds each, so that other reads come in between.
const COUNTED_AT_ONCE: i64 = 4_000;

/// Events are stored soon after they happen, so a time is found in the log by halves. This is how much a clock may be
/// set back without an event being missed for it.
const CLOCK_SET_BACK: Duration = Duration::from_secs(3_600);

/// A piece of the log small enough to be looked through from its beginning.
const SMALL: i64 = 256;

/// Which of the events of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Only {
    /// Those whose last delivery to the endpoint was given up.
    #[default]
    Failed,
    /// Those that the endpoint has no delivery of.
    Missing,
    /// All that it would be told.
    All,
}

impl Only {
    /// As it is stored and asked for.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Missing => "missing",
            Self::All => "all",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Failed, Self::Missing, Self::All].into_iter().find(|only| only.as_str() == text)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct NewReplay {
    /// Events that happened then or later; none is from the beginning.
    pub since: Option<Timestamp>,
    /// Events that happened earlier; none is up to now.
    pub until: Option<Timestamp>,
    /// Of these types; an empty list is all.
    pub events: Vec<EventPattern>,
    /// Which of those.
    pub only: Only,
}

/// What came of asking.
#[derive(Debug, Clone, Copy)]
pub struct Replayed {
    /// The replay.
    pub id: ReplayId,
    /// How many events it delivers.
    pub queued: i64,
}

/// Which events pass: what was asked for, and what the endpoint is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Selection {
    pub(super) asked: Vec<EventPattern>,
    pub(super) told: Filters,
}

/// Something to look through yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stretch {
    /// Of a writer's events.
    Log { writer: i64, after: i64, to: i64 },
    /// Of the endpoint's deliveries.
    Deliveries { after: DeliveryId, to: DeliveryId },
}

impl Stretch {
    /// What is left of it from there on.
    fn from(&self, place: &str) -> Option<Self> {
        match *self {
            Self::Log { writer, after, to } => {
                let reached = place.parse().unwrap_or(after);
                (reached < to).then_some(Self::Log { writer, after: reached, to })
            }
            Self::Deliveries { after, to } => {
                let reached = place.parse().unwrap_or(after);
                (reached < to).then_some(Self::Deliveries { after: reached, to })
            }
        }
    }
}

/// A replay as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Replay {
    pub(super) id: ReplayId,
    pub(super) org: OrgId,
    pub(super) webhook: WebhookId,
    pub(super) only: Only,
    pub(super) selection: Selection,
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
    pub(super) queued: i64,
    /// What is left, in the order in which it is looked through.
    pub(super) stretches: Vec<Stretch>,
    pub(super) step: i64,
    pub(super) created_at: Timestamp,
}

impl Replay {
    fn wants(&self, event: &replays::Candidate) -> bool {
        let Selection { asked, told } = &self.selection;
        EventKind::parse(&event.kind).is_some_and(EventKind::is_told_to_webhooks)
            && (self.since..self.until).contains(&event.created_at)
            && (self.only != Only::Missing || event.missing != 0)
            && (asked.is_empty() || asked.iter().any(|pattern| pattern.matches(&event.kind)))
            && told.pass(&event.kind, event.place())
    }

    /// How many events it would queue, counted up to one more than may be.
    async fn count(&self, store: &Store) -> Result<i64, StoreError> {
        let mut count = 0;
        for stretch in &self.stretches {
            let mut left = Some(stretch.clone());
            while let Some(stretch) = left {
                let upto = replays::piece(store, self, &stretch, COUNTED_AT_ONCE).await?;
                let found = replays::look(store, self, &stretch, &upto).await?;
                count += found.iter().filter(|event| self.wants(event)).count() as i64;
                if count > MOST_REPLAYED {
                    return Ok(count);
                }
                left = stretch.from(&upto);
            }
        }
        Ok(count)
    }
}

impl Webhooks {
    /// Delivers events to a webhook of `org` once more, with fresh attempts. The row that `extra` makes of it is stored
    /// with it or not at all.
    ///
    /// # Errors
    /// See [`WebhookError`].
    pub async fn replay(
        &self,
        org: OrgId,
        id: WebhookId,
        asked: NewReplay,
        extra: impl FnOnce(ReplayId) -> Option<Row>,
    ) -> Result<Replayed, WebhookError> {
        let shared = &self.0;
        let webhook = self.get(org, id).await?;
        if replays::is_running(&shared.store, id).await? {
            return Err(WebhookError::Replaying);
        }
        let now = Timestamp::now();
        let (since, until) = times(&asked, now)?;
        // What has happened by now is stored, and where the log ends is known.
        shared.writer.barrier().await?;
        let stretches = match asked.only {
            Only::Failed => {
                let to = DeliveryId::generate();
                vec![Stretch::Deliveries { after: DeliveryId::edge_at(since).min(to), to }]
            }
            Only::Missing | Only::All => log_between(&shared.store, since, until).await?,
        };
        let selection = Selection { asked: asked.events, told: webhook.filters };
        let mut replay = Replay {
            id: ReplayId::generate(),
            org,
            webhook: id,
            only: asked.only,
            selection,
            since,
            until,
            queued: 0,
            stretches,
            step: 0,
            created_at: now,
        };
        replay.queued = replay.count(&shared.store).await?;
        if replay.queued > MOST_REPLAYED {
            return Err(WebhookError::ReplayTooLarge(MOST_REPLAYED));
        }
        if replay.queued == 0 {
            replay.stretches.clear();
        }
        let mut op = Op::default();
        replays::insert(&mut op, &replay);
        op.rows.extend(extra(replay.id));
        match shared.writer.commit(op).await {
            // Another was faster, unless it is the row that came with the command.
            Err(WriteError::Conflict) if replays::is_running(&shared.store, id).await? => {
                return Err(WebhookError::Replaying);
            }
            other => other?,
        }
        shared.replays.notify_one();
        Ok(Replayed { id: replay.id, queued: replay.queued })
    }

    /// How many events a replay of `org` delivers.
    ///
    /// # Errors
    /// There is none, or the store is away.
    pub async fn replayed(&self, org: OrgId, id: ReplayId) -> Result<Replayed, WebhookError> {
        let queued = replays::queued(&self.0.store, org, id).await?.ok_or(WebhookError::NotFound)?;
        Ok(Replayed { id, queued })
    }
}

/// From when until when.
fn times(asked: &NewReplay, now: Timestamp) -> Result<(Timestamp, Timestamp), InvalidField> {
    let since = asked.since.unwrap_or(Timestamp(0));
    if since > now {
        return Err(InvalidField::new("since", "must not lie in the future"));
    }
    // What happened in this very millisecond has happened.
    let end = now.plus_ms(1);
    let until = asked.until.map_or(end, |until| until.min(end));
    if since >= until {
        return Err(InvalidField::new("until", "must be later than since"));
    }
    Ok((since, until))
}

/// The pieces of the log that hold every event of that time.
async fn log_between(store: &Store, since: Timestamp, until: Timestamp) -> Result<Vec<Stretch>, StoreError> {
    let set_back = CLOCK_SET_BACK.as_millis() as i64;
    let mut stretches = Vec::new();
    for (writer, end) in replays::ends_of_the_log(store).await? {
        let after = before(store, writer, end, since.plus_ms(-set_back)).await?;
        let last = before(store, writer, end, until.plus_ms(set_back)).await?;
        let to = (last + SMALL).min(end);
        if after < to {
            stretches.push(Stretch::Log { writer, after, to });
        }
    }
    Ok(stretches)
}

/// A position of a writer's that is not behind the first event from that time on, and at most [`SMALL`] before it.
async fn before(store: &Store, writer: i64, end: i64, time: Timestamp) -> Result<i64, StoreError> {
    let (mut low, mut high) = (0, end);
    while high - low > SMALL {
        let middle = low + (high - low) / 2;
        match replays::first_event(store, writer, (middle, high)).await? {
            Some((place, at)) if at < time => low = place,
            _ => high = middle,
        }
    }
    Ok(low)
}
