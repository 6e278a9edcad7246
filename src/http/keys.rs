//! Keys: made, listed, changed, rotated, revoked. A secret is shown once, in the answer that made it.

use std::{fmt, num::NonZeroU32};

use actix_web::{HttpResponse, http::StatusCode, web::Data};
use openclaw_actors::{
    clock::Timestamp,
    idempotency::{Effect, Stamp},
    ids::{KeyId, OrgId},
    keys::{Denied, IssuedKey, Key, KeyError, KeyKind, KeyPatch, NewKey, Origin, RateLimit, Scope, ScopeSet},
    patch::{Change, InvalidField},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    auth::{AnySecretKey, Caller, ReadKeys, WriteKeys},
    error::ApiError,
    idempotency::{Once, Repeatable, of_another_kind, replayed},
    json::{Json, OptionalJson},
    page::{List, NoFilters, Order, Page},
    query::PathId,
    secrets::{RotateBody, shown_once},
};
use crate::server::Parts;

/// `GET /v1/keys`
///
/// # Errors
/// The cursor is not one of this list, or the store is away.
pub async fn list(
    caller: Caller<ReadKeys>,
    list: List<NoFilters>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let after: Option<KeyId> = list.page.after()?;
    let keys = match list.page.order {
        Order::Asc => parts.keys.oldest(caller.org, after, list.page.rows()).await?,
        Order::Desc => parts.keys.newest(caller.org, after, list.page.rows()).await?,
    };
    let page = Page::new(keys, &list.page, |key| key.id);
    let show = shower(&parts);
    Ok(HttpResponse::Ok().json(page.map(|key| show(&key))))
}

/// `POST /v1/keys`
///
/// # Errors
/// See [`KeyError`].
pub async fn create(
    caller: Caller<WriteKeys>,
    repeatable: Repeatable,
    body: Json<NewKeyBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let Json { value, raw } = body;
    let new = value.read()?;
    let (scope, org, shared) = (caller.credential(), caller.org, parts.clone());
    let act = move |stamp: Option<Stamp>| async move {
        let row = |key: &Key| stamp.map(|stamp| stamp.row(&Effect::Key { key: key.id }));
        let issued = shared.keys.create(caller.granter(), org, new, row).await?;
        let effect = Effect::Key { key: issued.key.id };
        Ok((issued, effect))
    };
    let once = repeatable.once(&parts, scope, &raw, act).await?;
    issued(once, StatusCode::CREATED, org, &parts).await
}

/// `GET /v1/keys/{id}`
///
/// # Errors
/// There is no such key, or the store is away.
pub async fn get(
    caller: Caller<ReadKeys>,
    id: PathId<KeyId>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let key = parts.keys.get(caller.org, *id).await?;
    Ok(HttpResponse::Ok().json(shower(&parts)(&key)))
}

/// `PATCH /v1/keys/{id}`
///
/// # Errors
/// See [`KeyError`].
pub async fn change(
    caller: Caller<WriteKeys>,
    id: PathId<KeyId>,
    body: Json<KeyPatchBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let patch = body.value.read()?;
    let key = parts.keys.change(caller.granter(), caller.org, *id, patch).await?;
    Ok(HttpResponse::Ok().json(shower(&parts)(&key)))
}

