//! The writer's own connection, whichever database is behind it.

use std::{collections::HashMap, sync::Arc};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, Postgres, SqlSafeStr, SqlStr, error::ErrorKind,
    postgres::PgArguments, query::Query,
};

use super::{
    rows::{Table, Value},
    sqlite::{self, SqliteLink},
};
use crate::{
    clock::Timestamp,
    store::{self, Attempting, Store, StoreError},
};

/// SQLite's extended result codes for an fsync that failed, of the file and of its directory.
const SQLITE_FSYNC_FAILED: [&str; 2] = ["1034", "1290"];

pub(super) struct Link {
    connection: Connected,
    /// Multi-row inserts by table and number of rows.
    inserts: HashMap<(&'static str, &'static str, usize), SqlStr>,
}

/// A row of four numbers.
pub(super) type Row = (i64, i64, i64, i64);

enum Connected {
    Sqlite(SqliteLink),
    Postgres(PgConnection),
}

impl Link {
    pub(super) async fn open(store: &Store) -> Result<Self, StoreError> {
        let connection = match store {
            Store::Sqlite { options, .. } => {
                let opened = store::open_sqlite_to_write(options).map_err(sqlite::refused);
                opened.map(|connection| Connected::Sqlite(SqliteLink::new(connection)))
            }
            Store::Postgres { options, .. } => options.connect().await.map(Connected::Postgres),
        };
        Ok(Self {
            connection: connection.attempting("open the writer's connection")?,
            inserts: HashMap::new(),
        })
    }

    pub(super) async fn execute(&mut self, sql: &'static str, values: &[Value]) -> Result<u64, sqlx::Error> {
        match &mut self.connection {
            Connected::Sqlite(link) => link.execute(sql, values.iter()),
            Connected::Postgres(connection) => {
                let done = bound(sqlx::query(sql), values.iter()).execute(connection).await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// One row of four numbers.
    pub(super) async fn numbers(
        &mut self,
        sql: &'static str,
        text: &str,
        number: i64,
    ) -> Result<Option<Row>, sqlx::Error> {
        match &mut self.connection {
            Connected::Sqlite(link) => link.numbers(sql, &[text.into(), number.into()]),
            Connected::Postgres(link) => {
                sqlx::query_as(sql).bind(text).bind(number).fetch_optional(link).await
            }
        }
    }

    /// SQLite takes its write lock at once: a transaction that reads first could not be upgraded beside another.
    pub(super) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        let begin = match self.connection {
            Connected::Sqlite(_) => "BEGIN IMMEDIATE",
            Connected::Postgres(_) => "BEGIN",
        };
        self.execute(begin, &[]).await.map(drop)
    }

    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.execute("COMMIT", &[]).await.map(drop)
    }

    /// An error here means that the connection is gone, and the transaction with it.
    pub(super) async fn rollback(&mut self) {
        drop(self.execute("ROLLBACK", &[]).await);
    }

    pub(super) async fn insert(
        &mut self,
        table: &'static Table,
        rows: &[&[Value]],
    ) -> Result<(), sqlx::Error> {
        let numbered = matches!(self.connection, Connected::Postgres(_));
        let sql = self
            .inserts
            .entry((table.into, table.on_conflict, rows.len()))
            .or_insert_with(|| insert_sql(table, rows.len(), numbered));
        let values = rows.iter().copied().flatten();
        match &mut self.connection {
            Connected::Sqlite(link) => link.execute(sql.as_str(), values).map(drop),
            Connected::Postgres(link) => {
                bound(sqlx::query(sql.clone()), values).execute(link).await.map(drop)
            }
        }
    }

    /// The database's own clock: leases of several nodes are compared by it.
    pub(super) async fn now(&mut self) -> Result<Timestamp, sqlx::Error> {
        match &mut self.connection {
            // SQLite is on this host, so its clock is the host's.
            Connected::Sqlite(_) => Ok(Timestamp::now()),
            Connected::Postgres(connection) => {
                sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
                    .fetch_one(connection)
                    .await
            }
        }
    }

    /// PostgreSQL ends the session; SQLite has none to end, so there the next statement simply works.
    #[cfg(test)]
    pub(super) async fn break_off(&mut self) {
        if let Connected::Postgres(connection) = &mut self.connection {
            let ended =
                sqlx::query("SELECT pg_terminate_backend(pg_backend_pid())").execute(connection).await;
            assert!(ended.is_err(), "a session that ended itself cannot answer");
        }
    }

    pub(super) async fn close(self) {
        // An error while hanging up changes nothing: every answer was given after its commit.
        match self.connection {
            Connected::Sqlite(link) => link.close(),
            Connected::Postgres(connection) => drop(connection.close().await),
        }
    }
}

type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

/// Binds the values in order.
fn bound<'q>(query: PgQuery<'q>, values: impl Iterator<Item = &'q Value>) -> PgQuery<'q> {
    values.fold(query, |query, value| match value {
        Value::Text(text) => query.bind(text.as_deref()),
        Value::Int(number) => query.bind(number),
        Value::Real(number) => query.bind(number),
    })
}

/// `INSERT INTO table (…) VALUES ($1, …), (…) ON CONFLICT …`; SQLite need not have its places numbered.
pub(super) fn insert_sql(table: &Table, rows: usize, numbered: bool) -> SqlStr {
    let place = |number: usize| if numbered { format!("${number}") } else { "?".to_owned() };
    let tuple = |row: usize| {
        let places: Vec<_> = (1..=table.columns).map(|column| place(row * table.columns + column)).collect();
        format!("({})", places.join(","))
    };
    let tuples: Vec<_> = (0..rows).map(tuple).collect();
    let sql = format!("INSERT INTO {} VALUES {} {}", table.into, tuples.join(","), table.on_conflict);
    // Made of constants alone.
    AssertSqlSafe(Arc::<str>::from(sql)).into_sql_str()
}

/// What a failed statement or commit means for those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// One op of the group is at fault.
    Row,
    /// The store is away, full or locked: nobody is at fault.
    Store,
    /// The connection broke: what happened to a commit is not known.
    Connection,
    /// The disk failed under an fsync.
    Disk,
}

pub(super) fn refusal(error: &sqlx::Error) -> Refusal {
    match error {
        sqlx::Error::Database(database) => match database.kind() {
            ErrorKind::UniqueViolation
            | ErrorKind::ForeignKeyViolation
            | ErrorKind::NotNullViolation
            | ErrorKind::CheckViolation => Refusal::Row,
            _ => match database.code() {
                Some(code) if SQLITE_FSYNC_FAILED.contains(&&*code) => Refusal::Disk,
                // PostgreSQL's classes for data it cannot take and for constraints.
                Some(code) if code.len() == 5 && (code.starts_with("22") || code.starts_with("23")) => {
                    Refusal::Row
                }
                // PostgreSQL ends a session with class 57 (shutdown) or 08 (connection).
                Some(code) if code.len() == 5 && (code.starts_with("57P") || code.starts_with("08")) => {
                    Refusal::Connection
                }
                _ => Refusal::Store,
            },
        },
        sqlx::Error::Encode(_) => Refusal::Row,
        _ => Refusal::Connection,
    }
}
