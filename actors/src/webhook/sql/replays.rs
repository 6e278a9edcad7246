//! The SQL of replays: what there is to look through, a stretch at a time, and how far that has come.

use sqlx::FromRow;

use crate::{
    clock::Timestamp,
    ids::{EventId, OrgId, ReplayId, WebhookId},
    on_pool,
    outbox::Place,
    store::{Attempting, Store, StoreError},
    webhook::replay::{Only, Replay, Selection, Stretch},
    writer::{Op, Table, Value},
};

static REPLAYS: Table = Table {
    into: "webhook_replays (id, org_id, webhook_id, which, filters, since, until, queued, stretches, step, \
           created_at, ended_at)",
    columns: 12,
    key: 1,
    on_conflict: "",
};

#[derive(FromRow)]
struct ReplayRow {
    id: ReplayId,
    org_id: OrgId,
    webhook_id: WebhookId,
    which: String,
    filters: String,
    since: Timestamp,
    until: Timestamp,
    queued: i64,
    stretches: String,
    step: i64,
    created_at: Timestamp,
}

impl TryFrom<ReplayRow> for Replay {
    type Error = sqlx::Error;

    fn try_from(row: ReplayRow) -> Result<Self, sqlx::Error> {
        let damaged = |error: serde_json::Error| sqlx::Error::Decode(error.into());
        Ok(Self {
            id: row.id,
            org: row.org_id,
            webhook: row.webhook_id,
            only: Only::parse(&row.which).ok_or_else(|| sqlx::Error::Decode("which events".into()))?,
            selection: serde_json::from_str::<Selection>(&row.filters).map_err(damaged)?,
            since: row.since,
            until: row.until,
            queued: row.queued,
            stretches: serde_json::from_str(&row.stretches).map_err(damaged)?,
            step: row.step,
            created_at: row.created_at,
        })
    }
}

/// Our own types always serialize.
fn document<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn ended_at(stretches: &[Stretch]) -> Option<Timestamp> {
    stretches.is_empty().then(Timestamp::now)
}

/// Makes a replay.
pub(in super::super) fn insert(op: &mut Op, replay: &Replay) {
    op.insert(
        &REPLAYS,
        vec![
            replay.id.into(),
            replay.org.into(),
            replay.webhook.into(),
            replay.only.as_str().into(),
            document(&replay.selection).into(),
            replay.since.into(),
            replay.until.into(),
            replay.queued.into(),
            document(&replay.stretches).into(),
            replay.step.into(),
            replay.created_at.into(),
            ended_at(&replay.stretches).into(),
        ],
    );
}

/// An event that was looked at.
#[derive(Debug, FromRow)]
pub(in super::super) struct Candidate {
    /// Where it stands in its stretch.
    pub(in super::super) place: String,
    pub(in super::super) id: EventId,
    pub(in super::super) stream_id: String,
    pub(in super::super) sequence: i64,
    pub(in super::super) kind: String,
    pub(in super::super) created_at: Timestamp,
    /// The endpoint has no delivery of it; asked only where that matters.
    pub(in super::super) missing: i64,
    channel: Option<String>,
    topic: Option<String>,
}

impl Candidate {
    /// Where its conversation takes place; none for what belongs to no conversation.
    pub(in super::super) fn place(&self) -> Option<Place<'_>> {
        self.channel.as_deref().map(|channel| Place { channel, topic: self.topic.as_deref() })
    }
}

/// Events of the organization in a piece of the log. The same rows are counted when what was found is queued: an event
/// that was erased in between is one less.
macro_rules! of_the_log {
    () => {
        "FROM events e LEFT JOIN conversations c ON c.org_id = e.org_id AND c.id = e.stream_id
         WHERE e.writer_id = $1 AND e.position > $2 AND e.position <= $3 AND e.org_id = $4"
    };
}

/// Events whose last delivery to the webhook was given up before the replay was asked for, in a piece of its deliveries.
macro_rules! of_the_deliveries {
    () => {
        "FROM webhook_deliveries d
         JOIN events e ON e.stream_id = CASE WHEN d.conversation_id = '' THEN d.org_id ELSE d.conversation_id END
           AND e.sequence = d.sequence AND e.id = d.event_id
         LEFT JOIN conversations c ON c.org_id = e.org_id AND c.id = e.stream_id
         WHERE d.webhook_id = $1 AND d.id > $2 AND d.id <= $3 AND d.org_id = $4
           AND d.state = 'exhausted' AND d.settled_at <= $5
           AND NOT EXISTS (SELECT 1 FROM webhook_deliveries l
                           WHERE l.event_id = d.event_id AND l.webhook_id = d.webhook_id AND l.id > d.id AND l.id <= $6)"
    };
}

