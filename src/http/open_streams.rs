//! Streams that are open: counted, and ended when the credential that opened them has ended or lost the scope for it.
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
    keys::{KeyRing, Principal, Scope, ScopeSet},
    limiter::StreamPermit,
    metrics::METRICS,
};
use tracing::warn;

use super::{auth::Caller, error::ApiError, frames::Goodbye, tickets::Seat};
use crate::server::Parts;

/// A revocation takes up to two seconds to be known; with these two more, streams end within five.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// A credential: one secret of one key, or the tokens of one customer.
type Credential = (KeyId, i64);

thread_local! {
    /// The credentials with streams on this worker.
    static WATCHED: RefCell<HashMap<Credential, Weak<Watched>>> = RefCell::default();
}

/// A credential with streams on this worker.
#[derive(Default)]
struct Watched {
    /// What it may do, as last heard: nothing once it has ended.
    scopes: Cell<ScopeSet>,
    next: Cell<u64>,
    waiting: RefCell<HashMap<u64, Waker>>,
}

impl Watched {
    /// The one for that credential: the first stream starts the asking, which ends with the last.
    fn of(keys: &KeyRing, principal: &Principal) -> Rc<Self> {
        let credential = (principal.bucket(), principal.secret);
        let known = WATCHED.with_borrow(|all| all.get(&credential).and_then(Weak::upgrade));
        let watched = known.unwrap_or_else(|| {
            let watched = Rc::new(Self::default());
            WATCHED.with_borrow_mut(|all| all.insert(credential, Rc::downgrade(&watched)));
            actix::spawn(ask(keys.clone(), principal.clone(), Rc::downgrade(&watched)));
            watched
        });
        // Scopes may have been given since the last asking, and a new stream is not to end for want of them. None is
        // taken here: a request that took long to get here may know less than a later one.
        let scopes = watched.scopes.get().iter().chain(principal.scopes.iter()).collect();
        watched.scopes.set(scopes);
        watched
    }

    fn hear(&self, scopes: ScopeSet) {
        let lost = self.scopes.replace(scopes).without(scopes);
        if lost != ScopeSet::NONE {
            // They stay: a stream that needs none of what was lost goes on waiting with its waker.
            self.waiting.borrow().values().for_each(Waker::wake_by_ref);
        }
    }
}

async fn ask(keys: KeyRing, principal: Principal, watched: Weak<Watched>) {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        if watched.strong_count() == 0 {
            break;
        }
        match keys.renewed(&principal).await {
            Ok(renewed) => {
                let Some(watched) = watched.upgrade() else { break };
                watched.hear(renewed.as_ref().map_or(ScopeSet::NONE, |renewed| renewed.scopes));
                if renewed.is_none() {
                    break;
                }
            }
            // Nothing is known then; whoever is connected stays.
            Err(error) => warn!(%error, "it could not be found out whether open streams may go on"),
        }
    }
    WATCHED.with_borrow_mut(|all| {
        let credential = (principal.bucket(), principal.secret);
        // A stream that came meanwhile may have begun anew.
        if all.get(&credential).is_some_and(|known| Weak::ptr_eq(known, &watched)) {
            all.remove(&credential);
        }
    });
}

/// One open stream, counted while it is held.
pub(super) struct ActiveStream {
    watched: Rc<Watched>,
    /// What its credential must hold for it.
    scopes: ScopeSet,
    number: u64,
    waker: Option<Waker>,
    /// Of the ticket that opened it.
    seat: Option<Seat>,
    _permit: StreamPermit,
}

impl fmt::Debug for ActiveStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveStream").field("number", &self.number).finish_non_exhaustive()
    }
}

impl ActiveStream {
    /// A stream that needs `scope`.
    pub(super) fn new(keys: &KeyRing, principal: &Principal, scope: Scope, permit: StreamPermit) -> Self {
        Self::needing(keys, principal, [scope].into_iter().collect(), permit)
    }

    /// A stream that needs all of these: it ends with the first that is lost.
    pub(super) fn needing(
        keys: &KeyRing,
        principal: &Principal,
        scopes: ScopeSet,
        permit: StreamPermit,
    ) -> Self {
        METRICS.streams_active.inc();
        let watched = Watched::of(keys, principal);
        let number = watched.next.get();
        watched.next.set(number + 1);
        Self { watched, scopes, number, waker: None, seat: None, _permit: permit }
    }

    /// On the seat of a ticket, which it leaves to whoever comes after.
    pub(super) fn seated(mut self, seat: Option<Seat>) -> Self {
        self.seat = seat;
        self
    }

    /// The place of a streamed answer to a POST; one that is not streamed takes none.
    pub(super) fn if_streamed<P>(
        streamed: bool,
        caller: &Caller<P>,
        scope: Scope,
        parts: &Parts,
    ) -> Result<Option<Self>, ApiError> {
        if !streamed {
            return Ok(None);
        }
        let permit = caller.open_stream(parts)?;
        Ok(Some(Self::new(&parts.keys, &caller.principal, scope, permit)))
    }

    /// One whose credential never ends.
    #[cfg(test)]
    pub(super) fn unwatched() -> Self {
        METRICS.streams_active.inc();
        let permit = openclaw_actors::limiter::OpenStreams::new(0).open_unlimited();
        let scopes = [Scope::ConversationsRead].into_iter().collect();
        let watched = Rc::new(Watched { scopes: Cell::new(ScopeSet::all()), ..Watched::default() });
        Self { watched, scopes, number: 0, waker: None, seat: None, _permit: permit }
    }

    /// Ready once it has to end, with the reason.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Goodbye> {
        if self.poll_revoked(cx).is_ready() {
            return Poll::Ready(Goodbye::Revoked);
        }
        match &self.seat {
            Some(seat) => seat.poll_taken(cx).map(|()| Goodbye::Replaced),
            None => Poll::Pending,
        }
    }

    /// Ready once its credential has ended or lost the scope.
    pub(super) fn poll_revoked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.scopes.without(self.watched.scopes.get()) != ScopeSet::NONE {
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
