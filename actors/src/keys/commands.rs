//! Making, rotating, changing and revoking keys.

use std::time::Duration;

use super::{
    grant::{Denied, Granter, Powers},
    key::{IssuedKey, Key, KeyKind, KeyPatch, NewKey, RateLimit, Secret},
    ring::KeyRing,
    scope::ScopeSet,
    secret::KeyText,
    sql,
};
use crate::{
    audit::{Action, Entry, Target},
    clock::Timestamp,
    ids::{KeyId, OrgId},
    patch::{self, Change, InvalidField},
    store::StoreError,
    writer::{Op, Row, WriteError},
};

/// A name for people, in a list.
const NAME_LONGEST: usize = 100;

/// A shop's sites and their stages; each is looked at on every call of the key.
const ORIGINS_MOST: usize = 50;

/// Two who change one key at once: the second reads it anew. More rounds than this are not a coincidence.
const ROUNDS: usize = 4;

/// Why a key was not made or changed. Nothing happened.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// None of that id in the organization.
    #[error("no such key")]
    NotFound,
    /// The granter may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A field cannot be so.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// An organization has one primary and one secondary key.
    #[error("the organization already has its {} key: rotate it", .0.as_str())]
    SlotTaken(KeyKind),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store could not be written. [`WriteError::Conflict`] means that the row which came with the command is
    /// there already, or that others keep changing the key.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// There is no randomness for a secret.
    #[error("the system gave no random bytes")]
    Random(#[from] getrandom::Error),
}

impl KeyRing {
    /// A key of `org`.
    ///
    /// # Errors
    /// There is none of that id, or the store is away.
    pub async fn get(&self, org: OrgId, id: KeyId) -> Result<Key, KeyError> {
        let mut key = sql::get(&self.store, org, id).await?.ok_or(KeyError::NotFound)?;
        self.freshen(&mut key);
        Ok(key)
    }

    /// Whose key it is: for operators, who know it by its id alone.
    ///
    /// # Errors
    /// The store is away.
    pub async fn owner(&self, id: KeyId) -> Result<Option<OrgId>, StoreError> {
        Ok(sql::presented(&self.store, id).await?.map(|key| key.org))
    }

    /// Up to `limit` keys of `org`, newest first, from before `before`.
    ///
    /// # Errors
    /// The store is away.
    pub async fn newest(
        &self,
        org: OrgId,
        before: Option<KeyId>,
        limit: i64,
    ) -> Result<Vec<Key>, StoreError> {
        let mut keys = sql::newest(&self.store, org, before, limit).await?;
        keys.iter_mut().for_each(|key| self.freshen(key));
        Ok(keys)
    }

    /// Up to `limit` keys of `org`, oldest first, from after `after`.
    ///
    /// # Errors
    /// The store is away.
    pub async fn oldest(&self, org: OrgId, after: Option<KeyId>, limit: i64) -> Result<Vec<Key>, StoreError> {
        let mut keys = sql::oldest(&self.store, org, after, limit).await?;
        keys.iter_mut().for_each(|key| self.freshen(key));
        Ok(keys)
    }

