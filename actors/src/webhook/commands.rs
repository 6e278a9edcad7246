//! Making, changing, testing and deleting webhooks, and asking for a delivery once more.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::{
    Shared, Webhooks,
    delivery::{Attempt, Delivery, DeliveryFilter},
    dispatcher::SendNow,
    endpoint::{NewWebhook, Webhook, WebhookError, WebhookPatch, WebhookView, check},
    exchange::{self, Failure, Message, Timings},
    sign::SigningSecret,
    sql,
};
use crate::{
    audit::{Action, By, Entry, Target},
    clock::Timestamp,
    event::{EventKind, EventRow, complete},
    ids::{DeliveryId, EventId, OrgId, WebhookId},
    outbox::{self, Announced, Origin},
    patch::{Change, InvalidField},
    store::StoreError,
    writer::{Op, Row, WriteError},
};

/// Each is compared with every event of the organization.
const MOST_WEBHOOKS: i64 = 64;

/// Two who change one webhook at once: the second reads it anew.
const ROUNDS: usize = 4;

/// How long the names of hosts may take when a webhook is saved; one that is slower is looked at when it is used.
const RESOLVE_WITHIN: Duration = Duration::from_secs(2);

/// A webhook with the secret that is shown once.
#[derive(Debug, Clone)]
pub struct IssuedSecret {
    /// The webhook.
    pub webhook: Webhook,
    /// Its secret.
    pub secret: SigningSecret,
}

/// What was sent for a test, and what came back.
#[derive(Debug, Clone)]
pub struct Tested {
    /// Where to.
    pub url: String,
    /// The headers that were signed and sent, beside static ones.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
    /// The answer: its status and the beginning of its body.
    pub answer: Option<(u16, String)>,
    /// Why there is none.
    pub error: Option<&'static str>,
    /// How long it took.
    pub timings: Timings,
}

impl Webhooks {
    /// A webhook of `org`.
    ///
    /// # Errors
    /// There is none, or the store is away.
    pub async fn get(&self, org: OrgId, id: WebhookId) -> Result<Webhook, WebhookError> {
        sql::get(&self.0.store, &self.0.keys, org, id).await?.ok_or(WebhookError::NotFound)
    }

    /// Webhooks of `org` in the order in which they were made, from after that one.
    ///
    /// # Errors
    /// The store is away.
    pub async fn list(
        &self,
        org: OrgId,
        slice: (Option<WebhookId>, bool),
        rows: i64,
    ) -> Result<Vec<Webhook>, StoreError> {
        sql::list(&self.0.store, &self.0.keys, org, slice, rows).await
    }

    /// Makes a webhook. The row that `extra` makes of it is stored with it or not at all.
    ///
    /// # Errors
    /// See [`WebhookError`].
    pub async fn create(
        &self,
        by: By,
        org: OrgId,
        new: NewWebhook,
        extra: impl FnOnce(WebhookId) -> Option<Row>,
    ) -> Result<IssuedSecret, WebhookError> {
        check(&new.filters, &new.description)?;
        self.0.check_address(&new.url).await?;
        let now = Timestamp::now();
        let secret = SigningSecret::generate()?;
        let webhook = Webhook {
            org,
            id: WebhookId::generate(),
            url: new.url,
            filters: new.filters,
            description: new.description,
            enabled: new.enabled,
            disabled_reason: None,
            ordered: new.ordered,
            headers: new.headers,
            secret: secret.clone(),
            previous: None,
            version: 1,
            failing_since: None,
            created_at: now,
            updated_at: now,
        };
        let changing = self.0.writer.outbox().changing().await;
        if sql::count(&self.0.store, org).await? >= MOST_WEBHOOKS {
            return Err(WebhookError::TooMany(MOST_WEBHOOKS));
        }
        let mut op = Op::default();
        sql::insert(&mut op, &webhook, &self.0.keys)?;
        noted(&mut op, by, (org, webhook.id), Action::WebhookCreated);
        op.rows.extend(extra(webhook.id));
        self.0.writer.commit(op).await?;
        changing.put(org, webhook.subscription());
        Ok(IssuedSecret { webhook, secret })
    }

    /// Changes a webhook's fields.
    ///
    /// # Errors
    /// See [`WebhookError`].
    pub async fn change(
        &self,
        by: By,
        org: OrgId,
        id: WebhookId,
        patch: WebhookPatch,
    ) -> Result<Webhook, WebhookError> {
        if let Change::Set(url) = &patch.url {
            self.0.check_address(url).await?;
        }
        let decide = |webhook: Webhook, op: &mut Op| {
            let before = webhook.enabled;
            let webhook = patched(webhook, patch.clone())?;
            let switched = (webhook.enabled != before).then_some(match webhook.enabled {
                true => Action::WebhookEnabled,
                false => Action::WebhookDisabled,
            });
            let changed = (switched.is_none() || patch.has_fields()).then_some(Action::WebhookChanged);
            for action in [changed, switched].into_iter().flatten() {
                noted(op, by.clone(), (org, id), action);
            }
            Ok(webhook)
        };
        self.0.retry(org, id, decide).await
    }

