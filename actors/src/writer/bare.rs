//! The same commits without a writer around them, through sqlx: what `bench` compares accepts with.

use sqlx::{ConnectOptions, Connection, PgConnection, SqliteConnection};

use super::{
    batch::Batch,
    group::{EVENTS, event_values},
    link::insert_sql,
    rows::Op,
};
use crate::store::{Attempting, Store, StoreError};

/// A connection that commits ops, one group after the other: no queue, no lease, nobody to answer.
pub struct BareCommits {
    connection: Connected,
    position: i64,
}

enum Connected {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// No writer has this number, and each file has one loop.
const WRITER: i64 = 0;

/// Begins, inserts and commits on either connection.
macro_rules! commit {
    ($connection:expr, $begin:literal, $batch:expr) => {{
        sqlx::query($begin).execute(&mut *$connection).await?;
        for (table, rows) in $batch.inserts() {
            let mut query = sqlx::query(insert_sql(table, rows.len(), true));
            for value in rows.iter().copied().flatten() {
                query = match value {
                    super::Value::Text(text) => query.bind(text.as_deref()),
                    super::Value::Int(number) => query.bind(*number),
                    super::Value::Real(number) => query.bind(*number),
                };
            }
            query.execute(&mut *$connection).await?;
        }
        sqlx::query("COMMIT").execute(&mut *$connection).await.map(drop)
    }};
}

impl BareCommits {
    /// Opens the connection.
    ///
    /// # Errors
    /// The store is away.
    pub async fn open(store: &Store) -> Result<Self, StoreError> {
        let connection = match store {
            Store::Sqlite { options, .. } => options.connect().await.map(Connected::Sqlite),
            Store::Postgres { options, .. } => options.connect().await.map(Connected::Postgres),
        };
        Ok(Self { connection: connection.attempting("open a bare connection")?, position: 0 })
    }

    /// Stores the rows and events of all ops in one transaction, with the statements that the writer uses.
    ///
    /// # Errors
    /// They could not be stored.
    pub async fn commit(&mut self, ops: &[Op]) -> Result<(), StoreError> {
        let mut number = |event| {
            self.position += 1;
            event_values(event, WRITER, self.position)
        };
        let events: Vec<Vec<_>> = ops.iter().map(|op| op.events.iter().map(&mut number).collect()).collect();
        let mut batch = Batch::default();
        for (op, events) in ops.iter().zip(&events) {
            op.rows.iter().for_each(|row| batch.add(row.table, &row.values));
            events.iter().for_each(|values| batch.add(&EVENTS, values));
        }
        self.run(&batch).await.attempting("commit bare rows")
    }

    async fn run(&mut self, batch: &Batch<'_>) -> Result<(), sqlx::Error> {
        match &mut self.connection {
            Connected::Sqlite(connection) => commit!(connection, "BEGIN IMMEDIATE", batch),
            Connected::Postgres(connection) => commit!(connection, "BEGIN", batch),
        }
    }

    /// Hangs up.
    pub async fn close(self) {
        // An error while hanging up changes nothing that was measured.
        match self.connection {
            Connected::Sqlite(connection) => drop(connection.close().await),
            Connected::Postgres(connection) => drop(connection.close().await),
        }
    }
}
