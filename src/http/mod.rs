//! HTTP: parse, ask an actor or the store, translate. Nothing is decided here.

pub mod auth;
pub mod body;
pub mod error;
pub mod health;
pub mod json;
pub mod middleware;
pub mod page;
pub mod query;
mod refusal;
mod route;

use actix_web::web;

use self::{
    error::ApiError,
    route::{get, on},
};

/// Every route of the server.
pub fn routes(app: &mut web::ServiceConfig) {
    app.service(on("/healthz", [get(health::alive)]))
        .service(on("/health", [get(health::alive)]))
        .service(on("/readyz", [get(health::ready)]))
        .service(on("/metrics", [get(health::metrics)]))
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
