//! The outbox: an event and what is to be delivered of it are written in the transaction that caused them.
//!
//! Every writer knows the webhooks there are. Whoever makes an event passes it through [`Outbox::publish`], which adds
//! to the same op one delivery per matching webhook and, once, the bytes that all of them send. Nothing is read for it,
//! and where an organization has no webhook nothing is rendered. Whether a webhook is enabled decides not what is
//! written but when it is sent, so switching it on and off cannot miss an event.
//!
//! A webhook that is made or changed through this process is known here before its client is answered. Other processes
//! on the same database notice within a second ([`Outbox::refresh`]).

use std::{
    collections::HashSet,
    fmt,
    str::FromStr,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{
    event::EventRow,
    ids::{ConversationId, DeliveryId, OrgId, WebhookId},
    on_pool,
    store::{Attempting, Store, StoreError},
    writer::{Op, Table, Value},
};

/// Every type that a webhook may ask for, also those that nothing here makes yet.
const TYPES: [&str; 17] = [
    "conversation.started",
    "conversation.updated",
    "conversation.reopened",
    "conversation.rated",
    "conversation.completed",
    "conversation.deleted",
    "message.received",
    "message.sent",
    "handover.requested",
    "handover.accepted",
    "handover.returned",
    "handover.closed",
    "handover.expired",
    "handover.cancelled",
    "knowledge.indexed",
    "knowledge.failed",
    "webhook.disabled",
];

static BODIES: Table = Table {
    into: "webhook_bodies (event_id, org_id, conversation_id, body, created_at)",
    columns: 5,
    key: 1,
    on_conflict: "",
};

static DELIVERIES: Table = Table {
    into: "webhook_deliveries (id, org_id, webhook_id, event_id, event_type, conversation_id, sequence, origin, \
           state, under_way, attempt_count, next_at, created_at)",
    columns: 13,
    key: 1,
    on_conflict: "",
};

static STREAMS: Table =
    Table { into: "organization_streams (org_id, sequence)", columns: 2, key: 1, on_conflict: "" };

/// Which events: `*`, `handover.*`, or one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventPattern(String);

/// The text names no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be *, a family such as handover.*, or one of the types of events")]
pub struct UnknownEvent;

impl FromStr for EventPattern {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        let is_known = match text.strip_suffix('*') {
            Some(prefix) => {
                prefix.is_empty()
                    || prefix.ends_with('.') && TYPES.iter().any(|known| known.starts_with(prefix))
            }
            None => TYPES.contains(&text),
        };
        if is_known { Ok(Self(text.to_owned())) } else { Err(UnknownEvent) }
    }
}

impl TryFrom<String> for EventPattern {
    type Error = UnknownEvent;

    fn try_from(text: String) -> Result<Self, UnknownEvent> {
        text.parse()
    }
}

impl From<EventPattern> for String {
    fn from(pattern: EventPattern) -> Self {
        pattern.0
    }
}

impl EventPattern {
    /// Is it about events of that type?
    #[must_use]
    pub fn matches(&self, kind: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => self.0 == kind,
        }
    }
}

/// Which events a webhook is told of. An empty list lets all pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    /// Of these types.
    pub events: Vec<EventPattern>,
    /// Of conversations that take place there.
    pub channels: Vec<String>,
    /// Of conversations about that.
    pub topics: Vec<String>,
}

/// Where a conversation takes place and what it is about.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its channel.
    pub channel: &'a str,
    /// Its topic, if it has one.
    pub topic: Option<&'a str>,
}

impl Filters {
    /// Does the event pass? One that belongs to no conversation has no place, and passes those filters.
    #[must_use]
    pub fn pass(&self, kind: &str, place: Option<Place<'_>>) -> bool {
        let by_type = self.events.is_empty() || self.events.iter().any(|pattern| pattern.matches(kind));
        let Some(Place { channel, topic }) = place else { return by_type };
        let has = |names: &[String], name: Option<&str>| {
            names.is_empty() || name.is_some_and(|name| names.iter().any(|known| known == name))
        };
        by_type && has(&self.channels, Some(channel)) && has(&self.topics, topic)
    }
}

/// What must be known of a webhook to write its deliveries, and whether they may go.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Which webhook.
    pub id: WebhookId,
    /// Which events.
    pub filters: Filters,
    /// Its deliveries are sent; else they are held.
    pub enabled: bool,
    /// Grows with each change.
    pub version: i64,
}

/// Wakes the dispatcher once an op is on disk.
#[derive(Debug, Clone)]
pub struct Nudge {
    wakes: Arc<Wakes>,
    webhooks: Vec<(OrgId, WebhookId)>,
}

