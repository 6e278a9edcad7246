//! The SQL of webhooks; that of their deliveries is beside it.

pub(super) mod batches;
pub(super) mod deliveries;
pub(super) mod replays;

use sqlx::FromRow;

use super::{
    endpoint::{EndpointUrl, Headers, Webhook},
    seal::SealingKeys,
    sign::SigningSecret,
};
use crate::{
    clock::Timestamp,
    ids::{OrgId, WebhookId},
    on_pool,
    outbox::{self, stored_filters},
    store::{Attempting, Store, StoreError},
    writer::{Op, Table, Value},
};

static WEBHOOKS: Table = Table {
    into: "webhooks (org_id, id, url, events, channels, topics, description, enabled, disabled_reason, ordered, \
           headers, secret, previous_secret, previous_expires_at, version, failing_since, created_at, updated_at)",
    columns: 18,
    key: 2,
    on_conflict: "",
};

#[derive(FromRow)]
struct WebhookRow {
    org_id: OrgId,
    id: WebhookId,
    url: String,
    events: String,
    channels: String,
    topics: String,
    description: String,
    enabled: i64,
    disabled_reason: Option<String>,
    ordered: i64,
    headers: Option<String>,
    secret: String,
    previous_secret: Option<String>,
    previous_expires_at: Option<Timestamp>,
    version: i64,
    failing_since: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl WebhookRow {
    fn open(self, keys: &SealingKeys) -> Result<Webhook, sqlx::Error> {
        let damaged = |what: &'static str| sqlx::Error::Decode(what.into());
        let open = |sealed: &str| {
            keys.open(self.id, sealed).ok_or_else(|| damaged("a webhook's secret does not open"))
        };
        let url = EndpointUrl::parse(&self.url).map_err(|_| damaged("a webhook's address is none"))?;
        let headers = match &self.headers {
            Some(sealed) => {
                Headers::stored(&open(sealed)?).map_err(|error| sqlx::Error::Decode(error.into()))?
            }
            None => Headers::default(),
        };
        let previous = match (&self.previous_secret, self.previous_expires_at) {
            (Some(sealed), Some(ends)) => Some((SigningSecret::stored(open(sealed)?), ends)),
            _ => None,
        };
        Ok(Webhook {
            org: self.org_id,
            id: self.id,
            url,
            filters: stored_filters(&self.events, &self.channels, &self.topics)?,
            secret: SigningSecret::stored(open(&self.secret)?),
            description: self.description,
            enabled: self.enabled != 0,
            disabled_reason: self.disabled_reason,
            ordered: self.ordered != 0,
            headers,
            previous,
            version: self.version,
            failing_since: self.failing_since,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// Our own types always serialize.
fn document<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// One per column of the table, in its order.
fn values(webhook: &Webhook, keys: &SealingKeys) -> Result<Vec<Value>, getrandom::Error> {
    let seal = |text: &str| keys.seal(webhook.id, text);
    let headers = webhook.headers.document().map(|text| seal(&text)).transpose()?;
    let previous = webhook.previous.as_ref().map(|(secret, _)| seal(secret.expose())).transpose()?;
    Ok(vec![
        webhook.org.into(),
        webhook.id.into(),
        webhook.url.to_string().into(),
        document(&webhook.filters.events).into(),
        document(&webhook.filters.channels).into(),
        document(&webhook.filters.topics).into(),
        webhook.description.as_str().into(),
        i64::from(webhook.enabled).into(),
        webhook.disabled_reason.as_deref().into(),
        i64::from(webhook.ordered).into(),
        headers.into(),
        seal(webhook.secret.expose())?.into(),
        previous.into(),
        webhook.previous.as_ref().map(|(_, ends)| *ends).into(),
        webhook.version.into(),
        webhook.failing_since.into(),
        webhook.created_at.into(),
        webhook.updated_at.into(),
    ])
}

/// Makes a webhook.
pub(super) fn insert(op: &mut Op, webhook: &Webhook, keys: &SealingKeys) -> Result<(), getrandom::Error> {
    op.insert(&WEBHOOKS, values(webhook, keys)?);
    outbox::note_change(op);
    Ok(())
}

/// Changes a webhook that was of the version before.
pub(super) fn update(op: &mut Op, webhook: &Webhook, keys: &SealingKeys) -> Result<(), getrandom::Error> {
    const UPDATE: &str = "
        UPDATE webhooks SET url = $3, events = $4, channels = $5, topics = $6, description = $7, enabled = $8,
            disabled_reason = $9, ordered = $10, headers = $11, secret = $12, previous_secret = $13,
            previous_expires_at = $14, version = $15, failing_since = $16, created_at = $17, updated_at = $18
        WHERE org_id = $1 AND id = $2 AND version = $15 - 1";
    op.run_on_one(UPDATE, values(webhook, keys)?);
    outbox::note_change(op);
    Ok(())
}

/// Removes a webhook with its deliveries.
pub(super) fn delete(op: &mut Op, org: OrgId, id: WebhookId) {
    op.run_on_one("DELETE FROM webhooks WHERE org_id = $1 AND id = $2", vec![org.into(), id.into()]);
    op.run(
        "DELETE FROM webhook_attempts WHERE delivery_id IN (SELECT id FROM webhook_deliveries WHERE webhook_id = $1)",
        vec![id.into()],
    );
    op.run("DELETE FROM webhook_deliveries WHERE webhook_id = $1", vec![id.into()]);
    op.run("DELETE FROM webhook_replays WHERE webhook_id = $1", vec![id.into()]);
    outbox::note_change(op);
}

/// Notes since when an endpoint fails, or that it does not any more.
pub(super) fn failing(op: &mut Op, org: OrgId, id: WebhookId, since: Option<Timestamp>) {
    const SINCE: &str =
        "UPDATE webhooks SET failing_since = $3 WHERE org_id = $1 AND id = $2 AND failing_since IS NULL";
    const NO_MORE: &str = "UPDATE webhooks SET failing_since = NULL WHERE org_id = $1 AND id = $2";
    match since {
        Some(since) => op.run(SINCE, vec![org.into(), id.into(), since.into()]),
        None => op.run(NO_MORE, vec![org.into(), id.into()]),
    }
}

/// A webhook of `org`.
pub(super) async fn get(
    store: &Store,
    keys: &SealingKeys,
    org: OrgId,
    id: WebhookId,
) -> Result<Option<Webhook>, StoreError> {
    const SELECT: &str = "SELECT * FROM webhooks WHERE org_id = $1 AND id = $2";
    let row: Option<WebhookRow> =
        on_pool!(store, |pool| sqlx::query_as(SELECT).bind(org).bind(id).fetch_optional(pool).await)
            .attempting("read a webhook")?;
    row.map(|row| row.open(keys)).transpose().attempting("read a webhook")
}

/// How many webhooks `org` has.
pub(super) async fn count(store: &Store, org: OrgId) -> Result<i64, StoreError> {
    const SELECT: &str = "SELECT COUNT(*) FROM webhooks WHERE org_id = $1";
    on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(org).fetch_one(pool).await)
        .attempting("count webhooks")
}

/// Webhooks of `org` in the order of their ids, from after that one.
pub(super) async fn list(
    store: &Store,
    keys: &SealingKeys,
    org: OrgId,
    (after, descending): (Option<WebhookId>, bool),
    rows: i64,
) -> Result<Vec<Webhook>, StoreError> {
    const ASCENDING: &str = "SELECT * FROM webhooks WHERE org_id = $1 AND id > $2 ORDER BY id LIMIT $3";
    const DESCENDING: &str = "SELECT * FROM webhooks WHERE org_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
    let (select, edge) = if descending { (DESCENDING, "~") } else { (ASCENDING, "") };
    let after = after.map_or_else(|| edge.to_owned(), |id| id.to_string());
    let found: Vec<WebhookRow> = on_pool!(store, |pool| {
        sqlx::query_as(select).bind(org).bind(after).bind(rows).fetch_all(pool).await
    })
    .attempting("list webhooks")?;
    found.into_iter().map(|row| row.open(keys)).collect::<Result<_, _>>().attempting("read a webhook")
}
