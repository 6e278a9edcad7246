//! Who is calling: from a key's text to what it may do.
//!
//! A record is trusted for at most a second, so that a revocation by any process holds within two; one made through
//! this ring holds at once for all but the reads that were under way. Nothing is remembered about what does not exist.

use std::{
    fmt,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dashmap::{DashMap, Entry};
use subtle::{Choice, ConstantTimeEq};
use tokio::{sync::Mutex, time::Instant};
use tracing::warn;

use super::{
    client::{CLIENT_TOKEN_PREFIX, Client, ClientToken},
    key::{Key, KeyKind},
    origin::Origin,
    pepper::{Hash, Pepper},
    scope::{Scope, ScopeSet},
    secret::KeyText,
    sql,
    usage::{Due, Usage},
};
use crate::{
    clock::Timestamp,
    ids::{KeyId, OrgId},
    store::{Store, StoreError},
    writer::{Op, WriteError, Writer},
};

/// How long a record is trusted without asking the store: half of what a revocation may take.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// What a key whose secret does not exist is compared with. No hash is all zeros.
const NO_SECRET: (i64, Hash) = (0, [0; 32]);

/// Who calls, and what they may do. Proof of a key: made by [`KeyRing::authenticate`], and by [`KeyRing::renewed`] from
/// another one, alone.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Whose key it is: part of every look-up.
    pub org: OrgId,
    /// The key.
    pub key: KeyId,
    /// Which of its secrets was presented.
    pub secret: i64,
    /// What kind of key.
    pub kind: KeyKind,
    /// What people call it.
    pub name: Arc<str>,
    /// What it may do.
    pub scopes: ScopeSet,
    /// Requests in any 60 seconds; none is unlimited.
    pub quota: Option<NonZeroU32>,
    /// When it stops by itself: the key's end or the end of the secret's grace.
    pub expires_at: Option<Timestamp>,
    /// Where browsers may use it from; publishable keys only.
    pub allowed_origins: Arc<[Origin]>,
    /// It acts as the customer of one conversation, and the key stands behind it.
    pub client: Option<Client>,
}

impl Principal {
    /// Whose requests and streams are counted together.
    #[must_use]
    pub fn bucket(&self) -> KeyId {
        self.client.map_or(self.key, |client| client.bucket)
    }

    /// May it do that?
    #[must_use]
    pub fn holds(&self, scope: Scope) -> bool {
        self.scopes.contains(scope)
    }
}

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No key, unknown, wrong, revoked or expired: told apart nowhere.
    #[error("the key is not valid")]
    Refused,
    /// It could not be found out.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
}

/// Why the ring cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The keys in the store were made with another pepper.
    #[error(
        "the keys in this store were made with another pepper (version {0}): use the data directory whose `pepper` \
         file belongs to it, or copy that file here"
    )]
    ForeignPepper(i64),
    /// The store is away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// All keys of all organizations. Cheap to clone.
#[derive(Clone)]
pub struct KeyRing {
    pub(super) store: Store,
    pub(super) writer: Writer,
    pub(super) pepper: Arc<Pepper>,
    pub(super) default_quota: NonZeroU32,
    pub(super) usage: Usage,
    records: Arc<DashMap<KeyId, Arc<Record>>>,
    /// Rises with every change that was made through this ring: what was read before one is not kept.
    changes: Arc<AtomicU64>,
}

/// What the store said of a key. The lock makes one of many requests ask, and the others wait for its answer.
struct Record(Mutex<Known>);

struct Known {
    /// None once the key is gone.
    key: Option<Arc<Key>>,
    asked: Instant,
    failed: Option<(Instant, Arc<StoreError>)>,
}

impl Known {
    fn now(key: Option<Arc<Key>>, asked: Instant) -> Self {
        Self { key, asked, failed: None }
    }
}

impl KeyRing {
    /// Opens the ring, and makes sure that it has the pepper which the store's keys were made with.
    ///
    /// # Errors
    /// See [`RingError`].
    pub async fn open(
        store: &Store,
        writer: &Writer,
        pepper: Pepper,
        default_quota: NonZeroU32,
    ) -> Result<Self, RingError> {
        let mut proofs = Op::default();
        for (version, proof) in pepper.proofs() {
            sql::insert_proof(&mut proofs, version, &proof);
        }
        writer.commit(proofs).await?;
        for (version, stored) in sql::proofs(store).await? {
            if !pepper.proofs().any(|own| own == (version, stored.clone())) {
                return Err(RingError::ForeignPepper(version));
            }
        }
        Ok(Self {
            store: store.clone(),
            writer: writer.clone(),
            pepper: Arc::new(pepper),
            default_quota,
            usage: Usage::default(),
            records: Arc::default(),
            changes: Arc::default(),
        })
    }

    /// Who presents this text?
    ///
    /// # Errors
    /// Nobody we know, or the store is away.
    pub async fn authenticate(&self, text: &str) -> Result<Principal, AuthError> {
        if text.starts_with(CLIENT_TOKEN_PREFIX) {
            let token = ClientToken::read(&self.pepper, text).ok_or(AuthError::Refused)?;
            return self.customer(token.org, token.key, token.client).await?.ok_or(AuthError::Refused);
        }
        let text = KeyText::parse(text).map_err(|_| AuthError::Refused)?;
        let key = self.record(text.id()).await?;
        let now = Timestamp::now();
        let number = self.matching_secret(&text, key.as_deref(), now);
        let (Some(key), Some(number)) = (key, number) else { return Err(AuthError::Refused) };
        self.usage.note(key.id, number, now);
        self.principal(&key, number, now).ok_or(AuthError::Refused)
    }

