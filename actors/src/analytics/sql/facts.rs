//! Rows of conversations: what is known of them, what they are now, and what erased ones came to.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, FromRow};

use super::{ASKED_AT_ONCE, corrupt, places};
use crate::{
    analytics::{
        facts::{CompletedTurn, ERASED, Facts, Present},
        histogram::Histogram,
    },
    clock::Timestamp,
    ids::OrgId,
    on_pool,
    store::{Attempting, Store, StoreError},
    writer::{Op, Table, Value},
};

/// A conversation of an organization, or what was one.
pub(in crate::analytics) type Key = (OrgId, String);

static FACTS: Table = Table {
    into: "conversation_facts (org_id, conversation_id, channel, topic, status, started_at, completed_at, \
           resolution, rating, messages, first_message_at, last_message_at, handovers, accepted, unanswered, \
           first_tokens, answers)",
    columns: 17,
    key: 2,
    on_conflict: "ON CONFLICT (org_id, conversation_id) DO UPDATE SET channel = excluded.channel, \
                  topic = excluded.topic, status = excluded.status, completed_at = excluded.completed_at, \
                  resolution = excluded.resolution, rating = excluded.rating, messages = excluded.messages, \
                  first_message_at = excluded.first_message_at, last_message_at = excluded.last_message_at, \
                  handovers = excluded.handovers, accepted = excluded.accepted, \
                  unanswered = excluded.unanswered, first_tokens = excluded.first_tokens, \
                  answers = excluded.answers",
};

#[derive(FromRow)]
struct FactsRow {
    org_id: OrgId,
    conversation_id: String,
    channel: String,
    topic: Option<String>,
    status: String,
    started_at: Timestamp,
    completed_at: Option<Timestamp>,
    resolution: Option<String>,
    rating: Option<i64>,
    messages: i64,
    first_message_at: Option<Timestamp>,
    last_message_at: Option<Timestamp>,
    handovers: i64,
    accepted: i64,
    unanswered: i64,
    first_tokens: String,
    answers: String,
}

impl TryFrom<FactsRow> for Facts {
    type Error = sqlx::Error;

    fn try_from(row: FactsRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            org: row.org_id,
            conversation: row.conversation_id,
            channel: row.channel,
            topic: row.topic,
            status: row.status,
            started_at: row.started_at,
            completed_at: row.completed_at,
            resolution: row.resolution,
            rating: row.rating,
            messages: row.messages,
            spoken: row.first_message_at.zip(row.last_message_at),
            handovers: row.handovers,
            accepted: row.accepted != 0,
            unanswered: row.unanswered,
            first_tokens: Histogram::parse(&row.first_tokens).ok_or_else(|| corrupt("first_tokens"))?,
            answers: Histogram::parse(&row.answers).ok_or_else(|| corrupt("answers"))?,
        })
    }
}

fn read(rows: Vec<FactsRow>) -> Result<Vec<Facts>, StoreError> {
    rows.into_iter().map(Facts::try_from).collect::<Result<_, _>>().attempting("read facts")
}

/// Runs a select for pairs of an organization and a conversation, a bounded number at a time.
macro_rules! of_keys {
    ($store:expr, $keys:expr, $attempt:literal, $select:literal) => {{
        let mut all = Vec::new();
        for keys in $keys.chunks(ASKED_AT_ONCE) {
            let select = format!(concat!($select, " IN (VALUES {})"), places(keys.len(), 2, 1));
            let rows = on_pool!($store, |pool| {
                let mut query = sqlx::query_as(AssertSqlSafe(select));
                for (org, conversation) in keys {
                    query = query.bind(*org).bind(conversation);
                }
                query.fetch_all(pool).await
            });
            all.extend(rows.attempting($attempt)?);
        }
        all
    }};
}

