//! Who may give what: nobody hands out more than they hold.

use std::{num::NonZeroU32, sync::Arc};

use super::{
    key::{Key, KeyKind},
    ring::Principal,
    scope::{Scope, ScopeSet},
};
use crate::{audit::By, clock::Timestamp};

/// On whose word a key is made or changed.
#[derive(Debug, Clone, Copy)]
pub enum Granter<'a> {
    /// Whoever runs the server: may do anything.
    Operator,
    /// A key of the same organization.
    Key(&'a Principal),
}

/// What the granter lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A scope it would have to hold.
    #[error("this key does not hold the scope {0}")]
    Scope(Scope),
    /// A limit at least as high.
    #[error("a key grants no higher rate limit than its own")]
    RateLimit,
    /// The word of an operator.
    #[error("only an operator grants an unlimited key")]
    Unlimited,
    /// A life at least as long.
    #[error("a key grants no longer life than its own")]
    Lifetime,
    /// Full access.
    #[error("only a primary or secondary key makes or changes {} keys", .0.as_str())]
    Kind(KeyKind),
}

impl Denied {
    /// What `param` names.
    #[must_use]
    pub fn param(self) -> &'static str {
        match self {
            Self::Scope(scope) => scope.as_str(),
            Self::RateLimit | Self::Unlimited => "rate_limit_per_minute",
            Self::Lifetime => "expires_at",
            Self::Kind(_) => "kind",
        }
    }
}

/// What a key allows: what is compared between the granter and the granted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Powers {
    scopes: ScopeSet,
    requests: u32,
    until: i64,
}

impl Powers {
    /// What a key has that does not exist yet.
    const NONE: Self = Self { scopes: ScopeSet::NONE, requests: 0, until: i64::MIN };

    fn new(scopes: ScopeSet, quota: Option<NonZeroU32>, expires_at: Option<Timestamp>) -> Self {
        Self {
            scopes,
            requests: quota.map_or(Self::UNLIMITED, NonZeroU32::get),
            until: expires_at.map_or(i64::MAX, |end| end.0),
        }
    }

    pub(super) fn of(key: &Key, default_quota: NonZeroU32) -> Self {
        Self::new(key.scopes, key.rate_limit.quota(default_quota), key.expires_at)
    }

    /// Above every number that a key may have.
    const UNLIMITED: u32 = u32::MAX;
}

/// A primary or secondary key has no name of its own: what it is says which it is.
impl From<Granter<'_>> for By {
    fn from(by: Granter<'_>) -> Self {
        match by {
            Granter::Operator => Self::Operator,
            Granter::Key(by) if by.name.is_empty() && by.kind.is_slot() => {
                Self::Key { id: by.key, name: by.kind.as_str().into() }
            }
            Granter::Key(by) => Self::Key { id: by.key, name: Arc::clone(&by.name) },
        }
    }
}

