//! The threads that serve HTTP, as homes for actors.
//!
//! Inside an actix system every HTTP worker is an arbiter. An actor whose messages come from one worker lives there,
//! and a message to it costs no wake of another thread. What starts an actor from a handler is on such a thread
//! already; an actor with a fixed home, such as a key's bucket, is started on [`Homes::of`].

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    sync::{Arc, PoisonError, RwLock},
    thread::{self, ThreadId},
};

use actix::{Arbiter, ArbiterHandle};
use openclaw_actors::threads;

/// All HTTP workers. Whole once the server listens, which is before the first request. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Homes(Arc<RwLock<Vec<(ThreadId, ArbiterHandle)>>>);

impl Homes {
    /// Adds the worker on whose thread this is called. actix builds its application there, again if it must.
    pub(super) fn join(&self) {
        let mut homes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let here = thread::current().id();
        if !homes.iter().any(|(thread, _)| *thread == here) {
            threads::name(threads::HTTP_WORKER);
            homes.push((here, Arbiter::current()));
        }
    }

    /// The home of whatever has that key: always the same one. The caller's own arbiter while there are no workers.
    #[must_use]
    pub fn of(&self, key: &impl Hash) -> ArbiterHandle {
        let homes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        match usize::try_from(hash % homes.len().max(1) as u64).ok().and_then(|place| homes.get(place)) {
            Some((_, home)) => home.clone(),
            None => Arbiter::current(),
        }
    }

    /// Every worker.
    #[must_use]
    pub fn all(&self) -> Vec<ArbiterHandle> {
        let homes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        homes.iter().map(|(_, home)| home.clone()).collect()
    }
}
