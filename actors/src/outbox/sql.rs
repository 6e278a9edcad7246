//! The rows of the outbox.

use super::{Announced, Origin, filters::stored_filters, registry::Subscription};
use crate::{
    clock::Timestamp,
    event::EventRow,
    ids::{ConversationId, DeliveryId, OrgId, WebhookId},
    on_pool,
    store::{Attempting, Store, StoreError},
    writer::{Op, Table, Value},
};

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

/// The same where they may be kept already.
static BODIES_IF_NEW: Table = Table {
    into: "webhook_bodies (event_id, org_id, conversation_id, body, created_at)",
    columns: 5,
    key: 1,
    on_conflict: "ON CONFLICT DO NOTHING",
};

/// Keeps the bytes of an event that is told anew, unless they are kept already.
pub fn put_body_again(op: &mut Op, what: &Announced, body: &str, happened_at: Timestamp) {
    let (event, conversation) = (what.event.as_str(), what.conversation.as_str());
    op.insert(
        &BODIES_IF_NEW,
        vec![event.into(), what.org.into(), conversation.into(), body.into(), happened_at.into()],
    );
}

/// Keeps the bytes of an event.
pub(super) fn put_body(op: &mut Op, event: &EventRow, body: &str) {
    let conversation = super::conversation_of(event);
    op.insert(
        &BODIES,
        vec![event.id.into(), event.org.into(), conversation.into(), body.into(), event.at.into()],
    );
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
            SELECT d.id FROM webhook_deliveries d JOIN events e ON e.id = d.event_id WHERE e.stream_id = $1)",
        "UPDATE webhook_deliveries SET state = 'cancelled', under_way = 0 WHERE conversation_id = $1 AND state = 'pending'",
        "DELETE FROM webhook_bodies WHERE conversation_id = $1 AND conversation_id <> ''",
    ];
    for statement in STATEMENTS {
        op.run(statement, vec![conversation.into()]);
    }
}

pub(super) async fn registry_version(store: &Store) -> Result<i64, StoreError> {
    const SELECT: &str = "SELECT version FROM webhook_registry WHERE id = 1";
    on_pool!(store, |pool| sqlx::query_scalar(SELECT).fetch_one(pool).await)
        .attempting("ask whether webhooks were changed")
}

pub(super) async fn subscriptions(store: &Store) -> Result<Vec<(OrgId, Subscription)>, StoreError> {
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
