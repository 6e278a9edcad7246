//! HTTP: parse, ask an actor or the store, translate. Nothing is decided here.

pub mod auth;
pub mod body;
pub mod error;
pub mod health;
pub mod json;
pub mod keys;
pub mod middleware;
pub mod organizations;
pub mod page;
pub mod query;
mod refusal;
mod route;

use actix_web::web;

use self::{
    error::ApiError,
    route::{delete, get, on, patch, post},
};

/// Every route of the server.
pub fn routes(app: &mut web::ServiceConfig) {
    app.service(on("/healthz", [get(health::alive)]))
        .service(on("/health", [get(health::alive)]))
        .service(on("/readyz", [get(health::ready)]))
        .service(on("/metrics", [get(health::metrics)]))
        .service(on("/v1/organizations", [post(organizations::create)]))
        .service(on("/v1/organizations/{id}", [delete(organizations::delete)]))
        .service(on("/v1/organization", [get(organizations::get), patch(organizations::change)]))
        .service(on("/v1/keys", [get(keys::list), post(keys::create)]))
        .service(on("/v1/keys/{id}", [get(keys::get), patch(keys::change), delete(keys::revoke)]))
        .service(on("/v1/keys/{id}/rotate", [post(keys::rotate)]))
        .service(on("/v1/keys/{id}/previous", [delete(keys::end_previous)]))
        .default_service(web::to(unknown));
}

/// The routes of `server.ops_listen`.
pub fn ops_routes(app: &mut web::ServiceConfig) {
    app.service(on("/healthz", [get(health::alive)]))
        .service(on("/health", [get(health::alive)]))
        .service(on("/readyz", [get(health::ready)]))
        .service(on("/metrics", [get(health::metrics_for_operators)]))
        .default_service(web::to(unknown));
}

async fn unknown() -> ApiError {
    ApiError::unknown_route()
}
