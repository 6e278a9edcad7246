//! The rows of keys and their secrets.

pub(super) mod erase;
pub(super) mod tickets;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    key::{Key, KeyKind, RateLimit, Secret},
    origin::Origin,
    scope::ScopeSet,
};
use crate::{
    clock::Timestamp,
    ids::{KeyId, OrgId},
    on_pool,
    store::{Attempting, Store, StoreError},
    writer::{Op, Table},
};

const KEYS: Table = Table {
    into: "keys (id, org_id, kind, name, scopes, allowed_origins, rate_limit, expires_at, last_used_at, created_at,
        version, rotations)",
    columns: 12,
    key: 1,
    on_conflict: "",
};

const SECRETS: Table = Table {
    into: "key_secrets (key_id, number, org_id, pepper, hash, masked, expires_at, last_used_at, created_at)",
    columns: 9,
    key: 2,
    on_conflict: "",
};

const PEPPERS: Table = Table {
    into: "peppers (version, proof)",
    columns: 2,
    key: 1,
    on_conflict: "ON CONFLICT (version) DO NOTHING",
};

/// One row per secret; one with nulls for a key without any.
macro_rules! select_keys {
    ($rest:literal) => {
        concat!(
            "SELECT k.id, k.org_id, k.kind, k.name, k.scopes, k.allowed_origins, k.rate_limit, k.expires_at,
                k.last_used_at, k.created_at, k.version, k.rotations, s.number, s.pepper, s.hash, s.masked,
                s.expires_at AS secret_expires_at, s.last_used_at AS secret_last_used_at
            FROM keys k LEFT JOIN key_secrets s ON s.key_id = k.id ",
            $rest
        )
    };
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: KeyId,
    org_id: OrgId,
    kind: String,
    name: String,
    scopes: String,
    allowed_origins: String,
    rate_limit: String,
    expires_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    created_at: Timestamp,
    version: i64,
    rotations: i64,
    number: Option<i64>,
    pepper: Option<i64>,
    hash: Option<String>,
    masked: Option<String>,
    secret_expires_at: Option<Timestamp>,
    secret_last_used_at: Option<Timestamp>,
}

impl KeyRow {
    fn secret(&mut self) -> Option<Secret> {
        let hash = BASE64_STANDARD.decode(self.hash.take()?).ok()?.try_into().ok()?;
        Some(Secret {
            number: self.number?,
            pepper: self.pepper?,
            hash,
            masked: self.masked.take()?,
            expires_at: self.secret_expires_at,
            last_used_at: self.secret_last_used_at,
        })
    }

    fn key(self) -> Result<Key, StoreError> {
        let kind = KeyKind::parse(&self.kind).ok_or_else(|| sqlx::Error::ColumnDecode {
            index: "kind".to_owned(),
            source: format!("unknown kind of key: {}", self.kind).into(),
        });
        let origins: Vec<String> = serde_json::from_str(&self.allowed_origins).unwrap_or_default();
        Ok(Key {
            id: self.id,
            org: self.org_id,
            kind: kind.attempting("read a key")?,
            name: self.name.into(),
            scopes: ScopeSet::from_stored(&self.scopes),
            // One that cannot be read admits nobody.
            allowed_origins: origins.iter().filter_map(|origin| Origin::parse(origin).ok()).collect(),
            rate_limit: RateLimit::from_stored(&self.rate_limit),
            expires_at: self.expires_at,
            last_used_at: self.last_used_at,
            created_at: self.created_at,
            version: self.version,
            rotations: self.rotations,
            secrets: Vec::new(),
        })
    }
}

/// Rows of one key stand together.
fn gather(rows: Vec<KeyRow>) -> Result<Vec<Key>, StoreError> {
    let mut keys: Vec<Key> = Vec::new();
    for mut row in rows {
        let secret = row.secret();
        if keys.last().is_none_or(|key| key.id != row.id) {
            keys.push(row.key()?);
        }
        if let (Some(key), Some(secret)) = (keys.last_mut(), secret) {
            key.secrets.push(secret);
        }
    }
    Ok(keys)
}

/// The key of that id, of whichever organization: asked by who presents its text.
pub(super) async fn presented(store: &Store, id: KeyId) -> Result<Option<Key>, StoreError> {
    const SELECT: &str = select_keys!("WHERE k.id = $1 ORDER BY s.number DESC");
    let rows = on_pool!(store, |pool| sqlx::query_as(SELECT).bind(id).fetch_all(pool).await);
    Ok(gather(rows.attempting("read a key")?)?.pop())
}

/// A key of `org`.
pub(super) async fn get(store: &Store, org: OrgId, id: KeyId) -> Result<Option<Key>, StoreError> {
    const SELECT: &str = select_keys!("WHERE k.org_id = $1 AND k.id = $2 ORDER BY s.number DESC");
    let rows = on_pool!(store, |pool| sqlx::query_as(SELECT).bind(org).bind(id).fetch_all(pool).await);
    Ok(gather(rows.attempting("read a key")?)?.pop())
}

