//! Who may call, and how often.
//!
//! [`admit`] stands around every route of the API: it finds out who calls and asks the limiter, and afterwards writes
//! the limit's headers and gives back what did not count. Nothing is refused there. That is up to the extractor in a
//! handler's signature, [`Caller`], which names the scope that the handler needs: a handler without one does not know
//! whose data it is about. Extractors run before the body is read and in the order 401, 403, 429.

mod customer;
mod limits;
mod origin;
mod permission;

use std::{marker::PhantomData, sync::Arc};

use actix_web::{
    Error, FromRequest, HttpMessage, HttpRequest,
    body::{BoxBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::header::{self, HeaderMap, HeaderValue},
    middleware::Next,
    web,
};
use futures_util::future::{Ready, ready};
use openclaw_actors::{
    audit::By,
    ids::OrgId,
    keys::{AuthError, Granter, KeyKind, Principal, Scope},
    limiter::StreamPermit,
    store::StoreError,
};
use tokio::time::Instant;

use self::limits::Counted;
pub use self::{
    customer::{Party, Starter, StreamParty},
    permission::*,
};
pub(super) use self::{
    customer::{elsewhere, page_name},
    limits::opens_a_stream,
    origin::{Page, client_address, counted_as},
};
use super::{
    error::ApiError,
    openapi, redact, sse,
    tickets::{Unseated, ticket_in},
};
use crate::server::Parts;

/// A customer's open tabs.
const STREAMS_PER_CLIENT: u32 = 8;

/// Where the API begins. What stands outside of it has no callers, and neither has the document of it.
const API: &str = "/v1/";

/// What is known of whoever sent a request.
#[allow(
    clippy::large_enum_variant,
    reason = "almost every request has a key; boxing it would cost each an allocation"
)]
enum Standing {
    /// Nobody we know.
    Stranger,
    /// It could not be found out.
    Unknown(Option<ApiError>),
    /// A key, and what the limiter said.
    Known { principal: Principal, counted: Counted, ticket: Option<Box<Unseated>> },
}

impl Standing {
    /// The ticket that the caller came with.
    fn ticket(request: &HttpRequest) -> Option<Unseated> {
        match request.extensions().get::<Self>()? {
            Self::Known { ticket, .. } => ticket.as_deref().copied(),
            Self::Stranger | Self::Unknown(_) => None,
        }
    }
}

/// Finds out who calls, and lets the answer say what is left of their limit.
///
/// # Errors
/// Those of the inner service.
pub async fn admit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if !request.path().starts_with(API) || request.path() == openapi::PATH {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    // Before anything else, so that no wait of ours moves the request into another minute.
    let arrived = Instant::now();
    let Some(parts) = request.app_data::<web::Data<Parts>>().cloned() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let standing = standing(&request, &parts, arrived).await;
    request.extensions_mut().insert(standing);
    let mut response = next.call(request).await?.map_into_boxed_body();
    let standing = response.request().extensions_mut().remove::<Standing>();
    if let Some(Standing::Known { counted, principal, ticket }) = standing {
        counted.settle(&parts.limiter, &mut response).await;
        if ticket.is_some() {
            response = sse::bearable(response);
        }
        if is_page(&principal) {
            response = without_what_is_hidden(response);
        }
    }
    Ok(response)
}

/// Is it a customer's page that reads the answer?
fn is_page(principal: &Principal) -> bool {
    principal.client.is_some() || principal.kind == KeyKind::Publishable
}

