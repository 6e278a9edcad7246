//! What an op is made of: rows per table, statements that are not inserts, and events.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use crate::{event::EventRow, outbox::Nudge};

/// A value of a row. The two kinds that both databases spell the same way, and a number for scores.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text, or null. Shared, because a group that is refused is tried again op by op.
    Text(Option<Arc<str>>),
    /// A whole number or a time, or null.
    Int(Option<i64>),
    /// A score, or null.
    Real(Option<f64>),
}

macro_rules! value_from {
    ($($type:ty => |$value:ident| $made:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $made
            }
        }
    )*};
}

value_from! {
    String => |value| Self::Text(Some(value.into()));
    Arc<str> => |value| Self::Text(Some(value));
    &str => |value| Self::Text(Some(value.into()));
    Option<String> => |value| Self::Text(value.map(Arc::from));
    Option<&str> => |value| Self::Text(value.map(Arc::from));
    i64 => |value| Self::Int(Some(value));
    Option<i64> => |value| Self::Int(value);
    Option<f64> => |value| Self::Real(value);
    crate::clock::Timestamp => |value| Self::Int(Some(value.0));
    Option<crate::clock::Timestamp> => |value| Self::Int(value.map(|time| time.0));
}

macro_rules! value_from_ids {
    ($($id:ty),*) => {$(
        impl From<$id> for Value {
            fn from(id: $id) -> Self {
                Self::Text(Some(id.to_string().into()))
            }
        }
        impl From<Option<$id>> for Value {
            fn from(id: Option<$id>) -> Self {
                Self::Text(id.map(|id| id.to_string().into()))
            }
        }
    )*};
}

value_from_ids!(
    crate::ids::OrgId,
    crate::ids::KeyId,
    crate::ids::ConversationId,
    crate::ids::MessageId,
    crate::ids::TurnId,
    crate::ids::HandoverId,
    crate::ids::EventId,
    crate::ids::ArticleId,
    crate::ids::ImportId,
    crate::ids::WebhookId,
    crate::ids::DeliveryId,
    crate::ids::AuditId,
    crate::ids::ReplayId
);

// Of a number that is none: it is no part of any key.
impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Text(text) => text.hash(state),
            Self::Int(number) => number.hash(state),
            Self::Real(number) => number.map(f64::to_bits).hash(state),
        }
    }
}

impl Value {
    fn size(&self) -> usize {
        match self {
            Self::Text(Some(text)) => text.len(),
            Self::Text(None) | Self::Int(_) | Self::Real(_) => size_of::<i64>(),
        }
    }
}

/// A table that rows are inserted into, as a constant of the folder that owns it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// `messages (conversation_id, sequence, …)`
    pub into: &'static str,
    /// How many columns that names.
    pub columns: usize,
    /// How many of them, from the first, are the key. Within one commit the last row of a key wins if
    /// `on_conflict` updates: PostgreSQL refuses to touch a row twice in one statement.
    pub key: usize,
    /// `ON CONFLICT … DO UPDATE SET …`, or empty: then a key that is stored already is a [`Conflict`].
    ///
    /// [`Conflict`]: super::WriteError::Conflict
    pub on_conflict: &'static str,
}

/// A row to insert.
#[derive(Debug, Clone)]
pub struct Row {
    /// Where it goes.
    pub table: &'static Table,
    /// One per column.
    pub values: Vec<Value>,
}

/// A write that is not an insert: an update or a delete.
#[derive(Debug, Clone)]
pub struct Statement {
    /// With `$1` placeholders.
    pub sql: &'static str,
    /// One per placeholder.
    pub values: Vec<Value>,
    /// How many rows it must touch; otherwise the op is a [`Conflict`](super::WriteError::Conflict).
    pub touches: Option<u64>,
}

/// Everything that one fact writes, all of it or nothing.
///
/// Statements run first, then rows, then events.
#[derive(Debug, Clone, Default)]
pub struct Op {
    /// Updates and deletes. An op that has any is not merged with others in its group.
    pub statements: Vec<Statement>,
    /// Inserts.
    pub rows: Vec<Row>,
    /// What happened, numbered by the stream's owner; the writer adds its position.
    pub events: Vec<EventRow>,
    /// How long it can wait for other ops to share its commit: a commit costs as much as several ops. Zero where
    /// somebody waits for it.
    pub patience: Duration,
    /// Whom to wake once it is on disk.
    pub nudge: Option<Nudge>,
}

impl Op {
    /// Adds a row.
    pub fn insert(&mut self, table: &'static Table, values: Vec<Value>) {
        debug_assert_eq!(table.columns, values.len(), "{}", table.into);
        self.rows.push(Row { table, values });
    }

    /// Adds an update or a delete.
    pub fn run(&mut self, sql: &'static str, values: Vec<Value>) {
        self.statements.push(Statement { sql, values, touches: None });
    }

    /// Adds an update that must touch exactly one row.
    pub fn run_on_one(&mut self, sql: &'static str, values: Vec<Value>) {
        self.statements.push(Statement { sql, values, touches: Some(1) });
    }

    /// Adds an update that must touch exactly so many rows.
    pub fn run_on(&mut self, sql: &'static str, values: Vec<Value>, rows: u64) {
        self.statements.push(Statement { sql, values, touches: Some(rows) });
    }

    /// There is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.rows.is_empty() && self.events.is_empty()
    }

    pub(super) fn size(&self) -> usize {
        let rows = self.rows.iter().flat_map(|row| &row.values);
        let statements = self.statements.iter().flat_map(|statement| &statement.values);
        let events = self.events.iter().map(|event| event.data.len() + 128);
        rows.chain(statements).map(Value::size).sum::<usize>() + events.sum::<usize>()
    }
}
