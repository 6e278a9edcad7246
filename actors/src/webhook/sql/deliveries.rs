//! The SQL of deliveries and attempts.

use sqlx::{AssertSqlSafe, FromRow};

use crate::{
    clock::Timestamp,
    ids::{DeliveryId, EventId, OrgId, WebhookId},
    on_pool,
    store::{Attempting, Store, StoreError},
    webhook::delivery::{Attempt, Delivery, DeliveryFilter},
    writer::{Op, Table, Value},
};

/// Written with what came of it. Somebody else may have noted before that it was cut off.
static ATTEMPTS: Table = Table {
    into: "webhook_attempts (delivery_id, number, org_id, started_at, status, duration_ms, error, response_body)",
    columns: 8,
    key: 2,
    on_conflict: "ON CONFLICT (delivery_id, number) DO UPDATE SET status = excluded.status, \
                  duration_ms = excluded.duration_ms, error = excluded.error, \
                  response_body = excluded.response_body",
};

/// A delivery that may go now.
#[derive(Debug, Clone, FromRow)]
pub(in super::super) struct Due {
    pub(in super::super) id: DeliveryId,
    pub(in super::super) event_id: String,
    pub(in super::super) origin: String,
    pub(in super::super) under_way: i64,
    pub(in super::super) attempt_count: i64,
    pub(in super::super) created_at: Timestamp,
    pub(in super::super) next_at: Timestamp,
    /// Of the last attempt.
    pub(in super::super) begun_at: Option<Timestamp>,
    /// Gone with its conversation, if it is not there.
    pub(in super::super) body: Option<String>,
}

/// Which of an endpoint's deliveries to look for.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Wanted {
    /// The next of a conversation waits for the one before it.
    pub(in super::super) ordered: bool,
    /// Only what somebody asked for again.
    pub(in super::super) redeliveries: bool,
}

/// Up to `limit` deliveries to the webhook that may go at `now`, those that wait longest first.
pub(in super::super) async fn due(
    store: &Store,
    webhook: WebhookId,
    wanted: Wanted,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Due>, StoreError> {
    const SELECT: &str = "
        SELECT d.id, d.event_id, d.origin, d.under_way, d.attempt_count, d.created_at, d.next_at, d.begun_at, b.body
        FROM webhook_deliveries d LEFT JOIN webhook_bodies b ON b.event_id = d.event_id
        WHERE d.webhook_id = $1 AND d.state = 'pending' AND d.next_at <= $2";
    const IN_ORDER: &str = "
        AND (d.origin <> 'event' OR d.conversation_id = '' OR NOT EXISTS (
            SELECT 1 FROM webhook_deliveries e
            WHERE e.conversation_id = d.conversation_id AND e.webhook_id = d.webhook_id AND e.state = 'pending'
              AND e.origin = 'event' AND e.sequence < d.sequence))";
    const AGAIN: &str = " AND d.origin = 'redelivery'";
    const OLDEST: &str = " ORDER BY d.next_at, d.id LIMIT $3";
    let order = if wanted.ordered { IN_ORDER } else { "" };
    let again = if wanted.redeliveries { AGAIN } else { "" };
    let select = format!("{SELECT}{order}{again}{OLDEST}");
    on_pool!(store, |pool| {
        sqlx::query_as(AssertSqlSafe(select)).bind(webhook).bind(now).bind(limit).fetch_all(pool).await
    })
    .attempting("read what is to be delivered")
}

/// When, after `now`, the next delivery to the webhook may go. What may go already and was not found waits for another
/// of its conversation.
pub(in super::super) async fn next_due(
    store: &Store,
    webhook: WebhookId,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    const SELECT: &str = "
        SELECT MIN(next_at) FROM webhook_deliveries WHERE webhook_id = $1 AND state = 'pending' AND next_at > $2";
    on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(webhook).bind(now).fetch_one(pool).await)
        .attempting("read when something is to be delivered")
}

/// Webhooks that have something to be delivered at `now`.
pub(in super::super) async fn with_due(
    store: &Store,
    now: Timestamp,
) -> Result<Vec<(OrgId, WebhookId)>, StoreError> {
    const SELECT: &str = "
        SELECT w.org_id, w.id FROM webhooks w WHERE w.enabled = 1 AND EXISTS (
            SELECT 1 FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.state = 'pending' AND d.next_at <= $1)";
    on_pool!(store, |pool| sqlx::query_as(SELECT).bind(now).fetch_all(pool).await)
        .attempting("find what is to be delivered")
}