impl Nudge {
    /// Says that there is something to deliver.
    pub fn wake(&self) {
        self.wakes.grown(self.webhooks.iter().copied());
    }
}

/// Which webhooks have something new: never more entries than there are webhooks.
#[derive(Debug, Default)]
struct Wakes {
    grown: Mutex<HashSet<(OrgId, WebhookId)>>,
    any: Notify,
}

impl Wakes {
    fn grown(&self, webhooks: impl IntoIterator<Item = (OrgId, WebhookId)>) {
        self.grown.lock().unwrap_or_else(PoisonError::into_inner).extend(webhooks);
        self.any.notify_one();
    }
}

#[derive(Debug, Default)]
struct Shared {
    webhooks: DashMap<OrgId, Arc<[Subscription]>>,
    /// How many there are: what an event is asked first.
    count: AtomicUsize,
    /// The version of the registry that was read.
    version: AtomicI64,
    wakes: Arc<Wakes>,
    /// Held while the registry is read or a webhook is changed: neither overwrites what the other has just learnt.
    changing: tokio::sync::Mutex<()>,
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Outbox(Arc<Shared>);

/// Leave to change webhooks, one at a time in this process.
pub struct Changing<'a> {
    shared: &'a Shared,
    _one_at_a_time: tokio::sync::MutexGuard<'a, ()>,
}

impl fmt::Debug for Changing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Changing")
    }
}

impl Changing<'_> {
    /// The webhook is so from now on; it has something to deliver perhaps.
    pub fn put(&self, org: OrgId, subscription: Subscription) {
        let id = subscription.id;
        self.edit(org, |known| {
            known.retain(|other| other.id != id);
            known.push(subscription);
        });
        self.shared.wakes.grown([(org, id)]);
    }

    /// The webhook is gone.
    pub fn remove(&self, org: OrgId, id: WebhookId) {
        self.edit(org, |known| known.retain(|other| other.id != id));
    }

    fn edit(&self, org: OrgId, edit: impl FnOnce(&mut Vec<Subscription>)) {
        let mut known = self.shared.webhooks.get(&org).map(|known| known.to_vec()).unwrap_or_default();
        edit(&mut known);
        if known.is_empty() {
            self.shared.webhooks.remove(&org);
        } else {
            self.shared.webhooks.insert(org, known.into());
        }
        self.shared.count.store(self.shared.webhooks.len(), Ordering::Release);
    }
}

impl Outbox {
    /// One that knows of no webhook: for rows that nobody is told of.
    #[must_use]
    pub fn of_nobody() -> Self {
        static NOBODY: LazyLock<Outbox> = LazyLock::new(Outbox::default);
        NOBODY.clone()
    }

    /// Reads which webhooks there are, if any were changed since they were last read.
    ///
    /// # Errors
    /// The store is away.
    pub async fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        let version = registry_version(store).await?;
        if version == self.0.version.load(Ordering::Acquire) {
            return Ok(());
        }
        let changing = self.changing().await;
        let all = subscriptions(store).await?;
        let mut by_org: std::collections::HashMap<OrgId, Vec<Subscription>> =
            std::collections::HashMap::new();
        for (org, subscription) in all {
            by_org.entry(org).or_default().push(subscription);
        }
        self.0.webhooks.retain(|org, _| by_org.contains_key(org));
        self.0.count.store(by_org.len(), Ordering::Release);
        for (org, known) in by_org {
            self.0.webhooks.insert(org, known.into());
        }
        // Read before the rows: a change in between is noticed again.
        self.0.version.store(version, Ordering::Release);
        drop(changing);
        Ok(())
    }

    /// Takes leave to change webhooks.
    pub async fn changing(&self) -> Changing<'_> {
        Changing { shared: &self.0, _one_at_a_time: self.0.changing.lock().await }
    }

    /// Waits until there is something to deliver, and says for which webhooks.
    pub async fn grown(&self) -> HashSet<(OrgId, WebhookId)> {
        self.0.wakes.any.notified().await;
        std::mem::take(&mut *self.0.wakes.grown.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The op has something for that webhook, beside events.
    pub fn nudge(&self, op: &mut Op, org: OrgId, webhook: WebhookId) {
        let nudge =
            op.nudge.get_or_insert_with(|| Nudge { wakes: Arc::clone(&self.0.wakes), webhooks: Vec::new() });
        nudge.webhooks.push((org, webhook));
    }

    /// There are no webhooks at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.count.load(Ordering::Acquire) == 0
    }

    /// The version of that webhook, if it is there and may be sent to.
    #[must_use]
    pub fn enabled(&self, org: OrgId, webhook: WebhookId) -> Option<i64> {
        let known = self.0.webhooks.get(&org)?;
        known.iter().find(|one| one.id == webhook && one.enabled).map(|one| one.version)
    }

    /// Adds an event to the op that causes it, with what is to be delivered of it. `body` makes the bytes that
    /// webhooks get; it is asked only if one matches.
    pub fn publish(
        &self,
        op: &mut Op,
        event: EventRow,
        place: Option<Place<'_>>,
        body: impl FnOnce(&EventRow) -> Option<Bytes>,
    ) {
        self.publish_to_others(op, event, place, None, body);
    }

    /// The same, where one webhook is not told.
    pub fn publish_to_others(
        &self,
        op: &mut Op,
        event: EventRow,
        place: Option<Place<'_>>,
        not_told: Option<WebhookId>,
        body: impl FnOnce(&EventRow) -> Option<Bytes>,
    ) {
        if !self.is_empty() && event.kind.is_told_to_webhooks() {
            let known = self.0.webhooks.get(&event.org).map(|known| Arc::clone(&known));
            let matching: Vec<WebhookId> = known
                .iter()
                .flat_map(|known| known.iter())
                .filter(|webhook| Some(webhook.id) != not_told)
                .filter(|webhook| webhook.filters.pass(event.kind.as_str(), place))
                .map(|webhook| webhook.id)
                .collect();
            if !matching.is_empty()
                && let Some(body) = body(&event)
            {
                self.deliver(op, &event, &body, matching);
            }
        }
        op.events.push(event);
    }

    fn deliver(&self, op: &mut Op, event: &EventRow, body: &Bytes, matching: Vec<WebhookId>) {
        // JSON is UTF-8.
        let Ok(body) = std::str::from_utf8(body) else { return };
        put_body(op, event, body);
        for webhook in matching {
            put_delivery(op, webhook, &Announced::of(event), Origin::Event, event.at.0);
            self.nudge(op, event.org, webhook);
        }
    }
}

