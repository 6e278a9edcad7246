//! Open connections, counted, so that too many are refused at once instead of left hanging.
//!
//! actix stops accepting at its own limit, and the kernel then lets newcomers wait in its queue without an answer. So
//! that limit is only the last line. Before it stands ours: a connection past it is accepted, its first request gets
//! a 503, and it is closed; one that says nothing is closed before it takes another's place.

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
pub struct Place {
    open: Arc<AtomicUsize>,
    /// It came when all places were taken.
    pub is_surplus: bool,
}

/// Marks, in a connection's data, that it came when all places were taken.
#[derive(Debug, Clone, Copy)]
pub struct Surplus;

impl Connections {
    /// `most` are served; those beyond are told to come back.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { open: Arc::default(), most }
    }

    /// Counts a new connection.
    #[must_use]
    pub fn enter(&self) -> Place {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        Place { open: Arc::clone(&self.open), is_surplus: before >= self.most }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