/// `DELETE /v1/keys/{id}`
///
/// # Errors
/// See [`KeyError`].
pub async fn revoke(
    caller: Caller<WriteKeys>,
    id: PathId<KeyId>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    parts.keys.revoke(caller.granter(), caller.org, *id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /v1/keys/{id}/rotate`
///
/// # Errors
/// See [`KeyError`]; 403 for another key without `keys:write`.
pub async fn rotate(
    caller: Caller<AnySecretKey>,
    id: PathId<KeyId>,
    repeatable: Repeatable,
    body: OptionalJson<RotateBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let key = *id;
    // Any secret key may rotate itself.
    if caller.principal.key != key {
        caller.require(Scope::KeysWrite)?;
    }
    let grace = body.value.grace()?;
    let (scope, org, shared) = (caller.credential(), caller.org, parts.clone());
    let act = move |stamp: Option<Stamp>| async move {
        let effect = Effect::Key { key };
        let row = stamp.map(|stamp| stamp.row(&effect));
        Ok((shared.keys.rotate(caller.granter(), org, key, grace, row).await?, effect))
    };
    let once = repeatable.once(&parts, scope, &body.raw, act).await?;
    issued(once, StatusCode::OK, org, &parts).await
}

/// `DELETE /v1/keys/{id}/previous`
///
/// # Errors
/// See [`KeyError`].
pub async fn end_previous(
    caller: Caller<WriteKeys>,
    id: PathId<KeyId>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    parts.keys.end_previous(caller.granter(), caller.org, *id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The answer to what made a secret: shown once, to the first of a name, and kept by no cache on the way.
async fn issued(
    once: Once<IssuedKey>,
    status: StatusCode,
    org: OrgId,
    parts: &Parts,
) -> Result<HttpResponse, ApiError> {
    let answer = |key: &Key, secret: Option<&str>| {
        let body = IssuedKeyView { key: shower(parts)(key), secret };
        shown_once(status, &format!("/v1/keys/{}", key.id), &body)
    };
    match once {
        Once::First(IssuedKey { key, secret }) => Ok(answer(&key, Some(secret.expose()))),
        Once::Repeat(Effect::Key { key }) => {
            let key = parts.keys.get(org, key).await?;
            Ok(replayed(answer(&key, None)))
        }
        Once::Repeat(other) => Err(of_another_kind(&other)),
    }
}

fn shower(parts: &Parts) -> impl Fn(&Key) -> KeyView + use<> {
    let (default, now) = (parts.config.limits.requests_per_minute, Timestamp::now());
    move |key| KeyView::of(key, default, now)
}

/// The body of `POST /v1/keys`.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewKeyBody {
    kind: String,
    name: String,
    scopes: Vec<String>,
    allowed_origins: Vec<String>,
    rate_limit_per_minute: Option<RateLimitField>,
    expires_at: Option<Timestamp>,
}

impl Default for NewKeyBody {
    fn default() -> Self {
        Self {
            kind: KeyKind::Restricted.as_str().to_owned(),
            name: String::new(),
            scopes: Vec::new(),
            allowed_origins: Vec::new(),
            rate_limit_per_minute: None,
            expires_at: None,
        }
    }
}

impl NewKeyBody {
    fn read(self) -> Result<NewKey, InvalidField> {
        let kind = KeyKind::parse(&self.kind)
            .ok_or_else(|| InvalidField::new("kind", "must be restricted or publishable"))?;
        Ok(NewKey {
            kind,
            name: self.name,
            scopes: scopes(self.scopes)?,
            allowed_origins: origins(self.allowed_origins)?,
            rate_limit: self.rate_limit_per_minute.map_or(RateLimit::Default, |field| field.0),
            expires_at: self.expires_at,
        })
    }
}

/// The body of `PATCH /v1/keys/{id}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyPatchBody {
    name: Change<String>,
    scopes: Change<Vec<String>>,
    allowed_origins: Change<Vec<String>>,
    rate_limit_per_minute: Change<RateLimitField>,
    expires_at: Change<Timestamp>,
}

impl KeyPatchBody {
    fn read(self) -> Result<KeyPatch, InvalidField> {
        Ok(KeyPatch {
            name: self.name,
            scopes: self.scopes.try_map(scopes)?,
            allowed_origins: self.allowed_origins.try_map(origins)?,
            rate_limit: self.rate_limit_per_minute.try_map(|field| Ok::<_, InvalidField>(field.0))?,
            expires_at: self.expires_at,
        })
    }
}

/// The scopes of these names.
///
/// # Errors
/// A name is none.
pub fn scopes(names: Vec<String>) -> Result<ScopeSet, InvalidField> {
    names
        .iter()
        .map(|name| {
            Scope::parse(name).ok_or_else(|| {
                let known: Vec<_> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
                InvalidField::new("scopes", format!("must be some of {}", known.join(", ")))
            })
        })
        .collect()
}

/// The origins of these texts.
///
/// # Errors
/// A text is none.
pub fn origins(texts: Vec<String>) -> Result<Vec<Origin>, InvalidField> {
    let parse = |text: &String| {
        Origin::parse(text).map_err(|refused| InvalidField::new("allowed_origins", refused.to_string()))
    };
    texts.iter().map(parse).collect()
}

/// A number, or `"unlimited"`.
#[derive(Debug, Clone, Copy)]
pub struct RateLimitField(RateLimit);

const UNLIMITED: &str = "unlimited";

impl<'de> Deserialize<'de> for RateLimitField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrWord;

        impl de::Visitor<'_> for NumberOrWord {
            type Value = RateLimitField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number from 1 to {} or \"unlimited\"", RateLimit::MAX_PER_MINUTE)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<RateLimitField, E> {
                let limit = u32::try_from(number).ok().and_then(NonZeroU32::new).map(RateLimit::PerMinute);
                let refused = || E::invalid_value(de::Unexpected::Unsigned(number), &self);
                limit.map(RateLimitField).ok_or_else(refused)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RateLimitField, E> {
                match text {
                    UNLIMITED => Ok(RateLimitField(RateLimit::Unlimited)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }

        deserializer.deserialize_any(NumberOrWord)
    }
}

/// A key as everyone sees it who may read keys.
#[derive(Debug, Serialize)]
pub struct KeyView {
    id: KeyId,
    kind: &'static str,
    name: String,
    scopes: ScopeSet,
    allowed_origins: Vec<Origin>,
    rate_limit_per_minute: QuotaView,
    expires_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    created_at: Timestamp,
    masked: Option<String>,
    previous: Option<PreviousView>,
}

/// The secret that a rotation replaced: whether it is still in use.
#[derive(Debug, Serialize)]
struct PreviousView {
    masked: String,
    last_used_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

/// A key with its secret; null when the answer is a repeat.
#[derive(Debug, Serialize)]
pub struct IssuedKeyView<'a> {
    /// The key.
    pub key: KeyView,
    /// Its whole text.
    pub secret: Option<&'a str>,
}

#[derive(Debug, Clone, Copy)]
struct QuotaView(Option<NonZeroU32>);

impl Serialize for QuotaView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(number) => serializer.serialize_u32(number.get()),
            None => serializer.serialize_str(UNLIMITED),
        }
    }
}