/// A whole answer as a customer may see it. Streams do the same for themselves, event by event.
fn without_what_is_hidden(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    if response.response().error().is_some() || response.headers().get(header::CONTENT_TYPE) != Some(&JSON) {
        return response;
    }
    let pattern = response.request().match_pattern();
    let whole = if pattern.is_some_and(|pattern| pattern.ends_with("/handover")) { "handover" } else { "" };
    response.map_body(|_, body| match body.try_into_bytes() {
        Ok(bytes) => BoxBody::new(redact::for_customers(whole, &bytes)),
        Err(body) => body,
    })
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

async fn standing(request: &ServiceRequest, parts: &Parts, arrived: Instant) -> Standing {
    let (known, ticket) = match (bearer(request.headers()), ticket_in(request)) {
        (Some(text), _) => (parts.keys.authenticate(text).await, None),
        (None, Some(text)) => match Unseated::read(&text, request, parts).await {
            Ok((principal, ticket)) => (Ok(principal), Some(Box::new(ticket))),
            Err(refusal) => return Standing::Unknown(Some(refusal)),
        },
        (None, None) => return Standing::Stranger,
    };
    let principal = match known {
        Ok(principal) => principal,
        Err(AuthError::Refused) => return Standing::Stranger,
        Err(AuthError::Store(error)) => return Standing::Unknown(Some(not_found_out(error))),
    };
    match Counted::take(&parts.limiter, &principal, request, arrived).await {
        Ok(counted) => Standing::Known { principal, counted, ticket },
        Err(error) => Standing::Unknown(Some(ApiError::unavailable().caused_by(error))),
    }
}

/// What a caller that is still connected may do by now.
///
/// # Errors
/// Its key has ended, or it cannot be found out.
pub(super) async fn renewed(parts: &Parts, principal: &Principal) -> Result<Principal, ApiError> {
    let renewed = parts.keys.renewed(principal).await.map_err(not_found_out)?;
    renewed.ok_or_else(ApiError::unauthenticated)
}

pub(super) fn not_found_out(error: Arc<StoreError>) -> ApiError {
    if error.is_away() { ApiError::unavailable().caused_by(error) } else { ApiError::internal(error) }
}

/// The token of `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

/// A secret key that may do what `P` says. Stands first among a handler's arguments, so that a stranger learns nothing
/// from what the others refuse.
#[derive(Debug)]
pub struct Caller<P> {
    /// Whose key it is: part of every look-up.
    pub org: OrgId,
    /// Everything that is known of the key.
    pub principal: Principal,
    permission: PhantomData<P>,
}

impl<P: Permission> Caller<P> {
    /// By a secret key.
    fn admitted(request: &HttpRequest) -> Result<Self, ApiError> {
        let caller = Self::known(request)?;
        caller.as_secret_key(request)?;
        caller.may()?;
        caller.is_counted(request)?;
        Ok(caller)
    }

    /// Somebody we know, whatever they may do.
    fn known(request: &HttpRequest) -> Result<Self, ApiError> {
        match request.extensions_mut().get_mut::<Standing>() {
            None | Some(Standing::Stranger) => Err(ApiError::unauthenticated()),
            // An error is said once; whoever asks again hears the same without its cause.
            Some(Standing::Unknown(error)) => Err(error.take().unwrap_or_else(ApiError::unavailable)),
            Some(Standing::Known { principal, .. }) => {
                Ok(Self { org: principal.org, principal: principal.clone(), permission: PhantomData })
            }
        }
    }

    /// Refuses whoever is none, and a secret key that a web page has.
    fn as_secret_key(&self, request: &HttpRequest) -> Result<(), ApiError> {
        if self.principal.client.is_some() || Standing::ticket(request).is_some() {
            return Err(customer::elsewhere());
        }
        if self.principal.kind == KeyKind::Publishable {
            return Err(ApiError::forbidden("publishable_key", "a publishable key opens other routes only")
                .param(P::SCOPE.map_or("kind", Scope::as_str)));
        }
        match Page::of(request) {
            Page::Own => Ok(()),
            Page::Foreign(_) => Err(ApiError::forbidden(
                "secret_key_in_browser",
                "a secret key was sent by a web page, where anyone can read it: call from your own server, or use \
                 a publishable key, and rotate this one",
            )),
        }
    }

    /// Refuses whoever lacks the scope.
    fn may(&self) -> Result<(), ApiError> {
        P::SCOPE.map_or(Ok(()), |scope| self.require(scope))
    }

    /// Refuses whoever has asked too often.
    #[allow(clippy::unused_self, reason = "only for somebody who was let in so far")]
    fn is_counted(&self, request: &HttpRequest) -> Result<(), ApiError> {
        match request.extensions().get::<Standing>() {
            Some(Standing::Known { counted, .. }) => counted.admitted(),
            _ => Err(ApiError::unavailable()),
        }
    }
}

impl<P> Caller<P> {
    /// Refuses a caller without that scope: for what depends on a request's content.
    ///
    /// # Errors
    /// 403, naming the scope.
    pub fn require(&self, scope: Scope) -> Result<(), ApiError> {
        if self.principal.holds(scope) { Ok(()) } else { Err(ApiError::permission_denied(scope.as_str())) }
    }

    /// On whose word keys are made.
    #[must_use]
    pub fn granter(&self) -> Granter<'_> {
        Granter::Key(&self.principal)
    }

    /// Who did what this request does, for the audit log.
    #[must_use]
    pub fn by(&self) -> By {
        // Whoever holds a client token is the customer.
        if self.principal.client.is_some() { By::Customer } else { self.granter().into() }
    }

    /// Whose idempotency keys its own are: those of different credentials never meet.
    #[must_use]
    pub fn credential(&self) -> String {
        match self.principal.client {
            Some(client) => client.conversation.to_string(),
            None => self.principal.key.to_string(),
        }
    }

    /// It is a customer's page.
    #[must_use]
    pub fn is_page(&self) -> bool {
        is_page(&self.principal)
    }

    /// Counts a stream of this caller until the permit is dropped.
    ///
    /// # Errors
    /// 429 if the key holds as many as it may.
    pub fn open_stream(&self, parts: &Parts) -> Result<StreamPermit, ApiError> {
        let principal = &self.principal;
        let opened = match (principal.client, principal.quota) {
            (Some(client), _) => parts.open_streams.open_up_to(client.bucket, STREAMS_PER_CLIENT),
            (None, None) => return Ok(parts.open_streams.open_unlimited()),
            (None, Some(_)) => parts.open_streams.open(principal.key),
        };
        opened.map_err(limits::too_many_streams)
    }
}

