//! The news that the server is about to stop, for streams to say goodbye and for waits to end.

use tokio::sync::watch;

/// Tells.
#[derive(Debug)]
pub(super) struct Announcer(watch::Sender<bool>);

/// Is told. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stopping(watch::Receiver<bool>);

pub(super) fn channel() -> (Announcer, Stopping) {
    let (tell, told) = watch::channel(false);
    (Announcer(tell), Stopping(told))
}

impl Announcer {
    pub(super) fn announce(&self) {
        self.0.send_replace(true);
    }
}

impl Stopping {
    /// Has it been announced?
    #[must_use]
    pub fn is_announced(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is announced.
    pub async fn announced(mut self) {
        // An error means that the server is gone.
        drop(self.0.wait_for(|stopping| *stopping).await);
    }
}
