//! SQLite under the writer: called straight from the writer's own thread.
//!
//! The readers' driver runs each connection behind a thread of its own and wakes its caller once per statement, which
//! cost nine wakes a commit. The writer has a thread already, on which nothing else runs.

use std::{borrow::Cow, error::Error as StdError, fmt};

use rusqlite::{Connection, Statement};
use sqlx::error::{DatabaseError, ErrorKind};

use super::{link::Row, rows::Value};

/// Prepared statements kept: inserts of a few sizes into each table, and what erases.
const STATEMENTS_KEPT: usize = 128;

pub(super) struct SqliteLink(Connection);

impl SqliteLink {
    pub(super) fn new(connection: Connection) -> Self {
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Self(connection)
    }

    /// How many rows the statement touched.
    pub(super) fn execute<'v>(
        &self,
        sql: &str,
        values: impl Iterator<Item = &'v Value>,
    ) -> Result<u64, sqlx::Error> {
        let touched = self.0.prepare_cached(&numbered(sql)).and_then(|mut statement| {
            bind(&mut statement, values)?;
            statement.raw_execute()
        });
        touched.map(|rows| rows as u64).map_err(refused)
    }

    /// The first row, of four numbers.
    pub(super) fn numbers(&self, sql: &str, values: &[Value]) -> Result<Option<Row>, sqlx::Error> {
        let row = self.0.prepare_cached(&numbered(sql)).and_then(|mut statement| {
            bind(&mut statement, values.iter())?;
            let first = statement
                .raw_query()
                .next()?
                .map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
            first.transpose()
        });
        row.map_err(refused)
    }

    pub(super) fn close(self) {
        // Every answer was given after its commit.
        drop(self.0.close());
    }
}

/// Our texts number their places as PostgreSQL does; SQLite takes `$1` for a name, and numbers names as they come.
fn numbered(sql: &str) -> Cow<'_, str> {
    if sql.contains('$') { Cow::Owned(sql.replace('$', "?")) } else { Cow::Borrowed(sql) }
}

fn bind<'v>(
    statement: &mut Statement<'_>,
    values: impl Iterator<Item = &'v Value>,
) -> Result<(), rusqlite::Error> {
    for (place, value) in values.enumerate() {
        match value {
            Value::Text(text) => statement.raw_bind_parameter(place + 1, text.as_deref())?,
            Value::Int(number) => statement.raw_bind_parameter(place + 1, number)?,
            Value::Real(number) => statement.raw_bind_parameter(place + 1, number)?,
        }
    }
    Ok(())
}

/// As the readers' driver would say it, so that there is one way to judge an error.
pub(crate) fn refused(error: rusqlite::Error) -> sqlx::Error {
    match error.sqlite_error() {
        Some(failure) => sqlx::Error::Database(Box::new(Failure {
            code: failure.extended_code,
            message: error.to_string(),
        })),
        None => sqlx::Error::Encode(error.into()),
    }
}

/// What SQLite said.
#[derive(Debug)]
struct Failure {
    code: i32,
    message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(code: {}) {}", self.code, self.message)
    }
}

impl StdError for Failure {}

impl DatabaseError for Failure {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.code.to_string().into())
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        use rusqlite::ffi;
        match self.code {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => ErrorKind::UniqueViolation,
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ErrorKind::ForeignKeyViolation,
            ffi::SQLITE_CONSTRAINT_NOTNULL => ErrorKind::NotNullViolation,
            ffi::SQLITE_CONSTRAINT_CHECK => ErrorKind::CheckViolation,
            _ => ErrorKind::Other,
        }
    }
}
