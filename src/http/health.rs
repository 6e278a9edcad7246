//! Is the process alive, may it be sent requests, and what has it counted?

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use openclaw_actors::writer::Health;
use serde::Serialize;

use super::{error::ApiError, query::AnyParameters};
use crate::{
    config::Secret,
    server::Parts,
    telemetry::{Exposition, Format},
};

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    reason: Option<&'static str>,
}

/// The process runs and answers.
pub(super) async fn alive(_: AnyParameters) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(Status { status: "ok" })
}

/// Requests can be served: the store answers and can be written.
pub(super) async fn ready(_: AnyParameters, parts: web::Data<Parts>) -> HttpResponse {
    let reason = not_ready(&parts).await;
    let mut answer = if reason.is_none() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    let status = if reason.is_none() { "ready" } else { "not_ready" };
    answer.insert_header((header::CACHE_CONTROL, "no-store")).json(Readiness { status, reason })
}

async fn not_ready(parts: &Parts) -> Option<&'static str> {
    if parts.stopping.is_announced() {
        return Some("the server is stopping");
    }
    // Cheap reads of what the writer knows first; then the proof that readers get through.
    match parts.writer.health() {
        Health::Away => Some("the store cannot be written"),
        Health::Broken => Some("the store failed for good; the server is about to exit"),
        Health::Writable => match parts.store.ping().await {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(%error, "the store does not answer");
                Some("the store does not answer")
            }
        },
    }
}

/// Everything counted, for a scraper on this machine or one that knows `server.metrics_token`.
pub(super) async fn metrics(
    request: HttpRequest,
    _: AnyParameters,
    parts: web::Data<Parts>,
    exposition: web::Data<Exposition>,
) -> Result<HttpResponse, ApiError> {
    let server = &parts.config.server;
    if server.ops_listen.is_some() {
        return Err(ApiError::unknown_route());
    }
    match &server.metrics_token {
        Some(token) if has_bearer(&request, token) => {}
        Some(_) => return Err(ApiError::unauthenticated()),
        // Behind a proxy everyone seems to be on this machine.
        None if server.behind_proxy || !is_from_here(&request) => return Err(ApiError::unknown_route()),
        None => {}
    }
    exposed(&request, &exposition)
}

/// Everything counted, on the operators' own listener.
pub(super) async fn metrics_for_operators(
    request: HttpRequest,
    _: AnyParameters,
    parts: web::Data<Parts>,
    exposition: web::Data<Exposition>,
) -> Result<HttpResponse, ApiError> {
    match &parts.config.server.metrics_token {
        Some(token) if !has_bearer(&request, token) => Err(ApiError::unauthenticated()),
        _ => exposed(&request, &exposition),
    }
}

fn exposed(request: &HttpRequest, exposition: &Exposition) -> Result<HttpResponse, ApiError> {
    let format = Format::wanted_by(request);
    let text = exposition.text(format).map_err(ApiError::internal)?;
    let mut answer = HttpResponse::Ok();
    answer.content_type(format.content_type()).insert_header((header::VARY, "Accept"));
    Ok(answer.body(text))
}

fn is_from_here(request: &HttpRequest) -> bool {
    request.peer_addr().is_some_and(|peer| match peer.ip() {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.to_canonical().is_loopback(),
    })
}

fn has_bearer(request: &HttpRequest, token: &Secret) -> bool {
    let sent = request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
    sent.and_then(|sent| sent.strip_prefix(b"Bearer ")).is_some_and(|sent| token.is(sent))
}
