//! What is to be erased: by customer and by age.

use sqlx::FromRow;

use crate::{
    audit::Entry,
    clock::Timestamp,
    ids::{ConversationId, OrgId},
    on_pool,
    store::{Attempting, Store, StoreError},
    writer::{Op, Table},
};

static ERASURES: Table = Table {
    into: "customer_erasures (org_id, customer_id, begun_at, noted)",
    columns: 4,
    key: 2,
    on_conflict: "ON CONFLICT DO NOTHING",
};

/// A customer who is being erased.
#[derive(Debug, Clone)]
pub(in crate::conversation) struct Erasure {
    pub(in crate::conversation) org: OrgId,
    pub(in crate::conversation) customer: String,
    pub(in crate::conversation) begun_at: Timestamp,
    pub(in crate::conversation) noted: Entry,
}

#[derive(FromRow)]
struct ErasureRow {
    org_id: OrgId,
    customer_id: String,
    begun_at: Timestamp,
    noted: String,
}

impl TryFrom<ErasureRow> for Erasure {
    type Error = sqlx::Error;

    fn try_from(row: ErasureRow) -> Result<Self, sqlx::Error> {
        let noted = serde_json::from_str(&row.noted).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Self { org: row.org_id, customer: row.customer_id, begun_at: row.begun_at, noted })
    }
}

/// Adds the erasure, unless one of the same customer is under way.
pub(in crate::conversation) fn begin(op: &mut Op, erasure: &Erasure) {
    op.insert(
        &ERASURES,
        vec![
            erasure.org.into(),
            erasure.customer.as_str().into(),
            erasure.begun_at.into(),
            super::document(&erasure.noted).into(),
        ],
    );
}

/// Nothing is left of the customer, and of the erasure.
pub(in crate::conversation) fn end(op: &mut Op, erasure: &Erasure) {
    const DELETE: &str = "DELETE FROM customer_erasures WHERE org_id = $1 AND customer_id = $2";
    op.run(DELETE, vec![erasure.org.into(), erasure.customer.as_str().into()]);
}

/// The erasure of that customer, if one is under way.
pub(in crate::conversation) async fn of(
    store: &Store,
    org: OrgId,
    customer: &str,
) -> Result<Option<Erasure>, StoreError> {
    const SELECT: &str = "
        SELECT org_id, customer_id, begun_at, noted FROM customer_erasures WHERE org_id = $1 AND customer_id = $2";
    let row: Option<ErasureRow> =
        on_pool!(store, |pool| sqlx::query_as(SELECT).bind(org).bind(customer).fetch_optional(pool).await)
            .attempting("look for an erasure")?;
    row.map(Erasure::try_from).transpose().attempting("read an erasure")
}

/// Up to `limit` erasures that are under way.
pub(in crate::conversation) async fn under_way(
    store: &Store,
    limit: i64,
) -> Result<Vec<Erasure>, StoreError> {
    const SELECT: &str = "
        SELECT org_id, customer_id, begun_at, noted FROM customer_erasures ORDER BY begun_at LIMIT $1";
    let rows: Vec<ErasureRow> =
        on_pool!(store, |pool| sqlx::query_as(SELECT).bind(limit).fetch_all(pool).await)
            .attempting("look for erasures")?;
    rows.into_iter().map(Erasure::try_from).collect::<Result<_, _>>().attempting("read an erasure")
}

/// Up to `limit` conversations of a customer that began at `until` or before, oldest first.
pub(in crate::conversation) async fn of_customer(
    store: &Store,
    org: OrgId,
    customer: &str,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<ConversationId>, StoreError> {
    const SELECT: &str = "
        SELECT id FROM conversations WHERE org_id = $1 AND customer_id = $2 AND started_at <= $3
        ORDER BY started_at LIMIT $4";
    on_pool!(store, |pool| sqlx::query_scalar(SELECT)
        .bind(org)
        .bind(customer)
        .bind(until)
        .bind(limit)
        .fetch_all(pool)
        .await)
    .attempting("find a customer's conversations")
}

/// Up to `limit` conversations in which nothing was said since `before`, the longest quiet first.
pub(in crate::conversation) async fn quiet_since(
    store: &Store,
    org: OrgId,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<ConversationId>, StoreError> {
    const SELECT: &str = "
        SELECT id FROM conversations WHERE org_id = $1 AND COALESCE(last_message_at, started_at) < $2
        ORDER BY COALESCE(last_message_at, started_at), id LIMIT $3";
    on_pool!(store, |pool| sqlx::query_scalar(SELECT)
        .bind(org)
        .bind(before)
        .bind(limit)
        .fetch_all(pool)
        .await)
    .attempting("find conversations that are past their time")
}