/// What is known of these conversations so far.
pub(in crate::analytics) async fn known(
    store: &Store,
    keys: &[Key],
) -> Result<HashMap<Key, Facts>, StoreError> {
    let rows: Vec<FactsRow> = of_keys!(
        store,
        keys,
        "read facts",
        "SELECT * FROM conversation_facts WHERE (org_id, conversation_id)"
    );
    Ok(read(rows)?.into_iter().map(|facts| ((facts.org, facts.conversation.clone()), facts)).collect())
}

#[derive(FromRow)]
struct PresentRow {
    org_id: OrgId,
    id: String,
    channel: String,
    topic: Option<String>,
    status: String,
    started_at: Timestamp,
    completed_at: Option<Timestamp>,
    resolution: Option<String>,
    rating: Option<i64>,
}

/// What these conversations are now; an erased one is not.
pub(in crate::analytics) async fn present(
    store: &Store,
    keys: &[Key],
) -> Result<HashMap<Key, Present>, StoreError> {
    let rows: Vec<PresentRow> = of_keys!(
        store,
        keys,
        "read conversations",
        "SELECT org_id, id, channel, topic, status, started_at, completed_at, resolution, rating \
         FROM conversations WHERE (org_id, id)"
    );
    let pair = |row: PresentRow| {
        let present = Present {
            channel: row.channel,
            topic: row.topic,
            status: row.status,
            started_at: row.started_at,
            completed_at: row.completed_at,
            resolution: row.resolution,
            rating: row.rating,
        };
        ((row.org_id, row.id), present)
    };
    Ok(rows.into_iter().map(pair).collect())
}

#[derive(FromRow)]
struct ErasedRow {
    org_id: OrgId,
    conversation_id: String,
    channel: String,
    topic: Option<String>,
    started_at: Timestamp,
    completed_at: Option<Timestamp>,
    resolution: Option<String>,
    rating: Option<i64>,
    messages: i64,
    first_message_at: Option<Timestamp>,
    last_message_at: Option<Timestamp>,
    handovers: i64,
    accepted: i64,
    unanswered: i64,
}

#[derive(FromRow)]
struct ErasedTurnRow {
    org_id: OrgId,
    conversation_id: String,
    queued_at: Timestamp,
    first_token_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

/// What these conversations came to when they were erased.
pub(in crate::analytics) async fn erased(
    store: &Store,
    keys: &[Key],
) -> Result<HashMap<Key, Facts>, StoreError> {
    let rows: Vec<ErasedRow> = of_keys!(
        store,
        keys,
        "read what was erased",
        "SELECT * FROM erased_conversations WHERE (org_id, conversation_id)"
    );
    let turns: Vec<ErasedTurnRow> = of_keys!(
        store,
        keys,
        "read what was erased",
        "SELECT * FROM erased_turns WHERE (org_id, conversation_id)"
    );
    let mut all: HashMap<Key, Facts> = rows.into_iter().map(last_facts).collect();
    for turn in turns {
        if let Some(facts) = all.get_mut(&(turn.org_id, turn.conversation_id)) {
            facts.answered(&CompletedTurn::of_times(turn.queued_at, turn.first_token_at, turn.completed_at));
        }
    }
    Ok(all)
}

fn last_facts(row: ErasedRow) -> (Key, Facts) {
    let facts = Facts {
        org: row.org_id,
        conversation: row.conversation_id.clone(),
        channel: row.channel,
        topic: row.topic,
        status: ERASED.to_owned(),
        started_at: row.started_at,
        completed_at: row.completed_at,
        resolution: row.resolution,
        rating: row.rating,
        messages: row.messages,
        spoken: row.first_message_at.zip(row.last_message_at),
        handovers: row.handovers,
        accepted: row.accepted > 0,
        unanswered: row.unanswered,
        first_tokens: Histogram::default(),
        answers: Histogram::default(),
    };
    ((row.org_id, row.conversation_id), facts)
}

/// The rows that an erasure left were taken.
pub(in crate::analytics) fn forget_erased(op: &mut Op, (org, conversation): &Key) {
    const STATEMENTS: [&str; 2] = [
        "DELETE FROM erased_conversations WHERE org_id = $1 AND conversation_id = $2",
        "DELETE FROM erased_turns WHERE org_id = $1 AND conversation_id = $2",
    ];
    for statement in STATEMENTS {
        op.run(statement, vec![(*org).into(), conversation.as_str().into()]);
    }
}

/// Keeps what is known of a conversation.
pub(in crate::analytics) fn put(op: &mut Op, facts: &Facts) {
    let spoken = facts.spoken;
    op.insert(
        &FACTS,
        vec![
            facts.org.into(),
            facts.conversation.as_str().into(),
            facts.channel.as_str().into(),
            facts.topic.as_deref().into(),
            facts.status.as_str().into(),
            facts.started_at.into(),
            facts.completed_at.into(),
            facts.resolution.as_deref().into(),
            facts.rating.into(),
            facts.messages.into(),
            spoken.map(|(first, _)| first).into(),
            spoken.map(|(_, last)| last).into(),
            facts.handovers.into(),
            i64::from(facts.accepted).into(),
            facts.unanswered.into(),
            facts.first_tokens.to_string().into(),
            facts.answers.to_string().into(),
        ],
    );
}

/// The facts of an organization in the order of their keys, from after one on: what a new time zone is built of.
pub(in crate::analytics) async fn after(
    store: &Store,
    org: OrgId,
    conversation: &str,
    limit: i64,
) -> Result<Vec<Facts>, StoreError> {
    const SELECT: &str = "
        SELECT * FROM conversation_facts WHERE org_id = $1 AND conversation_id > $2
        ORDER BY conversation_id LIMIT $3";
    let rows: Vec<FactsRow> = on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(org)
        .bind(conversation)
        .bind(limit)
        .fetch_all(pool)
        .await)
    .attempting("read facts")?;
    read(rows)
}