    /// What whoever was let in may do by now; none once the key or its secret has ended. Cheap enough to be asked for
    /// every command on an open connection.
    ///
    /// # Errors
    /// The store is away: nothing is known then.
    pub async fn renewed(&self, principal: &Principal) -> Result<Option<Principal>, Arc<StoreError>> {
        if let Some(client) = principal.client {
            return self.customer(principal.org, principal.key, client).await;
        }
        let key = self.record(principal.key).await?;
        Ok(key.and_then(|key| self.principal(&key, principal.secret, Timestamp::now())))
    }

    /// The number of the secret that the text is. An unknown key costs the same two hashes and comparisons as a
    /// known one, and no comparison ends early.
    fn matching_secret(&self, text: &KeyText, key: Option<&Key>, now: Timestamp) -> Option<i64> {
        let live = key.into_iter().flat_map(|key| key.live_secrets(now));
        let mut candidates = live.map(|secret| (secret.number, secret.pepper, secret.hash));
        let (no_number, no_hash) = NO_SECRET;
        let mut found = no_number;
        for _ in 0..2 {
            let (number, version, stored) =
                candidates.next().unwrap_or((no_number, self.pepper.current(), no_hash));
            let same: Choice = self.pepper.hash(version, text).ct_eq(&stored);
            if bool::from(same) {
                found = number;
            }
        }
        (found != no_number).then_some(found)
    }

    pub(super) fn principal(&self, key: &Key, number: i64, now: Timestamp) -> Option<Principal> {
        let secret = key.live_secrets(now).find(|secret| secret.number == number)?;
        Some(Principal {
            org: key.org,
            key: key.id,
            secret: number,
            kind: key.kind,
            name: Arc::clone(&key.name),
            scopes: key.scopes,
            quota: key.rate_limit.quota(self.default_quota),
            expires_at: [key.expires_at, secret.expires_at].into_iter().flatten().min(),
            allowed_origins: key.allowed_origins.as_slice().into(),
            client: None,
        })
    }

    pub(super) async fn record(&self, id: KeyId) -> Result<Option<Arc<Key>>, Arc<StoreError>> {
        let record = self.records.get(&id).map(|record| Arc::clone(&record));
        let Some(record) = record else {
            return self.first_record(id).await;
        };
        let waited_since = Instant::now();
        let mut known = record.0.lock().await;
        if known.asked.elapsed() < TRUSTED_FOR {
            return Ok(known.key.clone());
        }
        match &known.failed {
            // Whoever waited for an answer shares it, instead of waiting for the same failure in turn.
            Some((at, error)) if *at >= waited_since => return Err(Arc::clone(error)),
            _ => {}
        }
        let asked = Instant::now();
        match sql::presented(&self.store, id).await {
            Ok(key) => *known = Known::now(key.map(Arc::new), asked),
            Err(error) => {
                let error = Arc::new(error);
                known.failed = Some((Instant::now(), Arc::clone(&error)));
                return Err(error);
            }
        }
        if known.key.is_none() {
            self.records.remove_if(&id, |_, kept| Arc::ptr_eq(kept, &record));
        }
        Ok(known.key.clone())
    }

    /// Only what exists gets a record, so that a stranger's inventions take no memory.
    async fn first_record(&self, id: KeyId) -> Result<Option<Arc<Key>>, Arc<StoreError>> {
        let (asked, changes) = (Instant::now(), self.changes.load(Ordering::SeqCst));
        let key = sql::presented(&self.store, id).await?.map(Arc::new);
        // Under the entry's lock, which whoever forgets it waits for.
        if key.is_some()
            && let Entry::Vacant(place) = self.records.entry(id)
            && self.changes.load(Ordering::SeqCst) == changes
        {
            place.insert(Arc::new(Record(Mutex::new(Known::now(key.clone(), asked)))));
        }
        Ok(key)
    }

    /// Writes when keys were last used, as far as it is not written yet: the process ends.
    pub async fn flush_usage(&self) {
        self.write_usage(Due::All).await;
    }

    pub(super) async fn write_usage(&self, due: Due) {
        let (op, written) = self.usage.due(due, Timestamp::now());
        if op.is_empty() {
            return;
        }
        match self.writer.commit(op).await {
            Ok(()) => self.usage.committed(written, Timestamp::now()),
            // They stay due, and are tried with the next look.
            Err(error) => warn!(error = %error, "the last use of keys was not written"),
        }
    }

    /// The key changed: whoever asks next hears it from the store.
    pub(super) fn forget(&self, id: KeyId) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.records.remove(&id);
    }

    /// Many keys changed at once.
    pub(super) fn forget_all(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.records.clear();
    }

    /// Drops records that nobody asked for lately.
    pub(super) fn forget_stale(&self) {
        self.records.retain(|_, record| match record.0.try_lock() {
            Ok(known) => known.asked.elapsed() < TRUSTED_FOR,
            Err(_) => true,
        });
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("records", &self.records.len()).finish_non_exhaustive()
    }
}