    /// Gives the webhook a new secret; the old one signs too until `grace` is over. If two live already, the older
    /// ends now.
    ///
    /// # Errors
    /// See [`WebhookError`].
    pub async fn rotate(
        &self,
        by: By,
        org: OrgId,
        id: WebhookId,
        grace: Duration,
        extra: Option<Row>,
    ) -> Result<IssuedSecret, WebhookError> {
        let secret = SigningSecret::generate()?;
        let webhook = self.0.retry(org, id, |mut webhook, op| {
            let ends = webhook.updated_at.plus_ms(i64::try_from(grace.as_millis()).unwrap_or(i64::MAX));
            let replaced = std::mem::replace(&mut webhook.secret, secret.clone());
            webhook.previous = (!grace.is_zero()).then_some((replaced, ends));
            noted(op, by.clone(), (org, id), Action::WebhookSecretRotated);
            op.rows.extend(extra.clone());
            Ok(webhook)
        });
        Ok(IssuedSecret { webhook: webhook.await?, secret })
    }

    /// Deletes a webhook with its deliveries.
    ///
    /// # Errors
    /// See [`WebhookError`].
    pub async fn delete(&self, by: By, org: OrgId, id: WebhookId) -> Result<(), WebhookError> {
        let changing = self.0.writer.outbox().changing().await;
        let mut op = Op::default();
        sql::delete(&mut op, org, id);
        noted(&mut op, by, (org, id), Action::WebhookDeleted);
        match self.0.writer.commit(op).await {
            Err(WriteError::Conflict) => return Err(WebhookError::NotFound),
            other => other?,
        }
        changing.remove(org, id);
        Ok(())
    }

    /// Sends a test event and waits for what comes back.
    ///
    /// # Errors
    /// There is no such webhook, or nothing can be sent right now.
    pub async fn test(&self, org: OrgId, id: WebhookId, kind: &str) -> Result<Tested, WebhookError> {
        let webhook = self.get(org, id).await?;
        let event = EventId::generate();
        let at = Timestamp::now();
        let body = json!({
            "id": event, "type": kind, "timestamp": at, "organization_id": org, "conversation_id": null,
            "sequence": null, "data": {"test": true, "webhook": {"id": webhook.id}},
        })
        .to_string();
        let message = Message { id: event.to_string(), at, body: Bytes::from(body.clone()) };
        let headers = exchange::our_headers(&webhook, &message).to_vec();
        let url = webhook.url.to_string();
        let dispatcher = self.0.dispatcher.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let sent = dispatcher.ok_or(WebhookError::Busy)?.send(SendNow { webhook, message });
        let (answered, timings) = sent.await.map_err(|_| WebhookError::Busy)?;
        let error = match &answered {
            Ok(answer) if answer.status.is_success() => None,
            Ok(_) => Some("unsuccessful_status"),
            Err(failure) => Some(failure.as_str()),
        };
        let answer = answered.ok().map(|answer| (answer.status.as_u16(), answer.body));
        Ok(Tested { url, headers, body, answer, error, timings })
    }

    /// Deliveries to a webhook of `org`, in the order in which they were made, from after that one.
    ///
    /// # Errors
    /// There is no such webhook, or the store is away.
    pub async fn deliveries(
        &self,
        org: OrgId,
        id: WebhookId,
        filter: &DeliveryFilter,
        slice: (Option<DeliveryId>, bool),
        rows: i64,
    ) -> Result<Vec<Delivery>, WebhookError> {
        let webhook = self.get(org, id).await?;
        Ok(sql::deliveries::list(&self.0.store, (org, webhook.id), filter, slice, rows).await?)
    }

    /// A delivery of `org` with its attempts.
    ///
    /// # Errors
    /// There is none, or the store is away.
    pub async fn delivery(
        &self,
        org: OrgId,
        id: DeliveryId,
    ) -> Result<(Delivery, Vec<Attempt>), WebhookError> {
        let delivery = sql::deliveries::get(&self.0.store, org, id).await?.ok_or(WebhookError::NotFound)?;
        let attempts = sql::deliveries::attempts(&self.0.store, org, id).await?;
        Ok((delivery, attempts))
    }

