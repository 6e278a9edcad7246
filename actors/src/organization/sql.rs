//! The rows of organizations.

use super::{Organization, Settings};
use crate::{
    clock::Timestamp,
    ids::OrgId,
    on_pool,
    store::{Attempting, Store, StoreError},
    writer::{Op, Table},
};

const ORGANIZATIONS: Table =
    Table { into: "organizations (id, name, settings, created_at)", columns: 4, key: 1, on_conflict: "" };

#[derive(sqlx::FromRow)]
struct OrganizationRow {
    id: OrgId,
    name: String,
    settings: String,
    created_at: Timestamp,
}

/// As it was read, with the text of its settings: an update expects that very text.
pub(super) struct Stored {
    pub(super) organization: Organization,
    pub(super) settings: String,
}

impl OrganizationRow {
    fn stored(self) -> Result<Stored, StoreError> {
        let settings: Settings = serde_json::from_str(&self.settings)
            .map_err(|error| sqlx::Error::ColumnDecode { index: "settings".to_owned(), source: error.into() })
            .attempting("read an organization's settings")?;
        let Self { id, name, created_at, .. } = self;
        Ok(Stored { organization: Organization { id, name, settings, created_at }, settings: self.settings })
    }
}

/// The organization of that id.
pub(super) async fn get(store: &Store, org: OrgId) -> Result<Option<Stored>, StoreError> {
    const SELECT: &str = "SELECT id, name, settings, created_at FROM organizations WHERE id = $1";
    let row: Result<Option<OrganizationRow>, _> =
        on_pool!(store, |pool| sqlx::query_as(SELECT).bind(org).fetch_optional(pool).await);
    row.attempting("read an organization")?.map(OrganizationRow::stored).transpose()
}

/// Is there such an organization?
///
/// # Errors
/// The store is away.
pub async fn exists(store: &Store, org: OrgId) -> Result<bool, StoreError> {
    const SELECT: &str = "SELECT id FROM organizations WHERE id = $1";
    let row: Result<Option<OrgId>, _> =
        on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(org).fetch_optional(pool).await);
    Ok(row.attempting("look for an organization")?.is_some())
}

/// Up to `limit` organizations, oldest first, from after `after`.
pub(super) async fn oldest(
    store: &Store,
    after: Option<OrgId>,
    limit: i64,
) -> Result<Vec<Organization>, StoreError> {
    const SELECT: &str =
        "SELECT id, name, settings, created_at FROM organizations WHERE id > $1 ORDER BY id LIMIT $2";
    let after = after.map_or_else(String::new, |id| id.to_string());
    let rows: Result<Vec<OrganizationRow>, _> =
        on_pool!(store, |pool| sqlx::query_as(SELECT).bind(after).bind(limit).fetch_all(pool).await);
    let rows = rows.attempting("list organizations")?;
    rows.into_iter().map(|row| row.stored().map(|stored| stored.organization)).collect()
}

/// Adds the organization.
pub fn insert(op: &mut Op, organization: &Organization) {
    op.insert(
        &ORGANIZATIONS,
        vec![
            organization.id.into(),
            organization.name.as_str().into(),
            settings_json(&organization.settings).into(),
            organization.created_at.into(),
        ],
    );
}

/// Writes name and settings; a conflict if someone else changed them since they were read.
pub(super) fn update(op: &mut Op, before: &Stored, after: &Organization) {
    const UPDATE: &str = "
        UPDATE organizations SET name = $2, settings = $3 WHERE id = $1 AND name = $4 AND settings = $5";
    op.run_on_one(
        UPDATE,
        vec![
            after.id.into(),
            after.name.as_str().into(),
            settings_json(&after.settings).into(),
            before.organization.name.as_str().into(),
            before.settings.as_str().into(),
        ],
    );
}

/// Numbers, texts and lists: there is nothing in them that JSON cannot say.
fn settings_json(settings: &Settings) -> String {
    serde_json::to_string(settings).unwrap_or_default()
}
