//! Who may call, and how often.
//!
//! [`admit`] stands around every route of the API: it finds out who calls and asks the limiter, and afterwards writes
//! the limit's headers and gives back what did not count. Nothing is refused there. That is up to the extractor in a
//! handler's signature, [`Caller`], which names the scope that the handler needs: a handler without one does not know
//! whose data it is about. Extractors run before the body is read and in the order 401, 403, 429.

mod limits;
mod permission;

use std::{marker::PhantomData, sync::Arc};

use actix_web::{
    Error, FromRequest, HttpMessage, HttpRequest,
    body::MessageBody,
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderMap},
    },
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
pub use self::permission::*;
use super::error::ApiError;
use crate::server::Parts;

/// Where the API begins. What stands outside of it has no callers.
const API: &str = "/v1/";

/// What is known of whoever sent a request.
enum Standing {
    /// Nobody we know.
    Stranger,
    /// It could not be found out.
    Unknown(Option<ApiError>),
    /// A key, and what the limiter said.
    Known { principal: Principal, counted: Counted },
}

/// Finds out who calls, and lets the answer say what is left of their limit.
///
/// # Errors
/// Those of the inner service.
pub async fn admit<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    // A preflight has no caller, and is never counted.
    if !request.path().starts_with(API) || request.method() == Method::OPTIONS {
        return next.call(request).await;
    }
    // Before anything else, so that no wait of ours moves the request into another minute.
    let arrived = Instant::now();
    let Some(parts) = request.app_data::<web::Data<Parts>>().cloned() else {
        return next.call(request).await;
    };
    let standing = standing(&request, &parts, arrived).await;
    request.extensions_mut().insert(standing);
    let mut response = next.call(request).await?;
    let standing = response.request().extensions_mut().remove::<Standing>();
    if let Some(Standing::Known { counted, .. }) = standing {
        counted.settle(&parts.limiter, &mut response).await;
    }
    Ok(response)
}

async fn standing(request: &ServiceRequest, parts: &Parts, arrived: Instant) -> Standing {
    let Some(text) = bearer(request.headers()) else { return Standing::Stranger };
    let principal = match parts.keys.authenticate(text).await {
        Ok(principal) => principal,
        Err(AuthError::Refused) => return Standing::Stranger,
        Err(AuthError::Store(error)) => return Standing::Unknown(Some(not_found_out(error))),
    };
    match Counted::take(&parts.limiter, &principal, request, arrived).await {
        Ok(counted) => Standing::Known { principal, counted },
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

fn not_found_out(error: Arc<StoreError>) -> ApiError {
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
    fn admitted(request: &HttpRequest) -> Result<Self, ApiError> {
        let mut extensions = request.extensions_mut();
        let (principal, counted) = match extensions.get_mut::<Standing>() {
            None | Some(Standing::Stranger) => return Err(ApiError::unauthenticated()),
            // An error is said once; whoever asks again hears the same without its cause.
            Some(Standing::Unknown(error)) => return Err(error.take().unwrap_or_else(ApiError::unavailable)),
            Some(Standing::Known { principal, counted }) => (principal, counted),
        };
        let caller = Self { org: principal.org, principal: principal.clone(), permission: PhantomData };
        if principal.kind != KeyKind::Publishable && is_foreign(request) {
            return Err(ApiError::forbidden(
                "secret_key_in_browser",
                "a secret key was sent by a web page, where anyone can read it: call from your own server, or use \
                 a publishable key, and rotate this one",
            ));
        }
        if principal.kind == KeyKind::Publishable {
            return Err(ApiError::forbidden("publishable_key", "a publishable key opens other routes only")
                .param(P::SCOPE.map_or("kind", Scope::as_str)));
        }
        P::SCOPE.map_or(Ok(()), |scope| caller.require(scope))?;
        counted.admitted()?;
        Ok(caller)
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
        self.granter().into()
    }

    /// Whose idempotency keys its own are: those of different credentials never meet.
    #[must_use]
    pub fn credential(&self) -> String {
        self.principal.key.to_string()
    }

    /// Counts a stream of this caller until the permit is dropped.
    ///
    /// # Errors
    /// 429 if the key holds as many as it may.
    pub fn open_stream(&self, parts: &Parts) -> Result<StreamPermit, ApiError> {
        if self.principal.quota.is_none() {
            return Ok(parts.open_streams.open_unlimited());
        }
        parts.open_streams.open(self.principal.key).map_err(limits::too_many_streams)
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

/// Was it sent by a page that is not this server's own?
fn is_foreign(request: &HttpRequest) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return false };
    let own_host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let public_url = request
        .app_data::<web::Data<Parts>>()
        .and_then(|parts| parts.config.server.public_url.as_deref().map(str::to_owned));
    let Some((_, authority)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else {
        return true;
    };
    let is_own = |own: &str| own.eq_ignore_ascii_case(authority);
    let public = public_url.as_deref().and_then(|url| url.split_once("://"));
    let public = public.map(|(_, rest)| rest.split('/').next().unwrap_or(rest));
    !(own_host.is_some_and(is_own) || public.is_some_and(is_own))
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

    #[test]
    fn a_page_of_this_server_is_not_foreign() {
        let foreign = |origin: &str| {
            let request = TestRequest::default()
                .insert_header((header::HOST, "chat.example.com:8443"))
                .insert_header((header::ORIGIN, origin))
                .to_http_request();
            is_foreign(&request)
        };
        assert!(!foreign("https://chat.example.com:8443"));
        for other in ["https://chat.example.com", "https://evil.test", "null", ""] {
            assert!(foreign(other), "{other}");
        }
        assert!(!is_foreign(&TestRequest::default().to_http_request()));
    }
}
