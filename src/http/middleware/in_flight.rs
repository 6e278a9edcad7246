//! How many requests are being handled: what a stop waits for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Often enough that a stop seems immediate.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Counts the requests whose handler has not answered yet. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<State>);

#[derive(Debug, Default)]
struct State {
    running: AtomicUsize,
    stopping: AtomicBool,
}

/// One request, until it is dropped.
#[derive(Debug)]
pub(super) struct Entered(Arc<State>);

impl InFlight {
    pub(super) fn enter(&self) -> Entered {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        Entered(Arc::clone(&self.0))
    }

    /// From now on every answer closes its connection.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }

    /// Waits until every handler has answered, or until it has waited long enough. Says how many are left.
    pub async fn drained(&self, within: Duration) -> usize {
        let since = Instant::now();
        loop {
            let running = self.0.running.load(Ordering::Relaxed);
            if running == 0 || since.elapsed() >= within {
                return running;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
