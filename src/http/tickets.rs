//! Stream tickets: what an `EventSource` or a WebSocket is opened with in a browser, where no header can be sent.
//!
//! A ticket says itself what it is for (see `keys`). What it cannot say is whether it was used: the first use is
//! stored, so that whoever comes back after a restart is still known. One connection at a time sits on its seat; a new
//! one ends the old.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, dev::ServiceRequest, web::Data};
use dashmap::DashMap;
use futures_util::task::AtomicWaker;
use openclaw_actors::{
    clock::Timestamp,
    conversation::sql::read,
    ids::{ConversationId, KeyId},
    keys::{AuthError, KeyRing, OriginMark, Principal, Ticket},
    writer::WriteError,
};
use serde::{Deserialize, Serialize};

use super::{
    auth::{Party, ReadConversations, WriteConversations, not_found_out, opens_a_stream, page_name},
    conversations::turns::Empty,
    error::ApiError,
    idempotency::Repeatable,
    json::OptionalJson,
    query::PathId,
};
use crate::server::Parts;

/// A ticket stands in a URL, which ends up in places: it is good for the page that has just asked for it.
const FIRST_USE_WITHIN: Duration = Duration::from_secs(60);

/// For how long the same URL opens the stream again after it broke.
const GOOD_FOR: Duration = Duration::from_secs(3_600);

/// The seats of all tickets that are in use. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tickets {
    seats: Arc<DashMap<KeyId, Arc<Place>>>,
}

/// One ticket's seat.
#[derive(Default)]
struct Place {
    /// Who sits there: the one with that number.
    latest: AtomicU64,
    waker: AtomicWaker,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.latest.load(Ordering::Relaxed))
    }
}

/// A ticket that was looked at and not used yet.
#[derive(Debug, Clone, Copy)]
pub struct Unseated(pub(super) Ticket);

/// The ticket in a request's URL. Only what opens a stream takes one.
pub(super) fn ticket_in(request: &ServiceRequest) -> Option<String> {
    if !opens_a_stream(request) {
        return None;
    }
    let pairs = request.query_string().split('&').filter_map(|pair| pair.split_once('='));
    let mut tickets = pairs.filter(|(name, _)| *name == "ticket");
    tickets.next().map(|(_, ticket)| ticket.to_owned())
}

impl Unseated {
    /// Looks at a ticket, and at whether it may be used here: for this conversation, by this page.
    pub(super) async fn read(
        text: &str,
        request: &ServiceRequest,
        parts: &Parts,
    ) -> Result<(Principal, Self), ApiError> {
        let ticket = parts.keys.read_ticket(text).ok_or_else(ApiError::unauthenticated)?;
        // The path, because no route has been looked for yet.
        let own = format!("/v1/conversations/{}/", ticket.conversation);
        if !request.path().starts_with(&own) {
            let message = "a ticket opens the streams of its own conversation only";
            return Err(ApiError::forbidden("stream_ticket", message).param("ticket"));
        }
        if OriginMark::of(&page_name(request.request())) != ticket.origin {
            let message = "a ticket is for the page that asked for it";
            return Err(ApiError::forbidden("origin_not_allowed", message).param("origin"));
        }
        let holder = parts.keys.holder(&ticket).await.map_err(not_found_out)?;
        holder.map(|holder| (holder, Self(ticket))).ok_or_else(ApiError::unauthenticated)
    }

    /// From now on this is the ticket's connection.
    pub(super) async fn take_seat(self, parts: &Parts) -> Result<Seat, ApiError> {
        let Self(ticket) = self;
        let age = age(&ticket);
        let refused = || ApiError::unauthenticated();
        if age > GOOD_FOR {
            return Err(refused());
        }
        let known = parts.tickets.seats.contains_key(&ticket.id);
        if !known {
            let is_good = parts.keys.use_ticket(&ticket, age <= FIRST_USE_WITHIN).await?;
            if !is_good {
                return Err(refused());
            }
        }
        let place = Arc::clone(&parts.tickets.seats.entry(ticket.id).or_default());
        let number = place.latest.fetch_add(1, Ordering::AcqRel) + 1;
        place.waker.wake();
        Ok(Seat { place, number })
    }
}

