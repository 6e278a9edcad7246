//! Lists of conversations, messages and events, a page at a time.
//!
//! A page begins after a position in the list's order, never after a count of rows, so it stays true while rows are
//! added.

use sqlx::AssertSqlSafe;

use super::rows::{ConversationRow, EventWithMessage, MessageRow};
use crate::{
    clock::Timestamp,
    conversation::{
        messages::ConversationKey,
        record::{Conversation, Message, Status},
    },
    event::DurableEvent,
    ids::{ConversationId, OrgId},
    on_pool,
    store::{Attempting, Store, StoreError},
    writer::Value,
};

/// Which rows, from where on and how many.
#[derive(Debug, Clone, Copy)]
pub struct Slice<P> {
    /// The position of the row before the first; none is the beginning.
    pub after: Option<P>,
    /// The last ones first.
    pub descending: bool,
    /// At most that many.
    pub rows: i64,
}

/// What conversations are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortBy {
    /// When they began.
    StartedAt,
    /// When the last thing was said in them; their start while nothing was.
    LastMessageAt,
}

/// Which conversations.
#[derive(Debug, Clone, Default)]
pub struct ConversationFilter {
    /// Standing there.
    pub status: Option<Status>,
    /// Taking place there.
    pub channel: Option<String>,
    /// About that.
    pub topic: Option<String>,
    /// With that customer.
    pub customer_id: Option<String>,
    /// Begun later than that.
    pub started_after: Option<Timestamp>,
    /// Begun earlier than that.
    pub started_before: Option<Timestamp>,
    /// With all of these pairs.
    pub metadata: Vec<(String, String)>,
    /// Whose id, or whose customer's name, address or id, begins so, in capitals or not.
    pub prefix: Option<String>,
}

/// A query made of constant pieces.
struct Select {
    sql: String,
    values: Vec<Value>,
}

impl Select {
    fn new(sql: &'static str) -> Self {
        Self { sql: sql.to_owned(), values: Vec::new() }
    }

    /// Adds a piece in which each `?` stands for the next of the values.
    fn push(&mut self, piece: &'static str, values: impl IntoIterator<Item = Value>) {
        let mut values = values.into_iter();
        self.sql.push(' ');
        for part in piece.split_inclusive('?') {
            match part.strip_suffix('?') {
                Some(text) => {
                    self.sql.push_str(text);
                    self.values.extend(values.next());
                    self.sql.push_str(&format!("${}", self.values.len()));
                }
                None => self.sql.push_str(part),
            }
        }
    }

    fn push_some<V: Into<Value>>(&mut self, piece: &'static str, value: Option<V>) {
        if let Some(value) = value {
            self.push(piece, [value.into()]);
        }
    }
}

/// Runs a [`Select`] on whichever database the store is.
macro_rules! fetch {
    ($store:expr, $select:expr) => {{
        let Select { sql, values } = $select;
        on_pool!($store, |pool| {
            let mut query = sqlx::query_as(AssertSqlSafe(sql));
            for value in values {
                query = match value {
                    Value::Text(text) => query.bind(text),
                    Value::Int(number) => query.bind(number),
                    Value::Real(number) => query.bind(number),
                };
            }
            query.fetch_all(pool).await
        })
    }};
}

/// Where a conversation stands in the list's order.
#[must_use]
pub fn position(conversation: &Conversation, by: SortBy) -> (i64, ConversationId) {
    let time = match by {
        SortBy::StartedAt => conversation.started_at,
        SortBy::LastMessageAt => conversation.last_message_at.unwrap_or(conversation.started_at),
    };
    (time.0, conversation.id)
}

/// The conversations of an organization.
///
/// # Errors
/// The store failed.
pub async fn conversations(
    store: &Store,
    org: OrgId,
    filter: &ConversationFilter,
    by: SortBy,
    slice: Slice<(i64, ConversationId)>,
) -> Result<Vec<Conversation>, StoreError> {
    let mut select = Select::new("SELECT * FROM conversations");
    select.push("WHERE org_id = ?", [org.into()]);
    select_those(&mut select, store, filter);
    if let Some((time, id)) = slice.after {
        let after = match (by, slice.descending) {
            (SortBy::StartedAt, false) => "AND (started_at, id) > (?, ?)",
            (SortBy::StartedAt, true) => "AND (started_at, id) < (?, ?)",
            (SortBy::LastMessageAt, false) => "AND (COALESCE(last_message_at, started_at), id) > (?, ?)",
            (SortBy::LastMessageAt, true) => "AND (COALESCE(last_message_at, started_at), id) < (?, ?)",
        };
        select.push(after, [time.into(), id.into()]);
    }
    let order = match (by, slice.descending) {
        (SortBy::StartedAt, false) => "ORDER BY started_at, id LIMIT ?",
        (SortBy::StartedAt, true) => "ORDER BY started_at DESC, id DESC LIMIT ?",
        (SortBy::LastMessageAt, false) => "ORDER BY COALESCE(last_message_at, started_at), id LIMIT ?",
        (SortBy::LastMessageAt, true) => {
            "ORDER BY COALESCE(last_message_at, started_at) DESC, id DESC LIMIT ?"
        }
    };
    select.push(order, [slice.rows.into()]);
    let rows: Vec<ConversationRow> = fetch!(store, select).attempting("list conversations")?;
    rows.into_iter().map(Conversation::try_from).collect::<Result<_, _>>().attempting("read a conversation")
}