    /// Makes a restricted or publishable key of `org`. The row that `extra` makes of it is stored with it or not at
    /// all.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn create(
        &self,
        by: Granter<'_>,
        org: OrgId,
        new: NewKey,
        extra: impl FnOnce(&Key) -> Option<Row>,
    ) -> Result<IssuedKey, KeyError> {
        by.may_change(new.kind)?;
        if new.kind.is_slot() {
            return Err(KeyError::SlotTaken(new.kind));
        }
        let now = Timestamp::now();
        let mut key = Key {
            id: KeyId::generate(),
            org,
            kind: new.kind,
            name: new.name.into(),
            scopes: new.scopes,
            allowed_origins: new.allowed_origins,
            rate_limit: new.rate_limit,
            expires_at: new.expires_at,
            last_used_at: None,
            created_at: now,
            version: 1,
            rotations: 0,
            secrets: Vec::new(),
        };
        check(&key, now)?;
        by.may_grant(None, Powers::of(&key, self.default_quota))?;
        if !crate::organization::exists(&self.store, org).await? {
            return Err(KeyError::NotFound);
        }
        let secret = self.add_secret(&mut key)?;
        let mut op = Op::default();
        sql::insert(&mut op, &key);
        noted(&mut op, by, &key, Action::KeyCreated);
        op.rows.extend(extra(&key));
        self.writer.commit(op).await?;
        Ok(IssuedKey { key, secret })
    }

    /// Gives the key a new secret, which works at once; the old one works until `grace` is over. If two live
    /// already, the older ends now.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn rotate(
        &self,
        by: Granter<'_>,
        org: OrgId,
        id: KeyId,
        grace: Duration,
        extra: Option<Row>,
    ) -> Result<IssuedKey, KeyError> {
        self.retry(org, id, async |mut key: Key| {
            by.may_rotate(&key, self.default_quota)?;
            let now = Timestamp::now();
            let replaced = key.current().map(|secret| secret.number);
            let mut op = Op::default();
            if let Some(number) = replaced {
                let keeps = !grace.is_zero();
                sql::end_secrets(&mut op, &key, if keeps { number - 1 } else { number });
                key.secrets.retain(|secret| keeps && secret.number == number);
                let end = now.plus_ms(i64::try_from(grace.as_millis()).unwrap_or(i64::MAX));
                for secret in &mut key.secrets {
                    secret.expires_at = Some(end);
                    sql::give_grace(&mut op, org, id, number, end);
                }
            }
            let secret = self.add_secret(&mut key)?;
            sql::update(&mut op, &key);
            if let Some(current) = key.current() {
                sql::insert_secret(&mut op, &key, current, now);
            }
            noted(&mut op, by, &key, Action::KeyRotated);
            op.rows.extend(extra.clone());
            Ok((op, IssuedKey { key, secret }))
        })
        .await
    }

    /// Changes the key's fields.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn change(
        &self,
        by: Granter<'_>,
        org: OrgId,
        id: KeyId,
        patch: KeyPatch,
    ) -> Result<Key, KeyError> {
        self.retry(org, id, async |key: Key| {
            by.may_change(key.kind)?;
            let before = Powers::of(&key, self.default_quota);
            let key = patched(key, patch.clone(), Timestamp::now())?;
            by.may_grant(Some(before), Powers::of(&key, self.default_quota))?;
            let mut op = Op::default();
            sql::update(&mut op, &key);
            noted(&mut op, by, &key, Action::KeyChanged);
            Ok((op, key))
        })
        .await
    }

    /// Revokes the key. A primary or secondary one keeps its slot, without a secret, for [`rotate`](Self::rotate).
    ///
    /// # Errors
    /// See [`KeyError`]; a primary or secondary key that has no secret is not found.
    pub async fn revoke(&self, by: Granter<'_>, org: OrgId, id: KeyId) -> Result<(), KeyError> {
        self.retry(org, id, async |mut key: Key| {
            by.may_change(key.kind)?;
            let mut op = Op::default();
            sql::end_secrets(&mut op, &key, key.rotations);
            if !key.kind.is_slot() {
                sql::delete(&mut op, &key);
            } else if key.current().is_some() {
                key.secrets.clear();
                sql::update(&mut op, &key);
            } else {
                return Err(KeyError::NotFound);
            }
            noted(&mut op, by, &key, Action::KeyRevoked);
            Ok((op, ()))
        })
        .await
    }

    /// Ends the secret that the last rotation replaced, before its grace does.
    ///
    /// # Errors
    /// See [`KeyError`]; a key without such a secret is not found.
    pub async fn end_previous(&self, by: Granter<'_>, org: OrgId, id: KeyId) -> Result<(), KeyError> {
        self.retry(org, id, async |key: Key| {
            by.may_change(key.kind)?;
            let previous = key.previous(Timestamp::now()).ok_or(KeyError::NotFound)?.number;
            let mut op = Op::default();
            sql::end_secrets(&mut op, &key, previous);
            sql::update(&mut op, &key);
            noted(&mut op, by, &key, Action::KeyPreviousEnded);
            Ok((op, ()))
        })
        .await
    }

    /// Reads the key, decides, writes; once more if someone else changed the key in between.
    async fn retry<T>(
        &self,
        org: OrgId,
        id: KeyId,
        decide: impl AsyncFn(Key) -> Result<(Op, T), KeyError>,
    ) -> Result<T, KeyError> {
        for _ in 1..ROUNDS {
            match self.attempt(org, id, &decide).await {
                Err(KeyError::Write(WriteError::Conflict)) => {}
                ended => return ended,
            }
        }
        self.attempt(org, id, &decide).await
    }

    async fn attempt<T>(
        &self,
        org: OrgId,
        id: KeyId,
        decide: &impl AsyncFn(Key) -> Result<(Op, T), KeyError>,
    ) -> Result<T, KeyError> {
        let key = sql::get(&self.store, org, id).await?.ok_or(KeyError::NotFound)?;
        let (op, done) = decide(key).await?;
        let written = self.writer.commit(op).await;
        // Also after an error, whose outcome another process may see otherwise.
        self.forget(id);
        written?;
        Ok(done)
    }

    /// A new secret on top of those that the key has, hashed under the present pepper.
    pub(super) fn add_secret(&self, key: &mut Key) -> Result<KeyText, getrandom::Error> {
        let text = KeyText::generate(key.kind.family(), key.id)?;
        key.rotations += 1;
        let secret = Secret {
            number: key.rotations,
            pepper: self.pepper.current(),
            hash: self.pepper.hash(self.pepper.current(), &text),
            masked: text.masked(),
            expires_at: None,
            last_used_at: None,
        };
        key.secrets.insert(0, secret);
        Ok(text)
    }

    /// The last use as this process knows it, which may not be written yet.
    fn freshen(&self, key: &mut Key) {
        for secret in &mut key.secrets {
            secret.last_used_at = secret.last_used_at.max(self.usage.last(key.id, secret.number));
            key.last_used_at = key.last_used_at.max(secret.last_used_at);
        }
    }
}