fn not_made(error: AuthError) -> ApiError {
    match error {
        AuthError::Refused => ApiError::unauthenticated(),
        AuthError::Store(error) => not_found_out(error),
    }
}

fn age(ticket: &Ticket) -> Duration {
    Duration::from_millis(Timestamp::now().0.saturating_sub(ticket.made_at.0).max(0).unsigned_abs())
}

impl Tickets {
    /// Forgets tickets that open nothing any more.
    ///
    /// # Errors
    /// The store is away.
    pub(crate) async fn sweep(&self, keys: &KeyRing) -> Result<(), WriteError> {
        let edge = Timestamp::now().plus_ms(-(GOOD_FOR.as_millis() as i64));
        // An id begins with the time at which it was made.
        let first = KeyId::edge_at(edge);
        self.seats.retain(|id, _| *id >= first);
        keys.forget_tickets(edge).await
    }
}

/// The connection that a ticket opened last.
#[derive(Debug)]
pub struct Seat {
    place: Arc<Place>,
    number: u64,
}

impl Seat {
    /// Ready once another connection has come with the same ticket.
    pub(super) fn poll_taken(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_taken() {
            return Poll::Ready(());
        }
        self.place.waker.register(cx.waker());
        // It may have been taken between the look and the waker.
        if self.is_taken() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn is_taken(&self) -> bool {
        self.place.latest.load(Ordering::Acquire) != self.number
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Issued {
    ticket: String,
    /// Until when it must have been used for the first time.
    expires_at: Timestamp,
}

/// `POST /v1/conversations/{id}/stream_tickets`
pub(super) async fn issue(
    caller: Party<ReadConversations>,
    id: PathId<ConversationId>,
    request: HttpRequest,
    _: Repeatable,
    _: OptionalJson<Empty>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    if read::conversation(&parts.store, (caller.org, *id)).await?.is_none() {
        return Err(ApiError::not_found());
    }
    let origin = OriginMark::of(&page_name(&request));
    let (text, ticket) = parts.keys.stream_ticket(&caller.principal, *id, origin);
    let first_use = ticket.made_at.plus_ms(FIRST_USE_WITHIN.as_millis() as i64);
    let expires_at = ticket.credential_ends_at.map_or(first_use, |end| end.min(first_use));
    Ok(HttpResponse::Created().json(Issued { ticket: text, expires_at }))
}

/// How long a client token is good for unless it is said: a day's conversation.
const TTL_SECONDS: u64 = 86_400;

/// A customer who comes back after a month begins anew.
const TTL_SECONDS_MOST: u64 = 2_592_000;

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ClientTokenBody {
    ttl_seconds: Option<u64>,
}

/// A client token with its end.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ClientToken {
    pub(super) token: String,
    pub(super) expires_at: Option<Timestamp>,
}

/// The token of a conversation that a page starts, and whom it stands for.
pub(super) async fn for_start(
    parts: &Parts,
    by: &Principal,
    conversation: ConversationId,
) -> Result<(ClientToken, Principal), ApiError> {
    let made = parts.keys.client_token(by, conversation, Duration::from_secs(TTL_SECONDS)).await;
    let (token, customer) = made.map_err(not_made)?;
    Ok((ClientToken { token, expires_at: customer.expires_at }, customer))
}

/// `POST /v1/conversations/{id}/client_tokens`
pub(super) async fn issue_client_token(
    caller: Party<WriteConversations>,
    id: PathId<ConversationId>,
    _: Repeatable,
    body: OptionalJson<ClientTokenBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let seconds = body.ttl_seconds.unwrap_or(TTL_SECONDS);
    if !(1..=TTL_SECONDS_MOST).contains(&seconds) {
        let message = format!("it must be from 1 to {TTL_SECONDS_MOST}");
        return Err(ApiError::invalid_field("ttl_seconds", message));
    }
    if read::conversation(&parts.store, (caller.org, *id)).await?.is_none() {
        return Err(ApiError::not_found());
    }
    let made = parts.keys.client_token(&caller.principal, *id, Duration::from_secs(seconds)).await;
    let (token, customer) = made.map_err(not_made)?;
    Ok(HttpResponse::Created().json(ClientToken { token, expires_at: customer.expires_at }))
}
