//! Streams that are open: counted, and ended when the credential that opened them no longer holds.
//!
//! Each worker asks once every two seconds for each credential with streams on it, however many those are.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use openclaw_actors::{
    ids::KeyId,
    keys::{KeyRing, Principal},
    limiter::StreamPermit,
    metrics::METRICS,
};
use tracing::warn;

use super::{auth::Caller, error::ApiError};
use crate::server::Parts;

/// A revocation takes up to two seconds to be known; with these two more, streams end within five.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// A credential: one secret of one key.
type Credential = (KeyId, i64);

thread_local! {
    /// The credentials with streams on this worker.
    static WATCHED: RefCell<HashMap<Credential, Weak<Watched>>> = RefCell::default();
}

/// A credential with streams on this worker.
#[derive(Default)]
struct Watched {
    revoked: Cell<bool>,
    next: Cell<u64>,
    waiting: RefCell<HashMap<u64, Waker>>,
}

impl Watched {
    /// The one for that credential: the first stream starts the asking, which ends with the last.
    fn of(keys: &KeyRing, principal: &Principal) -> Rc<Self> {
        let credential = (principal.key, principal.secret);
        let known = WATCHED.with_borrow(|all| all.get(&credential).and_then(Weak::upgrade));
        known.unwrap_or_else(|| {
            let watched = Rc::new(Self::default());
            WATCHED.with_borrow_mut(|all| all.insert(credential, Rc::downgrade(&watched)));
            actix::spawn(ask(keys.clone(), principal.clone(), Rc::downgrade(&watched)));
            watched
        })
    }

    fn revoke(&self) {
        self.revoked.set(true);
        for (_, waker) in self.waiting.take() {
            waker.wake();
        }
    }
}

async fn ask(keys: KeyRing, principal: Principal, watched: Weak<Watched>) {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        if watched.strong_count() == 0 {
            break;
        }
        match keys.still_valid(&principal).await {
            Ok(true) => {}
            Ok(false) => {
                if let Some(watched) = watched.upgrade() {
                    watched.revoke();
                }
                break;
            }
            // Nothing is known then; whoever is connected stays.
            Err(error) => warn!(%error, "it could not be found out whether open streams may go on"),
        }
    }
    WATCHED.with_borrow_mut(|all| {
        let credential = (principal.key, principal.secret);
        // A stream that came meanwhile may have begun anew.
        if all.get(&credential).is_some_and(|known| Weak::ptr_eq(known, &watched)) {
            all.remove(&credential);
        }
    });
}

/// One open stream, counted while it is held.
pub(super) struct ActiveStream {
    watched: Rc<Watched>,
    number: u64,
    waker: Option<Waker>,
    _permit: StreamPermit,
}

impl fmt::Debug for ActiveStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveStream").field("number", &self.number).finish_non_exhaustive()
    }
}

impl ActiveStream {
    pub(super) fn new(keys: &KeyRing, principal: &Principal, permit: StreamPermit) -> Self {
        METRICS.streams_active.inc();
        let watched = Watched::of(keys, principal);
        let number = watched.next.get();
        watched.next.set(number + 1);
        Self { watched, number, waker: None, _permit: permit }
    }

    /// The place of a streamed answer to a POST; one that is not streamed takes none.
    pub(super) fn if_streamed<P>(
        streamed: bool,
        caller: &Caller<P>,
        parts: &Parts,
    ) -> Result<Option<Self>, ApiError> {
        if !streamed {
            return Ok(None);
        }
        let permit = caller.open_stream(parts)?;
        Ok(Some(Self::new(&parts.keys, &caller.principal, permit)))
    }

    /// One whose credential never ends.
    #[cfg(test)]
    pub(super) fn unwatched() -> Self {
        METRICS.streams_active.inc();
        let permit = openclaw_actors::limiter::OpenStreams::new(0).open_unlimited();
        Self { watched: Rc::default(), number: 0, waker: None, _permit: permit }
    }

    /// Has its credential ended?
    pub(super) fn is_revoked(&self) -> bool {
        self.watched.revoked.get()
    }

    /// Ready once its credential has ended.
    pub(super) fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_revoked() {
            return Poll::Ready(());
        }
        if self.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            self.watched.waiting.borrow_mut().insert(self.number, cx.waker().clone());
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for ActiveStream {
    fn drop(&mut self) {
        self.watched.waiting.borrow_mut().remove(&self.number);
        METRICS.streams_active.dec();
    }
}