/// Up to `limit` keys of `org`, newest first, from before `before`.
pub(super) async fn newest(
    store: &Store,
    org: OrgId,
    before: Option<KeyId>,
    limit: i64,
) -> Result<Vec<Key>, StoreError> {
    const SELECT: &str = select_keys!(
        "WHERE k.id IN (SELECT id FROM keys WHERE org_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3)
        ORDER BY k.id DESC, s.number DESC"
    );
    // Above every id.
    let before = before.map_or_else(|| "l".to_owned(), |id| id.to_string());
    let rows = on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(org)
        .bind(before)
        .bind(limit)
        .fetch_all(pool)
        .await);
    gather(rows.attempting("list keys")?)
}

/// Up to `limit` keys of `org`, oldest first, from after `after`.
pub(super) async fn oldest(
    store: &Store,
    org: OrgId,
    after: Option<KeyId>,
    limit: i64,
) -> Result<Vec<Key>, StoreError> {
    const SELECT: &str = select_keys!(
        "WHERE k.id IN (SELECT id FROM keys WHERE org_id = $1 AND id > $2 ORDER BY id LIMIT $3)
        ORDER BY k.id, s.number DESC"
    );
    let after = after.map_or_else(String::new, |id| id.to_string());
    let rows = on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(org)
        .bind(after)
        .bind(limit)
        .fetch_all(pool)
        .await);
    gather(rows.attempting("list keys")?)
}

/// Adds the key, with its secrets.
pub(super) fn insert(op: &mut Op, key: &Key) {
    op.insert(
        &KEYS,
        vec![
            key.id.into(),
            key.org.into(),
            key.kind.as_str().into(),
            (&*key.name).into(),
            key.scopes.to_string().into(),
            origins_json(key).into(),
            key.rate_limit.to_stored().into(),
            key.expires_at.into(),
            key.last_used_at.into(),
            key.created_at.into(),
            key.version.into(),
            key.rotations.into(),
        ],
    );
    for secret in &key.secrets {
        insert_secret(op, key, secret, key.created_at);
    }
}

/// Adds one secret of the key.
pub(super) fn insert_secret(op: &mut Op, key: &Key, secret: &Secret, now: Timestamp) {
    op.insert(
        &SECRETS,
        vec![
            key.id.into(),
            secret.number.into(),
            key.org.into(),
            secret.pepper.into(),
            BASE64_STANDARD.encode(secret.hash).into(),
            secret.masked.as_str().into(),
            secret.expires_at.into(),
            secret.last_used_at.into(),
            now.into(),
        ],
    );
}

/// Writes the key's fields, one version up; a conflict if someone else changed it since it was read.
pub(super) fn update(op: &mut Op, key: &Key) {
    const UPDATE: &str = "
        UPDATE keys SET name = $4, scopes = $5, allowed_origins = $6, rate_limit = $7, expires_at = $8,
            rotations = $9, version = version + 1
        WHERE org_id = $1 AND id = $2 AND version = $3";
    op.run_on_one(
        UPDATE,
        vec![
            key.org.into(),
            key.id.into(),
            key.version.into(),
            (&*key.name).into(),
            key.scopes.to_string().into(),
            origins_json(key).into(),
            key.rate_limit.to_stored().into(),
            key.expires_at.into(),
            key.rotations.into(),
        ],
    );
}

/// Ends the key's secrets of these numbers and below.
pub(super) fn end_secrets(op: &mut Op, key: &Key, up_to: i64) {
    const DELETE: &str = "DELETE FROM key_secrets WHERE org_id = $1 AND key_id = $2 AND number <= $3";
    op.run(DELETE, vec![key.org.into(), key.id.into(), up_to.into()]);
}

/// Gives a secret until `end`.
pub(super) fn give_grace(op: &mut Op, org: OrgId, id: KeyId, number: i64, end: Timestamp) {
    const UPDATE: &str =
        "UPDATE key_secrets SET expires_at = $4 WHERE org_id = $1 AND key_id = $2 AND number = $3";
    op.run(UPDATE, vec![org.into(), id.into(), number.into(), end.into()]);
}

/// Removes the key's row; a conflict if someone else changed it since it was read.
pub(super) fn delete(op: &mut Op, key: &Key) {
    const DELETE: &str = "DELETE FROM keys WHERE org_id = $1 AND id = $2 AND version = $3";
    op.run_on_one(DELETE, vec![key.org.into(), key.id.into(), key.version.into()]);
}

/// Notes that a secret opened something.
pub(super) fn used(op: &mut Op, key: KeyId, number: i64, at: Timestamp) {
    const SECRET: &str = "
        UPDATE key_secrets SET last_used_at = $3
        WHERE key_id = $1 AND number = $2 AND (last_used_at IS NULL OR last_used_at < $3)";
    const KEY: &str = "
        UPDATE keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
    op.run(SECRET, vec![key.into(), number.into(), at.into()]);
    op.run(KEY, vec![key.into(), at.into()]);
}

/// Leaves a proof of the pepper, unless there is one.
pub(super) fn insert_proof(op: &mut Op, version: i64, proof: &str) {
    op.insert(&PEPPERS, vec![version.into(), proof.into()]);
}

/// The proofs of every pepper that hashes were made with.
pub(super) async fn proofs(store: &Store) -> Result<Vec<(i64, String)>, StoreError> {
    const SELECT: &str = "SELECT version, proof FROM peppers";
    on_pool!(store, |pool| sqlx::query_as(SELECT).fetch_all(pool).await).attempting("read the pepper's proof")
}

fn origins_json(key: &Key) -> String {
    serde_json::Value::from_iter(key.allowed_origins.iter().map(ToString::to_string)).to_string()
}