impl KeyView {
    /// The key as it is at `now`, where keys without a limit of their own have `default`.
    #[must_use]
    pub fn of(key: &Key, default: NonZeroU32, now: Timestamp) -> Self {
        Self {
            id: key.id,
            kind: key.kind.as_str(),
            name: key.name.to_string(),
            scopes: key.scopes,
            allowed_origins: key.allowed_origins.clone(),
            rate_limit_per_minute: QuotaView(key.rate_limit.quota(default)),
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            created_at: key.created_at,
            masked: key.current().map(|secret| secret.masked.clone()),
            previous: key.previous(now).map(|secret| PreviousView {
                masked: secret.masked.clone(),
                last_used_at: secret.last_used_at,
                expires_at: secret.expires_at,
            }),
        }
    }
}

impl From<InvalidField> for ApiError {
    fn from(error: InvalidField) -> Self {
        Self::invalid_field(error.param, error.to_string())
    }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NotFound => Self::not_found(),
            KeyError::Denied(Denied::Scope(scope)) => Self::permission_denied(scope.as_str()),
            KeyError::Denied(
                denied @ (Denied::RateLimit | Denied::Unlimited | Denied::Lifetime | Denied::Kind(_)),
            ) => Self::forbidden("grant_exceeds_key", denied.to_string()).param(denied.param()),
            KeyError::Invalid(field) => field.into(),
            KeyError::SlotTaken(_) => Self::conflict("key_slot_taken", error.to_string()),
            KeyError::Store(error) => error.into(),
            KeyError::Write(error) => error.into(),
            KeyError::Random(error) => Self::internal(error),
        }
    }
}