fn select_those(select: &mut Select, store: &Store, filter: &ConversationFilter) {
    select.push_some("AND status = ?", filter.status.map(Status::as_str));
    select.push_some("AND channel = ?", filter.channel.as_deref());
    select.push_some("AND topic = ?", filter.topic.as_deref());
    select.push_some("AND customer_id = ?", filter.customer_id.as_deref());
    select.push_some("AND started_at > ?", filter.started_after);
    select.push_some("AND started_at < ?", filter.started_before);
    for (key, value) in &filter.metadata {
        // The one thing that the two databases have no common words for: a field of a JSON text.
        let pair = match store {
            Store::Sqlite { .. } => {
                "AND EXISTS (SELECT 1 FROM json_each(metadata) AS pair WHERE pair.key = ? AND pair.value = ?)"
            }
            Store::Postgres { .. } => {
                "AND EXISTS (SELECT 1 FROM json_each_text(CAST(metadata AS json)) AS pair \
                 WHERE pair.key = ? AND pair.value = ?)"
            }
        };
        select.push(pair, [key.as_str().into(), value.as_str().into()]);
    }
    if let Some(prefix) = &filter.prefix {
        let pattern = starting_with(prefix);
        // Both sides in the database's own small letters: what they are beyond ASCII differs.
        select.push(
            "AND (lower(customer_name) LIKE lower(?) ESCAPE '!' OR lower(customer_email) LIKE lower(?) ESCAPE '!' \
             OR lower(customer_id) LIKE lower(?) ESCAPE '!' OR id LIKE lower(?) ESCAPE '!')",
            std::iter::repeat_n(pattern.into(), 4),
        );
    }
}

/// A pattern of `LIKE`, escaped by `!`.
fn starting_with(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for character in prefix.chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

fn by_sequence(select: &mut Select, column: BySequence, slice: Slice<i64>) {
    let (later, earlier, ascending, descending) = match column {
        BySequence::Message => (
            "AND sequence > ?",
            "AND sequence < ?",
            "ORDER BY sequence LIMIT ?",
            "ORDER BY sequence DESC LIMIT ?",
        ),
        BySequence::Event => (
            "AND e.sequence > ?",
            "AND e.sequence < ?",
            "ORDER BY e.sequence LIMIT ?",
            "ORDER BY e.sequence DESC LIMIT ?",
        ),
    };
    select.push_some(if slice.descending { earlier } else { later }, slice.after);
    select.push(if slice.descending { descending } else { ascending }, [slice.rows.into()]);
}

#[derive(Debug, Clone, Copy)]
enum BySequence {
    Message,
    Event,
}

/// The messages of a conversation of the caller's organization.
///
/// # Errors
/// The store failed.
pub async fn messages(
    store: &Store,
    (org, id): ConversationKey,
    slice: Slice<i64>,
) -> Result<Vec<Message>, StoreError> {
    let mut select = Select::new("SELECT * FROM messages");
    select.push("WHERE conversation_id = ? AND org_id = ?", [id.into(), org.into()]);
    by_sequence(&mut select, BySequence::Message, slice);
    let rows: Vec<MessageRow> = fetch!(store, select).attempting("list messages")?;
    rows.into_iter().map(Message::try_from).collect::<Result<_, _>>().attempting("read a message")
}

/// The durable events of a conversation of the caller's organization.
///
/// # Errors
/// The store failed.
pub async fn events(
    store: &Store,
    (org, id): ConversationKey,
    slice: Slice<i64>,
) -> Result<Vec<DurableEvent>, StoreError> {
    let mut select = Select::new(super::EVENTS_WITH_MESSAGES);
    select.push("WHERE e.stream_id = ? AND e.org_id = ?", [id.into(), org.into()]);
    by_sequence(&mut select, BySequence::Event, slice);
    let rows: Vec<EventWithMessage> = fetch!(store, select).attempting("list events")?;
    rows.into_iter().map(EventWithMessage::into_event).collect::<Result<_, _>>().attempting("read an event")
}