/// The last attempt was cut off: what came of it is not known. Nothing is noted of a delivery that is gone. Before
/// `begun_at` was kept, attempts had their row from the beginning.
pub(in super::super) fn interrupted(op: &mut Op, org: OrgId, due: &Due) {
    const INTERRUPTED: &str = "
        INSERT INTO webhook_attempts (delivery_id, number, org_id, started_at, error)
        SELECT d.id, $2, $3, $4, $5 FROM webhook_deliveries d WHERE d.id = $1
        ON CONFLICT (delivery_id, number) DO UPDATE SET error = CASE
            WHEN webhook_attempts.status IS NULL AND webhook_attempts.error IS NULL THEN excluded.error
            ELSE webhook_attempts.error END";
    let began = due.begun_at.unwrap_or(due.next_at);
    let values =
        vec![due.id.into(), due.attempt_count.into(), org.into(), began.into(), "interrupted".into()];
    op.run(INTERRUPTED, values);
}

/// What came of an attempt.
#[derive(Debug, Clone)]
pub(in super::super) struct Ended {
    pub(in super::super) org: OrgId,
    pub(in super::super) number: i64,
    pub(in super::super) began: Timestamp,
    pub(in super::super) status: Option<i64>,
    pub(in super::super) duration_ms: i64,
    pub(in super::super) error: Option<&'static str>,
    pub(in super::super) body: Option<String>,
}

impl Ended {
    fn values(self, id: DeliveryId) -> Vec<Value> {
        vec![
            id.into(),
            self.number.into(),
            self.org.into(),
            self.began.into(),
            self.status.into(),
            self.duration_ms.into(),
            self.error.into(),
            self.body.into(),
        ]
    }
}

/// Notes what came of an attempt at a delivery that is there and pending, as another statement of the op makes sure.
pub(in super::super) fn attempted(op: &mut Op, id: DeliveryId, ended: Ended) {
    op.insert(&ATTEMPTS, ended.values(id));
}

/// Notes what came of an attempt at a delivery that may be gone with its webhook: then nothing is left of it. The answer
/// of one whose event was erased meanwhile is not kept.
pub(in super::super) fn ended(op: &mut Op, id: DeliveryId, ended: Ended) {
    const ENDED: &str = "
        INSERT INTO webhook_attempts (delivery_id, number, org_id, started_at, status, duration_ms, error, response_body)
        SELECT d.id, $2, $3, $4, $5, $6, $7, CASE WHEN d.state <> 'cancelled' THEN $8 END
        FROM webhook_deliveries d WHERE d.id = $1
        ON CONFLICT (delivery_id, number) DO UPDATE SET status = excluded.status, duration_ms = excluded.duration_ms,
            error = excluded.error, response_body = excluded.response_body";
    op.run(ENDED, ended.values(id));
}

/// The delivery is settled: `delivered`, `exhausted` or `cancelled`. One that is settled already stays so.
pub(in super::super) fn settle(op: &mut Op, id: DeliveryId, state: &'static str, at: Timestamp) {
    const SETTLE: &str = "
        UPDATE webhook_deliveries SET state = $2, under_way = 0, settled_at = $3 WHERE id = $1 AND state = 'pending'";
    op.run(SETTLE, vec![id.into(), state.into(), at.into()]);
}

/// The delivery may go again from then on.
pub(in super::super) fn again(op: &mut Op, id: DeliveryId, attempts: i64, next_at: Timestamp) {
    const AGAIN: &str = "
        UPDATE webhook_deliveries SET under_way = 0, next_at = $3
        WHERE id = $1 AND attempt_count = $2 AND state = 'pending'";
    op.run(AGAIN, vec![id.into(), attempts.into(), next_at.into()]);
}

/// A delivery with whether its endpoint is enabled, which is what makes it pending or held.
const SELECT_DELIVERIES: &str = "
    SELECT d.id, d.webhook_id, d.event_id, d.event_type, d.conversation_id, d.sequence, d.origin,
           CASE WHEN d.state = 'pending' AND w.enabled = 0 THEN 'held' ELSE d.state END AS state,
           d.under_way, d.attempt_count, d.next_at, d.created_at, d.settled_at
    FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id AND w.org_id = d.org_id";

/// A delivery of `org`.
pub(in super::super) async fn get(
    store: &Store,
    org: OrgId,
    id: DeliveryId,
) -> Result<Option<Delivery>, StoreError> {
    let select = format!("{SELECT_DELIVERIES} WHERE d.org_id = $1 AND d.id = $2");
    on_pool!(store, |pool| {
        sqlx::query_as(AssertSqlSafe(select)).bind(org).bind(id).fetch_optional(pool).await
    })
    .attempting("read a delivery")
}