/// The events of a piece of that stretch, up to `upto`, in order.
pub(in super::super) async fn look(
    store: &Store,
    replay: &Replay,
    stretch: &Stretch,
    upto: &str,
) -> Result<Vec<Candidate>, StoreError> {
    const WITH_MISSING: &str = concat!(
        "SELECT CAST(e.position AS TEXT) AS place, e.id, e.stream_id, e.sequence, e.kind, e.created_at,
                c.channel, c.topic, CAST(CASE WHEN EXISTS (
                    SELECT 1 FROM webhook_deliveries d WHERE d.event_id = e.id AND d.webhook_id = $5
                ) THEN 0 ELSE 1 END AS BIGINT) AS missing ",
        of_the_log!(),
        " ORDER BY e.position"
    );
    const LOG: &str = concat!(
        "SELECT CAST(e.position AS TEXT) AS place, e.id, e.stream_id, e.sequence, e.kind, e.created_at,
                c.channel, c.topic, CAST(0 AS BIGINT) AS missing ",
        of_the_log!(),
        " ORDER BY e.position"
    );
    const FAILED: &str = concat!(
        "SELECT d.id AS place, e.id, e.stream_id, e.sequence, e.kind, e.created_at,
                c.channel, c.topic, CAST(0 AS BIGINT) AS missing ",
        of_the_deliveries!(),
        " ORDER BY d.id"
    );
    let found = match stretch {
        Stretch::Log { writer, after, .. } => {
            let upto = upto.parse::<i64>().unwrap_or(*after);
            let missing = replay.only == Only::Missing;
            on_pool!(store, |pool| {
                let select = sqlx::query_as(if missing { WITH_MISSING } else { LOG });
                let select = select.bind(writer).bind(after).bind(upto).bind(replay.org);
                let select = if missing { select.bind(replay.webhook) } else { select };
                select.fetch_all(pool).await
            })
        }
        Stretch::Deliveries { after, to } => on_pool!(store, |pool| sqlx::query_as(FAILED)
            .bind(replay.webhook)
            .bind(after)
            .bind(upto)
            .bind(replay.org)
            .bind(replay.created_at)
            .bind(to)
            .fetch_all(pool)
            .await),
    };
    found.attempting("look for what is to be replayed")
}

/// Where the next `rows` of a stretch end.
pub(in super::super) async fn piece(
    store: &Store,
    replay: &Replay,
    stretch: &Stretch,
    rows: i64,
) -> Result<String, StoreError> {
    const END: &str = "
        SELECT MAX(id) FROM (SELECT id FROM webhook_deliveries
            WHERE webhook_id = $1 AND id > $2 AND id <= $3 ORDER BY id LIMIT $4) AS those";
    match stretch {
        Stretch::Log { after, to, .. } => Ok((after + rows).min(*to).to_string()),
        Stretch::Deliveries { after, to } => {
            let end: Option<String> = on_pool!(store, |pool| sqlx::query_scalar(END)
                .bind(replay.webhook)
                .bind(after)
                .bind(to)
                .bind(rows)
                .fetch_one(pool)
                .await)
            .attempting("look for what is to be replayed")?;
            Ok(end.unwrap_or_else(|| to.to_string()))
        }
    }
}