/// Who did it stands in the audit log, with the deed or not at all.
pub(super) fn noted(op: &mut Op, by: Granter<'_>, key: &Key, action: Action) {
    Entry::new(key.org, by.into(), action, Target::Key(key.id)).write(op);
}

fn patched(mut key: Key, patch: KeyPatch, now: Timestamp) -> Result<Key, InvalidField> {
    if key.kind.is_slot() {
        if patch.scopes != Change::Keep {
            return Err(InvalidField::new("scopes", "cannot be changed: this key has full access"));
        }
        if patch.expires_at != Change::Keep {
            return Err(InvalidField::new("expires_at", "cannot be changed: rotate or delete this key"));
        }
    }
    let ends_anew = patch.expires_at != Change::Keep;
    key.name = match patch.name {
        Change::Keep => key.name,
        Change::Reset => "".into(),
        Change::Set(name) => name.into(),
    };
    key.scopes = patch.scopes.apply(key.scopes, ScopeSet::NONE);
    key.allowed_origins = patch.allowed_origins.apply(key.allowed_origins, Vec::new());
    key.rate_limit = patch.rate_limit.apply(key.rate_limit, RateLimit::Default);
    key.expires_at = match patch.expires_at {
        Change::Keep => key.expires_at,
        Change::Reset => None,
        Change::Set(end) => Some(end),
    };
    check(&key, if ends_anew { now } else { Timestamp(i64::MIN) })?;
    Ok(key)
}

/// What every key must be; one that ends must do so after `now`.
fn check(key: &Key, now: Timestamp) -> Result<(), InvalidField> {
    patch::text("name", &key.name, NAME_LONGEST)?;
    match key.kind {
        KeyKind::Publishable if key.scopes != ScopeSet::NONE => {
            return Err(InvalidField::new("scopes", "must be empty: a publishable key opens one route"));
        }
        KeyKind::Publishable if key.allowed_origins.len() > ORIGINS_MOST => {
            return Err(InvalidField::new("allowed_origins", format!("must be at most {ORIGINS_MOST}")));
        }
        KeyKind::Publishable => {}
        _ if !key.allowed_origins.is_empty() => {
            return Err(InvalidField::new(
                "allowed_origins",
                "must be empty: only publishable keys have them",
            ));
        }
        KeyKind::Primary | KeyKind::Secondary | KeyKind::Restricted => {}
    }
    if let RateLimit::PerMinute(number) = key.rate_limit
        && number.get() > RateLimit::MAX_PER_MINUTE
    {
        let most = RateLimit::MAX_PER_MINUTE;
        return Err(InvalidField::new("rate_limit_per_minute", format!("must be at most {most}")));
    }
    if key.expires_at.is_some_and(|end| end <= now) {
        return Err(InvalidField::new("expires_at", "must be in the future"));
    }
    Ok(())
}
