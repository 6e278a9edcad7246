//! The beginning and the end of an organization.

use super::{
    commands::{KeyError, noted},
    grant::Granter,
    key::{IssuedKey, Key, KeyKind, RateLimit},
    ring::KeyRing,
    scope::ScopeSet,
    sql::{self, erase},
};
use crate::{
    audit::Action,
    clock::Timestamp,
    ids::{KeyId, OrgId},
    organization::{self, Organization, OrganizationPatch},
    writer::{Op, Row},
};

/// An organization with the two keys that are shown once.
#[derive(Debug, Clone)]
pub struct NewOrganization {
    /// As it is stored.
    pub organization: Organization,
    /// Full access.
    pub primary: IssuedKey,
    /// Full access, for when the other is replaced.
    pub secondary: IssuedKey,
}

impl KeyRing {
    /// Makes an organization with its two keys. The row that `extra` makes of it is stored with it or not at all.
    ///
    /// # Errors
    /// A field of `patch` cannot be so, or the store is away.
    pub async fn create_organization(
        &self,
        patch: OrganizationPatch,
        extra: impl FnOnce(&NewOrganization) -> Option<Row>,
    ) -> Result<NewOrganization, KeyError> {
        let organization = Organization::new(patch, Timestamp::now())?;
        let mut op = Op::default();
        organization::insert(&mut op, &organization);
        let primary = self.slot(&organization, KeyKind::Primary)?;
        let secondary = self.slot(&organization, KeyKind::Secondary)?;
        sql::insert(&mut op, &primary.key);
        sql::insert(&mut op, &secondary.key);
        for slot in [&primary.key, &secondary.key] {
            noted(&mut op, Granter::Operator, slot, Action::KeyCreated);
        }
        let made = NewOrganization { organization, primary, secondary };
        op.rows.extend(extra(&made));
        self.writer.commit(op).await?;
        Ok(made)
    }

    fn slot(&self, organization: &Organization, kind: KeyKind) -> Result<IssuedKey, KeyError> {
        let mut key = Key {
            id: KeyId::generate(),
            org: organization.id,
            kind,
            name: "".into(),
            scopes: ScopeSet::all(),
            allowed_origins: Vec::new(),
            rate_limit: RateLimit::Default,
            expires_at: None,
            last_used_at: None,
            created_at: organization.created_at,
            version: 1,
            rotations: 0,
            secrets: Vec::new(),
        };
        let secret = self.add_secret(&mut key)?;
        Ok(IssuedKey { key, secret })
    }

    /// Ends all access to the organization: the first step of erasing it.
    ///
    /// # Errors
    /// There is no such organization, or the store is away.
    pub async fn end_access(&self, org: OrgId) -> Result<(), KeyError> {
        if !organization::exists(&self.store, org).await? {
            return Err(KeyError::NotFound);
        }
        let mut access = Op::default();
        erase::end_access(&mut access, org);
        self.writer.commit(access).await?;
        self.forget_all();
        Ok(())
    }

    /// Erases everything of an organization to which nobody has access any more. Its own row goes last, so that a
    /// crash in between leaves something that can be deleted again.
    ///
    /// # Errors
    /// The store is away.
    pub async fn erase_organization(&self, org: OrgId) -> Result<(), KeyError> {
        while erase::has_conversations(&self.store, org).await? {
            let mut some = Op::default();
            erase::some_conversations(&mut some, org);
            self.writer.commit(some).await?;
        }
        let mut rest = Op::default();
        erase::the_rest(&mut rest, org);
        self.writer.commit(rest).await?;
        Ok(())
    }
}