/// Keeps the bytes of an event.
fn put_body(op: &mut Op, event: &EventRow, body: &str) {
    let conversation = conversation_of(event);
    op.insert(
        &BODIES,
        vec![event.id.into(), event.org.into(), conversation.into(), body.into(), event.at.into()],
    );
}

fn conversation_of(event: &EventRow) -> String {
    event.stream_id.parse::<ConversationId>().map(|id| id.to_string()).unwrap_or_default()
}

/// Why something is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It happened.
    Event,
    /// Somebody asked for it again.
    Redelivery,
    /// Somebody asked for all of a time.
    Replay,
}

impl Origin {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Redelivery => "redelivery",
            Self::Replay => "replay",
        }
    }
}

/// What a delivery says of its event.
#[derive(Debug, Clone)]
pub struct Announced {
    /// Whose.
    pub org: OrgId,
    /// Which event.
    pub event: String,
    /// Its type.
    pub kind: String,
    /// Its conversation, or empty.
    pub conversation: String,
    /// Its place there.
    pub sequence: i64,
}

impl Announced {
    fn of(event: &EventRow) -> Self {
        Self {
            org: event.org,
            event: event.id.to_string(),
            kind: event.kind.as_str().to_owned(),
            conversation: conversation_of(event),
            sequence: event.sequence,
        }
    }
}

/// Adds a delivery that may go from `next_at` on, and gives its id.
pub fn put_delivery(
    op: &mut Op,
    webhook: WebhookId,
    what: &Announced,
    origin: Origin,
    next_at: i64,
) -> DeliveryId {
    let id = DeliveryId::generate();
    op.insert(
        &DELIVERIES,
        vec![
            id.into(),
            what.org.into(),
            webhook.into(),
            what.event.as_str().into(),
            what.kind.as_str().into(),
            what.conversation.as_str().into(),
            what.sequence.into(),
            origin.as_str().into(),
            "pending".into(),
            0.into(),
            0.into(),
            next_at.into(),
            next_at.into(),
        ],
    );
    id
}

/// Makes room for `grows_by` events on the organization's own stream, which had `sequence` of them: else nothing of
/// the op is written.
pub fn grow_stream(op: &mut Op, org: OrgId, sequence: i64, grows_by: usize) {
    let grown = sequence + grows_by as i64;
    if sequence == 0 {
        op.insert(&STREAMS, vec![org.into(), grown.into()]);
    } else {
        op.run_on_one(
            "UPDATE organization_streams SET sequence = $3 WHERE org_id = $1 AND sequence = $2",
            vec![org.into(), sequence.into(), grown.into()],
        );
    }
}

