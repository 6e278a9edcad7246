//! The same commits without a writer around them: what `bench` compares accepts with.

use super::{
    group::{Merged, event_values},
    link::Link,
    rows::Op,
};
use crate::store::{Attempting, Store, StoreError};

/// A connection that commits ops, one group after the other: no queue, no lease, nobody to answer.
pub struct BareCommits {
    link: Link,
    position: i64,
}

/// No writer has this number, and each file has one loop.
const WRITER: i64 = 0;

impl BareCommits {
    /// Opens the connection.
    ///
    /// # Errors
    /// The store is away.
    pub async fn open(store: &Store) -> Result<Self, StoreError> {
        Ok(Self { link: Link::open(store).await?, position: 0 })
    }

    /// Stores the rows and events of all ops in one transaction, with the statements that the writer uses.
    ///
    /// # Errors
    /// They could not be stored.
    pub async fn commit(&mut self, ops: &[Op]) -> Result<(), StoreError> {
        let mut merged = Merged::default();
        for op in ops {
            for row in &op.rows {
                merged.add(row.table, row.values.clone());
            }
            for event in &op.events {
                self.position += 1;
                merged.add_event(event_values(event, WRITER, self.position));
            }
        }
        self.link.begin().await.attempting("begin a bare commit")?;
        for (table, rows) in merged.chunks() {
            self.link.insert(table, rows).await.attempting("insert bare rows")?;
        }
        self.link.commit().await.attempting("commit bare rows")
    }

    /// Hangs up.
    pub async fn close(self) {
        self.link.close().await;
    }
}