/// Which conversations, and from where on.
#[derive(Debug, Clone)]
pub(in crate::analytics) struct Wanted<'a> {
    pub(in crate::analytics) from: Timestamp,
    pub(in crate::analytics) before: Timestamp,
    pub(in crate::analytics) channels: &'a [String],
    /// `''` is none.
    pub(in crate::analytics) topics: &'a [String],
    /// The start and the id of the one before.
    pub(in crate::analytics) after: Option<(Timestamp, &'a str)>,
}

/// The facts of an organization in the order of their start.
pub(in crate::analytics) async fn started(
    store: &Store,
    org: OrgId,
    wanted: &Wanted<'_>,
    limit: i64,
) -> Result<Vec<Facts>, StoreError> {
    let (at, id) = wanted.after.unwrap_or((wanted.from, ""));
    let mut values: Vec<Value> = vec![org.into(), at.into(), id.into(), wanted.before.into(), limit.into()];
    let mut select = "SELECT * FROM conversation_facts
        WHERE org_id = $1 AND (started_at, conversation_id) > ($2, $3) AND started_at < $4"
        .to_owned();
    for (column, names) in [("channel", wanted.channels), ("COALESCE(topic, '')", wanted.topics)] {
        if !names.is_empty() {
            let places: Vec<_> =
                (1..=names.len()).map(|place| format!("${}", values.len() + place)).collect();
            select.push_str(&format!(" AND {column} IN ({})", places.join(", ")));
            values.extend(names.iter().map(|name| Value::from(name.as_str())));
        }
    }
    select.push_str(" ORDER BY started_at, conversation_id LIMIT $5");
    let rows: Vec<FactsRow> = on_pool!(store, |pool| {
        let mut query = sqlx::query_as(AssertSqlSafe(select));
        for value in values {
            query = match value {
                Value::Text(text) => query.bind(text),
                Value::Int(number) => query.bind(number),
                Value::Real(number) => query.bind(number),
            };
        }
        query.fetch_all(pool).await
    })
    .attempting("read facts")?;
    read(rows)
}