    /// Makes a new delivery of the same event to the same webhook.
    ///
    /// # Errors
    /// There is no such delivery, or its event was erased.
    pub async fn redeliver(
        &self,
        org: OrgId,
        id: DeliveryId,
        extra: impl FnOnce(DeliveryId) -> Option<Row>,
    ) -> Result<DeliveryId, WebhookError> {
        let delivery = sql::deliveries::get(&self.0.store, org, id).await?.ok_or(WebhookError::NotFound)?;
        let body = sql::deliveries::body(&self.0.store, org, delivery.event_id).await?;
        if body.is_none() {
            return Err(WebhookError::Erased);
        }
        let what = Announced {
            org,
            event: delivery.event_id.to_string(),
            kind: delivery.event_type,
            conversation: delivery.conversation_id,
            sequence: delivery.sequence,
        };
        let mut op = Op::default();
        let made =
            outbox::put_delivery(&mut op, delivery.webhook_id, &what, Origin::Redelivery, Timestamp::now().0);
        op.rows.extend(extra(made));
        self.0.writer.outbox().nudge(&mut op, org, delivery.webhook_id);
        self.0.writer.commit(op).await?;
        Ok(made)
    }
}

impl Shared {
    /// Refuses an address that may not be sent to. A name that does not resolve yet is taken: each attempt looks.
    async fn check_address(&self, url: &super::endpoint::EndpointUrl) -> Result<(), WebhookError> {
        match tokio::time::timeout(RESOLVE_WITHIN, exchange::resolve(url, &self.policy)).await {
            Ok(Err(Failure::NotAllowed(not))) => Err(not.into()),
            _ => Ok(()),
        }
    }

    /// Reads the webhook, decides, writes; once more if someone else changed it in between.
    async fn retry(
        &self,
        org: OrgId,
        id: WebhookId,
        mut decide: impl FnMut(Webhook, &mut Op) -> Result<Webhook, WebhookError>,
    ) -> Result<Webhook, WebhookError> {
        let mut round = 1;
        loop {
            let changing = self.writer.outbox().changing().await;
            let mut webhook =
                sql::get(&self.store, &self.keys, org, id).await?.ok_or(WebhookError::NotFound)?;
            webhook.updated_at = Timestamp::now();
            webhook.version += 1;
            let mut op = Op::default();
            let webhook = decide(webhook, &mut op)?;
            sql::update(&mut op, &webhook, &self.keys)?;
            match self.writer.commit(op).await {
                Err(WriteError::Conflict) if round < ROUNDS => round += 1,
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    changing.put(org, webhook.subscription());
                    return Ok(webhook);
                }
            }
        }
    }

    /// Disables a webhook and tells the others, in one transaction with the attempt that was the reason.
    pub(super) async fn disable(
        &self,
        org: OrgId,
        id: WebhookId,
        reason: &'static str,
        attempt: Op,
    ) -> Result<(), WebhookError> {
        let length = outbox::stream_length(&self.store, org).await?;
        let outbox = self.writer.outbox().clone();
        let disabled = self.retry(org, id, move |mut webhook, op| {
            op.statements.extend(attempt.statements.clone());
            if !webhook.enabled {
                return Ok(webhook);
            }
            webhook.enabled = false;
            webhook.disabled_reason = Some(reason.to_owned());
            noted(op, By::System, (org, id), Action::WebhookDisabled);
            outbox::grow_stream(op, org, length, 1);
            outbox.publish_to_others(op, disabled_event(&webhook, length + 1), None, Some(id), complete);
            Ok(webhook)
        });
        match disabled.await {
            Ok(_) | Err(WebhookError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn disabled_event(webhook: &Webhook, sequence: i64) -> EventRow {
    let at = webhook.updated_at;
    EventRow {
        stream_id: webhook.org.to_string().into(),
        sequence,
        id: EventId::generate(),
        org: webhook.org,
        kind: EventKind::WebhookDisabled,
        turn: None,
        data: json!({ "webhook": WebhookView::of(webhook, at) }).to_string().into(),
        at,
    }
}

/// Who did it stands in the audit log, with the deed or not at all.
fn noted(op: &mut Op, by: By, (org, id): (OrgId, WebhookId), action: Action) {
    Entry::new(org, by, action, Target::Webhook(id)).write(op);
}

fn patched(mut webhook: Webhook, patch: WebhookPatch) -> Result<Webhook, WebhookError> {
    webhook.url = match patch.url {
        Change::Keep => webhook.url,
        Change::Reset => return Err(InvalidField::new("url", "must not be null").into()),
        Change::Set(url) => url,
    };
    webhook.filters.events = patch.events.apply(webhook.filters.events, Vec::new());
    webhook.filters.channels = patch.channels.apply(webhook.filters.channels, Vec::new());
    webhook.filters.topics = patch.topics.apply(webhook.filters.topics, Vec::new());
    webhook.description = patch.description.apply(webhook.description, String::new());
    webhook.ordered = patch.ordered.apply(webhook.ordered, false);
    webhook.headers = patch.headers.apply(webhook.headers, super::endpoint::Headers::default());
    let enabled = patch.enabled.apply(webhook.enabled, true);
    if enabled && !webhook.enabled {
        webhook.disabled_reason = None;
        webhook.failing_since = None;
    }
    webhook.enabled = enabled;
    check(&webhook.filters, &webhook.description)?;
    Ok(webhook)
}
