//! The news that the server is about to stop, for streams to say goodbye and for waits to end.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Waker},
};

use tokio::sync::watch;

/// Tells.
#[derive(Debug)]
pub(super) struct Announcer {
    announced: Arc<AtomicBool>,
    tell: watch::Sender<()>,
}

/// Is told. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stopping {
    announced: Arc<AtomicBool>,
    told: watch::Receiver<()>,
}

pub(super) fn channel() -> (Announcer, Stopping) {
    let announced = Arc::default();
    let (tell, told) = watch::channel(());
    (Announcer { announced: Arc::clone(&announced), tell }, Stopping { announced, told })
}

impl Announcer {
    pub(super) fn announce(&self) {
        self.announced.store(true, Ordering::Release);
        self.tell.send_replace(());
    }
}

impl Stopping {
    /// Has it been announced?
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.announced.load(Ordering::Acquire)
    }

    /// Waits until it is announced. Every connection waits for this beside all it does, so asking again costs next to
    /// nothing.
    pub async fn announced(self) {
        let Self { announced, mut told } = self;
        // An error means that the server is gone.
        let mut waiting = pin!(async { drop(told.wait_for(|()| announced.load(Ordering::Acquire)).await) });
        let mut kept: Option<Waker> = None;
        poll_fn(|cx| {
            let is_kept = kept.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            if is_kept && !announced.load(Ordering::Acquire) {
                return Poll::Pending;
            }
            kept = Some(cx.waker().clone());
            waiting.as_mut().poll(cx)
        })
        .await;
    }
}