/// Deliveries to a webhook of `org` in the order of their ids, from after that one.
pub(in super::super) async fn list(
    store: &Store,
    (org, webhook): (OrgId, WebhookId),
    filter: &DeliveryFilter,
    (after, descending): (Option<DeliveryId>, bool),
    rows: i64,
) -> Result<Vec<Delivery>, StoreError> {
    let (edge, order) = match descending {
        true => (" AND d.id < $6 ORDER BY d.id DESC LIMIT $7", "~"),
        false => (" AND d.id > $6 ORDER BY d.id LIMIT $7", ""),
    };
    let select = format!(
        "{SELECT_DELIVERIES} WHERE d.org_id = $1 AND d.webhook_id = $2
         AND ($3 = '' OR CASE WHEN d.state = 'pending' AND w.enabled = 0 THEN 'held' ELSE d.state END = $3)
         AND ($4 = '' OR d.event_type LIKE $4) AND ($5 = '' OR d.event_id = $5){edge}"
    );
    let after = after.map_or_else(|| order.to_owned(), |id| id.to_string());
    on_pool!(store, |pool| {
        sqlx::query_as(AssertSqlSafe(select))
            .bind(org)
            .bind(webhook)
            .bind(filter.state.map_or("", |state| state.as_str()))
            .bind(filter.kind.clone().unwrap_or_default())
            .bind(filter.event.clone().unwrap_or_default())
            .bind(after)
            .bind(rows)
            .fetch_all(pool)
            .await
    })
    .attempting("list deliveries")
}

/// The attempts of a delivery of `org`, in order, also the one that is under way.
pub(in super::super) async fn attempts(
    store: &Store,
    org: OrgId,
    id: DeliveryId,
) -> Result<Vec<Attempt>, StoreError> {
    const SELECT: &str = "
        SELECT number, started_at, status, duration_ms, error, response_body FROM webhook_attempts
        WHERE org_id = $1 AND delivery_id = $2
        UNION ALL
        SELECT attempt_count, begun_at, NULL, NULL, NULL, NULL FROM webhook_deliveries
        WHERE org_id = $1 AND id = $2 AND under_way = 1 AND begun_at IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM webhook_attempts a WHERE a.delivery_id = id AND a.number = attempt_count)
        ORDER BY 1";
    on_pool!(store, |pool| sqlx::query_as(SELECT).bind(org).bind(id).fetch_all(pool).await)
        .attempting("read the attempts of a delivery")
}

/// What an event's webhooks were sent.
pub(in super::super) async fn body(
    store: &Store,
    org: OrgId,
    event: EventId,
) -> Result<Option<String>, StoreError> {
    const SELECT: &str = "SELECT body FROM webhook_bodies WHERE org_id = $1 AND event_id = $2";
    on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(org).bind(event).fetch_optional(pool).await)
        .attempting("read what was delivered")
}

/// Drops up to `limit` deliveries that were made before that time.
pub(in super::super) fn drop_before(op: &mut Op, time: Timestamp, limit: i64) {
    const STATEMENTS: [&str; 2] = [
        "DELETE FROM webhook_attempts WHERE delivery_id IN (
            SELECT id FROM webhook_deliveries WHERE id < $1 ORDER BY id LIMIT $2)",
        "DELETE FROM webhook_deliveries WHERE id IN (
            SELECT id FROM webhook_deliveries WHERE id < $1 ORDER BY id LIMIT $2)",
    ];
    for statement in STATEMENTS {
        op.run(statement, vec![DeliveryId::edge_at(time).into(), limit.into()]);
    }
}

/// Is there a delivery that was made before that time?
pub(in super::super) async fn any_before(store: &Store, time: Timestamp) -> Result<bool, StoreError> {
    const SELECT: &str =
        "SELECT COUNT(*) FROM (SELECT id FROM webhook_deliveries WHERE id < $1 LIMIT 1) AS a_delivery";
    let edge = DeliveryId::edge_at(time);
    let count: Result<i64, _> =
        on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(edge).fetch_one(pool).await);
    Ok(count.attempting("look for old deliveries")? > 0)
}

/// Looks at the next `rows` bodies of events from before that time, after that one: where they end, and how many of them
/// no delivery needs. A replay may need old ones.
pub(in super::super) async fn old_bodies(
    store: &Store,
    after: &str,
    time: Timestamp,
    rows: i64,
) -> Result<Option<(String, i64)>, StoreError> {
    const SELECT: &str = "
        SELECT MAX(event_id), CAST(COALESCE(SUM(needless), 0) AS BIGINT) FROM (
            SELECT b.event_id, CASE WHEN EXISTS (
                SELECT 1 FROM webhook_deliveries d WHERE d.event_id = b.event_id) THEN 0 ELSE 1 END AS needless
            FROM webhook_bodies b WHERE b.event_id > $1 AND b.event_id < $2 ORDER BY b.event_id LIMIT $3) AS those";
    let edge = EventId::edge_at(time);
    let found: Result<(Option<String>, i64), _> = on_pool!(store, |pool| {
        sqlx::query_as(SELECT).bind(after).bind(edge).bind(rows).fetch_one(pool).await
    });
    let (end, needless) = found.attempting("look for what was sent long ago")?;
    Ok(end.map(|end| (end, needless)))
}

/// Drops the bodies between those two that no delivery needs.
pub(in super::super) fn drop_bodies(op: &mut Op, after: &str, upto: &str) {
    const DROP: &str = "
        DELETE FROM webhook_bodies WHERE event_id > $1 AND event_id <= $2
          AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.event_id = webhook_bodies.event_id)";
    op.run(DROP, vec![after.into(), upto.into()]);
}
