//! Callers from customers' pages: what a client token, a stream ticket or a publishable key opens.
//!
//! A handler that customers may reach says so in its signature, by [`Party`] or [`StreamParty`] in place of a secret
//! key's caller. All others refuse them.

use std::ops::{Deref, DerefMut};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use futures_util::future::{Ready, ready};
use openclaw_actors::{
    ids::ConversationId,
    keys::{KeyKind, Origin, Principal},
    limiter::StreamPermit,
};

use super::{Caller, Page, Permission, Standing, WriteConversations};
use crate::{
    http::{
        error::ApiError,
        tickets::{Seat, Unseated},
    },
    server::Parts,
};

/// The path's parameter that names the conversation, on every route that customers may reach.
const CONVERSATION: &str = "id";

/// A secret key, or the customer of the conversation that the path names.
#[derive(Debug)]
pub struct Party<P>(Caller<P>);

impl<P> Deref for Party<P> {
    type Target = Caller<P>;

    fn deref(&self) -> &Caller<P> {
        &self.0
    }
}

impl<P: Permission> Party<P> {
    fn admitted(request: &HttpRequest) -> Result<Self, ApiError> {
        let caller = Caller::known(request)?;
        match &caller.principal.client {
            None => caller.as_secret_key(request)?,
            Some(client) => {
                from_own_page(&caller.principal, request)?;
                let named: Option<ConversationId> =
                    request.match_info().get(CONVERSATION).and_then(|id| id.parse().ok());
                if named.is_some_and(|named| named != client.conversation) {
                    return Err(elsewhere());
                }
            }
        }
        caller.may()?;
        caller.is_counted(request)?;
        Ok(Self(caller))
    }
}

impl<P: Permission + 'static> FromRequest for Party<P> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::admitted(request))
    }
}

/// The same for a stream that is opened by GET, with its place among the open ones; also by a ticket.
#[derive(Debug)]
pub struct StreamParty<P> {
    /// Who.
    pub caller: Caller<P>,
    /// Held as long as the stream is open.
    pub permit: StreamPermit,
    ticket: Option<Unseated>,
}

impl<P> StreamParty<P> {
    /// Takes the ticket's only seat, whoever sits there; nothing without a ticket.
    ///
    /// # Errors
    /// The ticket is no longer good.
    pub async fn seat(&mut self, parts: &Parts) -> Result<Option<Seat>, ApiError> {
        match self.ticket.take() {
            Some(ticket) => ticket.take_seat(parts).await.map(Some),
            None => Ok(None),
        }
    }
}

impl<P: Permission + 'static> FromRequest for StreamParty<P> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::admitted(request))
    }
}

impl<P: Permission> StreamParty<P> {
    fn admitted(request: &HttpRequest) -> Result<Self, ApiError> {
        let ticket = Standing::ticket(request);
        let caller = match &ticket {
            None => Party::admitted(request)?.0,
            // Looked at with its origin and its conversation when it was read.
            Some(_) => {
                let caller = Caller::known(request)?;
                caller.may()?;
                caller.is_counted(request)?;
                caller
            }
        };
        let parts = request.app_data::<web::Data<Parts>>().ok_or_else(ApiError::unavailable)?;
        let permit = caller.open_stream(parts)?;
        Ok(Self { caller, permit, ticket })
    }
}

/// Whoever may start a conversation: a secret key, or a page with a publishable one.
#[derive(Debug)]
pub struct Starter(Caller<WriteConversations>);

impl Deref for Starter {
    type Target = Caller<WriteConversations>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Starter {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl FromRequest for Starter {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::admitted(request))
    }
}

impl Starter {
    /// It is a page, with a publishable key.
    #[must_use]
    pub fn is_page(&self) -> bool {
        self.principal.kind == KeyKind::Publishable
    }

    fn admitted(request: &HttpRequest) -> Result<Self, ApiError> {
        let caller = Caller::known(request)?;
        if caller.principal.client.is_some() {
            return Err(elsewhere());
        }
        if caller.principal.kind == KeyKind::Publishable {
            from_page(&caller.principal.allowed_origins, request)?;
        } else {
            caller.as_secret_key(request)?;
            caller.may()?;
        }
        caller.is_counted(request)?;
        Ok(Self(caller))
    }
}

/// What a client token is refused on all routes but its own.
pub(in crate::http) fn elsewhere() -> ApiError {
    ApiError::forbidden("client_token", "a client token opens the routes of its own conversation only")
        .param("authorization")
}

/// A token that a publishable key made is for that key's pages; one from a server is bound to none.
fn from_own_page(principal: &Principal, request: &HttpRequest) -> Result<(), ApiError> {
    match principal.kind {
        KeyKind::Publishable => from_page(&principal.allowed_origins, request),
        KeyKind::Primary | KeyKind::Secondary | KeyKind::Restricted => Ok(()),
    }
}

fn from_page(allowed: &[Origin], request: &HttpRequest) -> Result<(), ApiError> {
    let origin =
        request.headers().get(actix_web::http::header::ORIGIN).and_then(|origin| origin.to_str().ok());
    if origin.is_some_and(|origin| allowed.iter().any(|allowed| allowed.admits(origin))) {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "origin_not_allowed",
        "this page may not use that key: its origin must be among the key's `allowed_origins`",
    )
    .param("origin"))
}

/// The page that a request came from, for tickets.
pub(in crate::http) fn page_name(request: &HttpRequest) -> String {
    match Page::of(request) {
        Page::Own => String::new(),
        Page::Foreign(origin) => origin,
    }
}