/// Notes how far a replay has come. The op is a conflict if somebody else took it further, or if it is gone; and if
/// `seen` says that so many events stood in the piece that was looked at, also if one of them does not any more.
pub(in super::super) fn advance(
    op: &mut Op,
    replay: &Replay,
    left: &[Stretch],
    seen: Option<(&Stretch, &str, i64)>,
) {
    const ADVANCE: &str = "
        UPDATE webhook_replays SET stretches = $3, step = step + 1, ended_at = $4 WHERE id = $1 AND step = $2";
    const OF_THE_LOG: &str = concat!(
        "UPDATE webhook_replays SET stretches = $7, step = step + 1, ended_at = $8 WHERE id = $5 AND step = $6
         AND (SELECT COUNT(*) ",
        of_the_log!(),
        ") = $9"
    );
    const OF_THE_DELIVERIES: &str = concat!(
        "UPDATE webhook_replays SET stretches = $9, step = step + 1, ended_at = $10 WHERE id = $7 AND step = $8
         AND (SELECT COUNT(*) ",
        of_the_deliveries!(),
        ") = $11"
    );
    let how_far: [Value; 4] =
        [replay.id.into(), replay.step.into(), document(&left).into(), ended_at(left).into()];
    let (sql, mut values): (_, Vec<Value>) = match seen {
        None => return op.run_on_one(ADVANCE, how_far.to_vec()),
        Some((Stretch::Log { writer, after, .. }, upto, _)) => {
            let upto = upto.parse::<i64>().unwrap_or(*after);
            (OF_THE_LOG, vec![(*writer).into(), (*after).into(), upto.into(), replay.org.into()])
        }
        Some((Stretch::Deliveries { after, to }, upto, _)) => {
            let piece = [(*after).into(), upto.into(), replay.org.into(), replay.created_at.into()];
            let mut values = vec![replay.webhook.into()];
            values.extend(piece);
            values.push((*to).into());
            (OF_THE_DELIVERIES, values)
        }
    };
    values.extend(how_far);
    values.extend(seen.map(|(_, _, count)| count.into()));
    op.run_on_one(sql, values);
}

/// Replays that are not at their end.
pub(in super::super) async fn running(store: &Store) -> Result<Vec<Replay>, StoreError> {
    const SELECT: &str = "SELECT * FROM webhook_replays WHERE ended_at IS NULL ORDER BY id";
    let rows: Vec<ReplayRow> =
        on_pool!(store, |pool| sqlx::query_as(SELECT).fetch_all(pool).await).attempting("find replays")?;
    rows.into_iter().map(Replay::try_from).collect::<Result<_, _>>().attempting("read a replay")
}

/// Is one to that webhook not at its end?
pub(in super::super) async fn is_running(store: &Store, webhook: WebhookId) -> Result<bool, StoreError> {
    const SELECT: &str = "SELECT COUNT(*) FROM webhook_replays WHERE webhook_id = $1 AND ended_at IS NULL";
    let count: Result<i64, _> =
        on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(webhook).fetch_one(pool).await);
    Ok(count.attempting("look for a replay")? > 0)
}

/// How many events a replay of `org` queues.
pub(in super::super) async fn queued(
    store: &Store,
    org: OrgId,
    id: ReplayId,
) -> Result<Option<i64>, StoreError> {
    const SELECT: &str = "SELECT queued FROM webhook_replays WHERE org_id = $1 AND id = $2";
    on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(org).bind(id).fetch_optional(pool).await)
        .attempting("read a replay")
}

/// How much that was replayed to the webhook waits, counted up to `most`.
pub(in super::super) async fn waiting(
    store: &Store,
    webhook: WebhookId,
    most: i64,
) -> Result<i64, StoreError> {
    const SELECT: &str = "
        SELECT COUNT(*) FROM (SELECT id FROM webhook_deliveries
            WHERE webhook_id = $1 AND state = 'pending' AND origin = 'replay' LIMIT $2) AS waiting";
    on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(webhook).bind(most).fetch_one(pool).await)
        .attempting("count what is replayed")
}

/// Every writer there was, with the position of its last event.
pub(in super::super) async fn ends_of_the_log(store: &Store) -> Result<Vec<(i64, i64)>, StoreError> {
    const SELECT: &str = "SELECT id, position FROM writers ORDER BY id";
    on_pool!(store, |pool| sqlx::query_as(SELECT).fetch_all(pool).await).attempting("find the end of the log")
}

/// The first event of a writer after a position and up to another: where it stands and when it happened.
pub(in super::super) async fn first_event(
    store: &Store,
    writer: i64,
    (after, to): (i64, i64),
) -> Result<Option<(i64, Timestamp)>, StoreError> {
    const SELECT: &str = "
        SELECT position, created_at FROM events WHERE writer_id = $1 AND position > $2 AND position <= $3
        ORDER BY position LIMIT 1";
    on_pool!(store, |pool| {
        sqlx::query_as(SELECT).bind(writer).bind(after).bind(to).fetch_optional(pool).await
    })
    .attempting("find a time in the log")
}

/// Drops replays from before that time: what they were to make would be dropped too.
pub(in super::super) fn drop_before(op: &mut Op, time: Timestamp) {
    op.run("DELETE FROM webhook_replays WHERE id < $1", vec![ReplayId::edge_at(time).into()]);
}