impl Granter<'_> {
    /// May it make or change a key of that kind?
    pub(super) fn may_change(self, kind: KeyKind) -> Result<(), Denied> {
        match (self, kind) {
            (Self::Operator, _) | (Self::Key(_), KeyKind::Restricted) => Ok(()),
            (Self::Key(by), _) if by.kind.is_slot() => Ok(()),
            (Self::Key(_), _) => Err(Denied::Kind(kind)),
        }
    }

    /// May it bring a key from `before` (none if it is new) to `after`? What the key had is not granted anew.
    pub(super) fn may_grant(self, before: Option<Powers>, after: Powers) -> Result<(), Denied> {
        let Self::Key(by) = self else { return Ok(()) };
        let own = Powers::new(by.scopes, by.quota, by.expires_at);
        let before = before.unwrap_or(Powers::NONE);
        if let Some(scope) = after.scopes.without(before.scopes).without(own.scopes).iter().next() {
            return Err(Denied::Scope(scope));
        }
        if after.requests == Powers::UNLIMITED && before.requests != Powers::UNLIMITED {
            return Err(Denied::Unlimited);
        }
        if after.requests > before.requests.max(own.requests) {
            return Err(Denied::RateLimit);
        }
        if after.until > before.until.max(own.until) {
            return Err(Denied::Lifetime);
        }
        Ok(())
    }

    /// May it rotate that key? Whoever gets a new secret of it can do all that it can.
    pub(super) fn may_rotate(self, key: &Key, default_quota: NonZeroU32) -> Result<(), Denied> {
        let Self::Key(by) = self else { return Ok(()) };
        if by.key == key.id {
            return Ok(());
        }
        self.may_change(key.kind)?;
        self.may_grant(None, Powers::of(key, default_quota))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{KeyId, OrgId};

    fn principal(kind: KeyKind, scopes: &[Scope], quota: u32, expires_at: Option<i64>) -> Principal {
        Principal {
            org: OrgId::generate(),
            key: KeyId::generate(),
            secret: 1,
            kind,
            name: "".into(),
            scopes: scopes.iter().copied().collect(),
            quota: NonZeroU32::new(quota),
            expires_at: expires_at.map(Timestamp),
            allowed_origins: Vec::new().into(),
            client: None,
        }
    }

    fn powers(scopes: &[Scope], quota: u32, expires_at: Option<i64>) -> Powers {
        Powers::new(scopes.iter().copied().collect(), NonZeroU32::new(quota), expires_at.map(Timestamp))
    }

    #[test]
    fn nobody_grants_more_than_they_hold() {
        let own = [Scope::KeysWrite, Scope::KnowledgeRead];
        let by = principal(KeyKind::Restricted, &own, 50, Some(1_000));
        let grant = |after| Granter::Key(&by).may_grant(None, after);
        assert_eq!(grant(powers(&own, 50, Some(1_000))), Ok(()));
        assert_eq!(
            grant(powers(&[Scope::KnowledgeWrite], 50, Some(1_000))),
            Err(Denied::Scope(Scope::KnowledgeWrite))
        );
        assert_eq!(grant(powers(&own, 51, Some(1_000))), Err(Denied::RateLimit));
        assert_eq!(grant(powers(&own, 50, Some(1_001))), Err(Denied::Lifetime));
        assert_eq!(grant(powers(&own, 50, None)), Err(Denied::Lifetime));
        assert_eq!(Granter::Operator.may_grant(None, powers(&own, 0, None)), Ok(()));
    }

    #[test]
    fn not_even_an_unlimited_key_grants_an_unlimited_one() {
        let by = principal(KeyKind::Primary, Scope::ALL, 0, None);
        assert_eq!(Granter::Key(&by).may_grant(None, powers(&[], 0, None)), Err(Denied::Unlimited));
        assert_eq!(Granter::Key(&by).may_grant(None, powers(&[], 100_000, None)), Ok(()));
    }

    #[test]
    fn taking_away_from_a_stronger_key_grants_nothing() {
        let by = principal(KeyKind::Restricted, &[Scope::KeysWrite], 50, None);
        let before = powers(&[Scope::KnowledgeRead, Scope::KnowledgeWrite], 0, None);
        let less = powers(&[Scope::KnowledgeRead], 90, Some(5));
        assert_eq!(Granter::Key(&by).may_grant(Some(before), less), Ok(()));
        assert_eq!(
            Granter::Key(&by).may_grant(Some(less), before),
            Err(Denied::Scope(Scope::KnowledgeWrite))
        );
    }

    #[test]
    fn only_full_access_changes_full_access() {
        let slot = principal(KeyKind::Secondary, Scope::ALL, 100, None);
        let all_scopes = principal(KeyKind::Restricted, Scope::ALL, 100, None);
        for kind in [KeyKind::Primary, KeyKind::Secondary, KeyKind::Publishable] {
            assert_eq!(Granter::Key(&slot).may_change(kind), Ok(()));
            assert_eq!(Granter::Key(&all_scopes).may_change(kind), Err(Denied::Kind(kind)));
        }
        assert_eq!(Granter::Key(&all_scopes).may_change(KeyKind::Restricted), Ok(()));
    }
}
