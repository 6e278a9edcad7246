//! Deliveries: what was sent where, what came of it, and once more.

use actix_web::{HttpResponse, http::header, web::Data};
use openclaw_actors::{
    clock::Timestamp,
    idempotency::{Effect, Stamp},
    ids::{DeliveryId, EventId, WebhookId},
    outbox::EventPattern,
    webhook::delivery::{Attempt, Delivery, DeliveryFilter, DeliveryState},
};
use serde::{Deserialize, Serialize};

use crate::{
    http::{
        auth::{Caller, ReadWebhooks, WriteWebhooks},
        error::ApiError,
        idempotency::{Once, Repeatable, of_another_kind, replayed},
        json::OptionalJson,
        page::{Filters, List, Order, Page},
        query::PathId,
    },
    server::Parts,
};

/// What a list of deliveries may be asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WhichDeliveries {
    state: Option<DeliveryState>,
    /// A type of events, a family of them, or the id of one.
    event: Option<String>,
}

impl Filters for WhichDeliveries {}

impl WhichDeliveries {
    fn read(self) -> Result<DeliveryFilter, ApiError> {
        let mut filter = DeliveryFilter { state: self.state, ..DeliveryFilter::default() };
        match self.event {
            None => {}
            Some(event) if event.parse::<EventId>().is_ok() => filter.event = Some(event),
            Some(event) if event.parse::<EventPattern>().is_ok() => {
                // Names of types hold no other sign that LIKE knows.
                filter.kind = Some(event.replace('*', "%"));
            }
            Some(_) => {
                return Err(ApiError::invalid_field("event", "it must be a type of events or an event's id"));
            }
        }
        Ok(filter)
    }
}

/// `GET /v1/webhooks/{id}/deliveries`
///
/// # Errors
/// There is no such webhook, the cursor is not one of this list, or the store is away.
pub async fn list(
    caller: Caller<ReadWebhooks>,
    id: PathId<WebhookId>,
    list: List<WhichDeliveries>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let after: Option<DeliveryId> = list.page.after()?;
    let slice = (after, list.page.order == Order::Desc);
    let filter = list.filters.clone().read()?;
    let found = parts.webhooks.deliveries(caller.org, *id, &filter, slice, list.page.rows()).await?;
    let page = Page::new(found, &list.page, |delivery| delivery.id);
    Ok(HttpResponse::Ok().json(page.map(|delivery| ListedView {
        attempt_count: delivery.attempt_count,
        delivery: DeliveryView::of(delivery),
    })))
}

/// `GET /v1/deliveries/{id}`
///
/// # Errors
/// There is no such delivery, or the store is away.
pub async fn get(
    caller: Caller<ReadWebhooks>,
    id: PathId<DeliveryId>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let (delivery, attempts) = parts.webhooks.delivery(caller.org, *id).await?;
    Ok(HttpResponse::Ok().json(DetailView { delivery: DeliveryView::of(delivery), attempts }))
}

/// The body of a request that needs none.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoBody {}

/// `POST /v1/deliveries/{id}/redeliver`
///
/// # Errors
/// There is no such delivery, or what it was about is erased.
pub async fn redeliver(
    caller: Caller<WriteWebhooks>,
    id: PathId<DeliveryId>,
    repeatable: Repeatable,
    body: OptionalJson<NoBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let (scope, of, org, shared) = (caller.credential(), *id, caller.org, parts.clone());
    let act = move |stamp: Option<Stamp>| async move {
        let row = |delivery| stamp.map(|stamp| stamp.row(&Effect::Delivery { delivery }));
        let delivery = shared.webhooks.redeliver(org, of, row).await?;
        Ok((delivery, Effect::Delivery { delivery }))
    };
    let (made, is_repeat) = match repeatable.once(&parts, scope, &body.raw, act).await? {
        Once::First(delivery) => (delivery, false),
        Once::Repeat(Effect::Delivery { delivery }) => (delivery, true),
        Once::Repeat(other) => return Err(of_another_kind(&other)),
    };
    let (delivery, attempts) = parts.webhooks.delivery(org, made).await?;
    let answer = HttpResponse::Accepted()
        .insert_header((header::LOCATION, format!("/v1/deliveries/{made}")))
        .json(DetailView { delivery: DeliveryView::of(delivery), attempts });
    Ok(if is_repeat { replayed(answer) } else { answer })
}

/// A delivery as it is everywhere.
#[derive(Debug, Serialize)]
struct DeliveryView {
    id: DeliveryId,
    webhook_id: WebhookId,
    event_id: EventId,
    event_type: String,
    conversation_id: Option<String>,
    sequence: Option<i64>,
    origin: String,
    state: String,
    next_attempt_at: Option<Timestamp>,
    created_at: Timestamp,
    settled_at: Option<Timestamp>,
}

impl DeliveryView {
    fn of(delivery: Delivery) -> Self {
        let in_conversation = !delivery.conversation_id.is_empty();
        Self {
            next_attempt_at: delivery.next_attempt_at(),
            id: delivery.id,
            webhook_id: delivery.webhook_id,
            event_id: delivery.event_id,
            event_type: delivery.event_type,
            conversation_id: in_conversation.then_some(delivery.conversation_id),
            sequence: in_conversation.then_some(delivery.sequence),
            origin: delivery.origin,
            state: delivery.state,
            created_at: delivery.created_at,
            settled_at: delivery.settled_at,
        }
    }
}

#[derive(Debug, Serialize)]
struct ListedView {
    #[serde(flatten)]
    delivery: DeliveryView,
    attempt_count: i64,
}

#[derive(Debug, Serialize)]
struct DetailView {
    #[serde(flatten)]
    delivery: DeliveryView,
    attempts: Vec<Attempt>,
}