impl<P: Permission + 'static> FromRequest for Caller<P> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::admitted(request))
    }
}

/// A caller that opens a stream by GET, with its place among the open ones.
#[derive(Debug)]
pub struct StreamCaller<P> {
    /// Who.
    pub caller: Caller<P>,
    /// Held as long as the stream is open.
    pub permit: StreamPermit,
}

impl<P: Permission + 'static> FromRequest for StreamCaller<P> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Caller::admitted(request).and_then(|caller| {
            let parts = request.app_data::<web::Data<Parts>>().ok_or_else(ApiError::unavailable)?;
            let permit = caller.open_stream(parts)?;
            Ok(Self { caller, permit })
        }))
    }
}

/// Whoever runs the server, by `server.admin_token`.
#[derive(Debug)]
pub struct Operator(());

impl Operator {
    /// Whose idempotency keys its own are. No key's id reads so.
    #[must_use]
    pub fn credential(&self) -> String {
        "operator".to_owned()
    }
}

impl FromRequest for Operator {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let parts = request.app_data::<web::Data<Parts>>();
        let expected = parts.and_then(|parts| parts.config.server.admin_token.as_ref());
        let is_theirs = match (expected, bearer(request.headers())) {
            (Some(expected), Some(token)) => expected.is(token.as_bytes()),
            _ => false,
        };
        ready(if is_theirs { Ok(Self(())) } else { Err(ApiError::unauthenticated()) })
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_bearer_token_is_read_and_nothing_else_is() {
        let read = |value: &str| {
            let request =
                TestRequest::default().insert_header((header::AUTHORIZATION, value)).to_http_request();
            bearer(request.headers()).map(str::to_owned)
        };
        assert_eq!(read("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(read("bearer  abc ").as_deref(), Some("abc"));
        for other in ["abc", "Basic abc", "Bearer", ""] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
