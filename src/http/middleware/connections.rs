//! Open connections, counted, so that too many are refused at once instead of left hanging.
//!
//! actix stops accepting at `max_connections`, and the kernel then lets newcomers wait in its queue without an answer.
//! So that limit is only the last line. Before it stands ours: a connection past it is accepted, its first request
//! gets a 503, and it is closed.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The count of all workers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connections {
    open: Arc<AtomicUsize>,
    most: usize,
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub struct Connection {
    open: Arc<AtomicUsize>,
    /// It came when all places were taken.
    pub is_surplus: bool,
}

impl Connections {
    /// `most` are served; those beyond are told to come back.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { open: Arc::default(), most }
    }

    /// Counts a new connection.
    #[must_use]
    pub fn enter(&self) -> Connection {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        Connection { open: Arc::clone(&self.open), is_surplus: before >= self.most }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
