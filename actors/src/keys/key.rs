//! A key: what it may do, how often, until when, and which secrets prove it.

use std::{num::NonZeroU32, sync::Arc};

use super::{
    origin::Origin,
    pepper::Hash,
    scope::ScopeSet,
    secret::{Family, KeyText},
};
use crate::{
    clock::Timestamp,
    ids::{KeyId, OrgId},
};

/// What kind of key it is, which decides who may change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Full access; the organization's first slot.
    Primary,
    /// Full access; the second slot, so that one can be replaced while the other works.
    Secondary,
    /// What its scopes say.
    Restricted,
    /// Opens one route, for browsers.
    Publishable,
}

impl KeyKind {
    /// As it stands in answers and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
            Self::Restricted => "restricted",
            Self::Publishable => "publishable",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Primary, Self::Secondary, Self::Restricted, Self::Publishable]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }

    /// One of the organization's two keys with full access, whose slots are never empty of a row.
    #[must_use]
    pub fn is_slot(self) -> bool {
        matches!(self, Self::Primary | Self::Secondary)
    }

    /// Which text its secrets have.
    #[must_use]
    pub fn family(self) -> Family {
        match self {
            Self::Primary | Self::Secondary | Self::Restricted => Family::Secret,
            Self::Publishable => Family::Publishable,
        }
    }
}

/// How many requests a key may make in any 60 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimit {
    /// What the server is configured to give.
    Default,
    /// A number of its own.
    PerMinute(NonZeroU32),
    /// No limit: given by operators alone.
    Unlimited,
}

impl RateLimit {
    /// A log of one window is kept per key, so its number is bounded.
    pub const MAX_PER_MINUTE: u32 = 100_000;

    /// The number in force; none is unlimited.
    #[must_use]
    pub fn quota(self, default: NonZeroU32) -> Option<NonZeroU32> {
        match self {
            Self::Default => Some(default),
            Self::PerMinute(number) => Some(number),
            Self::Unlimited => None,
        }
    }

    pub(super) fn to_stored(self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::PerMinute(number) => number.to_string(),
            Self::Unlimited => "unlimited".to_owned(),
        }
    }

    /// A value that this version does not know gives no more than the default.
    pub(super) fn from_stored(text: &str) -> Self {
        match text {
            "unlimited" => Self::Unlimited,
            _ => text.parse().map_or(Self::Default, Self::PerMinute),
        }
    }
}

/// One secret of a key, as far as we know it.
#[derive(Debug, Clone)]
pub struct Secret {
    /// 1, 2, 3 …: the highest is the current one.
    pub number: i64,
    /// Which pepper it was hashed under.
    pub(super) pepper: i64,
    pub(super) hash: Hash,
    /// What may be shown of its text.
    pub masked: String,
    /// When its grace ends; none for the current one.
    pub expires_at: Option<Timestamp>,
    /// When it last opened something.
    pub last_used_at: Option<Timestamp>,
}

/// An API key of an organization.
#[derive(Debug, Clone)]
pub struct Key {
    /// Constant over rotations.
    pub id: KeyId,
    /// Whose it is.
    pub org: OrgId,
    /// Who may change it.
    pub kind: KeyKind,
    /// For people.
    pub name: Arc<str>,
    /// What it may do.
    pub scopes: ScopeSet,
    /// Where browsers may use it from; publishable keys only.
    pub allowed_origins: Vec<Origin>,
    /// How often.
    pub rate_limit: RateLimit,
    /// Until when; none is for ever.
    pub expires_at: Option<Timestamp>,
    /// When any of its secrets last opened something.
    pub last_used_at: Option<Timestamp>,
    /// Since when.
    pub created_at: Timestamp,
    /// Rises with every change: two who change it at once notice each other.
    pub(super) version: i64,
    /// How many secrets it has had.
    pub(super) rotations: i64,
    /// Those that are stored, newest first; at most two.
    pub(super) secrets: Vec<Secret>,
}

impl Key {
    /// The secret that stays; none once a primary or secondary key was deleted.
    #[must_use]
    pub fn current(&self) -> Option<&Secret> {
        self.secrets.iter().find(|secret| secret.expires_at.is_none())
    }

    /// The one that a rotation replaced, while its grace lasts.
    #[must_use]
    pub fn previous(&self, now: Timestamp) -> Option<&Secret> {
        self.secrets.iter().find(|secret| secret.expires_at.is_some_and(|end| now < end))
    }

    /// Which of its secrets hold at that time; none do once the key itself has expired.
    pub(super) fn live_secrets(&self, now: Timestamp) -> impl Iterator<Item = &Secret> {
        let expired = move |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        let key_expired = expired(self.expires_at);
        self.secrets.iter().filter(move |secret| !key_expired && !expired(secret.expires_at))
    }
}

/// A key together with the text that is shown once.
#[derive(Debug, Clone)]
pub struct IssuedKey {
    /// As it is stored.
    pub key: Key,
    /// For its owner.
    pub secret: KeyText,
}

/// What a new key is to be.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Restricted or publishable: an organization has its other two.
    pub kind: KeyKind,
    /// For people.
    pub name: String,
    /// What it may do.
    pub scopes: ScopeSet,
    /// Where browsers may use it from.
    pub allowed_origins: Vec<Origin>,
    /// How often.
    pub rate_limit: RateLimit,
    /// Until when.
    pub expires_at: Option<Timestamp>,
}

/// What is to become of a key's fields.
#[derive(Debug, Clone, Default)]
pub struct KeyPatch {
    /// For people.
    pub name: crate::patch::Change<String>,
    /// What it may do.
    pub scopes: crate::patch::Change<ScopeSet>,
    /// Where browsers may use it from.
    pub allowed_origins: crate::patch::Change<Vec<Origin>>,
    /// How often.
    pub rate_limit: crate::patch::Change<RateLimit>,
    /// Until when.
    pub expires_at: crate::patch::Change<Timestamp>,
}