/// How many events the organization's own stream has.
///
/// # Errors
/// The store is away.
pub async fn stream_length(store: &Store, org: OrgId) -> Result<i64, StoreError> {
    const SELECT: &str = "SELECT sequence FROM organization_streams WHERE org_id = $1";
    let sequence: Option<i64> =
        on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(org).fetch_optional(pool).await)
            .attempting("read the length of an organization's stream")?;
    Ok(sequence.unwrap_or(0))
}

/// Lets every process know that webhooks were changed by this op.
pub fn note_change(op: &mut Op) {
    op.run("UPDATE webhook_registry SET version = version + 1 WHERE id = 1", Vec::<Value>::new());
}

/// What is to be delivered of a conversation goes with it, and so does what was.
pub fn erase_conversation(op: &mut Op, conversation: ConversationId) {
    const STATEMENTS: [&str; 3] = [
        "UPDATE webhook_attempts SET response_body = NULL WHERE delivery_id IN (
            SELECT d.id FROM webhook_deliveries d JOIN webhook_bodies b ON b.event_id = d.event_id
            WHERE b.conversation_id = $1 AND b.conversation_id <> '')",
        "UPDATE webhook_deliveries SET state = 'cancelled', under_way = 0 WHERE conversation_id = $1 AND state = 'pending'",
        "DELETE FROM webhook_bodies WHERE conversation_id = $1 AND conversation_id <> ''",
    ];
    for statement in STATEMENTS {
        op.run(statement, vec![conversation.into()]);
    }
}

async fn registry_version(store: &Store) -> Result<i64, StoreError> {
    const SELECT: &str = "SELECT version FROM webhook_registry WHERE id = 1";
    on_pool!(store, |pool| sqlx::query_scalar(SELECT).fetch_one(pool).await)
        .attempting("ask whether webhooks were changed")
}

async fn subscriptions(store: &Store) -> Result<Vec<(OrgId, Subscription)>, StoreError> {
    const SELECT: &str =
        "SELECT org_id, id, events, channels, topics, enabled, version FROM webhooks ORDER BY org_id, id";
    type Row = (OrgId, WebhookId, String, String, String, i64, i64);
    let rows: Vec<Row> = on_pool!(store, |pool| sqlx::query_as(SELECT).fetch_all(pool).await)
        .attempting("read which webhooks there are")?;
    let subscription = |(org, id, events, channels, topics, enabled, version): Row| {
        let filters = stored_filters(&events, &channels, &topics)?;
        Ok((org, Subscription { id, filters, enabled: enabled != 0, version }))
    };
    let read: Result<_, sqlx::Error> = rows.into_iter().map(subscription).collect();
    read.attempting("read a webhook")
}

/// The filters as they are stored.
///
/// # Errors
/// They are not what we write.
pub fn stored_filters(events: &str, channels: &str, topics: &str) -> Result<Filters, sqlx::Error> {
    let list = |text: &str| {
        serde_json::from_str::<Vec<String>>(text).map_err(|error| sqlx::Error::Decode(error.into()))
    };
    // A type that this version does not know matches nothing it makes.
    let events = list(events)?.into_iter().map(EventPattern).collect();
    Ok(Filters { events, channels: list(channels)?, topics: list(topics)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    #[test]
    fn a_pattern_is_all_a_family_or_a_type_that_exists() {
        for good in ["*", "handover.*", "conversation.*", "message.sent"] {
            assert!(good.parse::<EventPattern>().is_ok(), "{good}");
        }
        for bad in ["", "hand*", "turn.*", "turn.completed", "message", "message.sent.*", "MESSAGE.*", ".*"] {
            assert!(bad.parse::<EventPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn channel_and_topic_must_both_match_and_let_events_of_no_conversation_pass() {
        let filters = Filters {
            events: vec!["message.*".parse().unwrap(), "knowledge.*".parse().unwrap()],
            channels: vec!["web".to_owned()],
            topics: vec!["returns".to_owned()],
        };
        let place = |channel, topic| Some(Place { channel, topic });
        assert!(filters.pass("message.sent", place("web", Some("returns"))));
        assert!(!filters.pass("message.sent", place("web", None)));
        assert!(!filters.pass("message.sent", place("app", Some("returns"))));
        assert!(!filters.pass("conversation.started", place("web", Some("returns"))));
        assert!(filters.pass("knowledge.indexed", None));
        assert!(Filters::default().pass("conversation.started", place("app", None)));
    }

    #[test]
    fn every_type_that_is_told_can_be_asked_for() {
        for kind in ["conversation.deleted", "message.received", "webhook.disabled", "knowledge.failed"] {
            assert!(EventKind::parse(kind).is_some_and(EventKind::is_told_to_webhooks));
            assert!(TYPES.contains(&kind));
        }
    }
}
