//! HTTP: parse, ask an actor or the store, translate. Nothing is decided here.

mod analytics;
pub mod audit;
pub mod auth;
pub mod body;
mod conversations;
mod cors;
mod cursor;
pub mod customers;
mod dialects;
pub mod error;
mod events;
mod frames;
mod handovers;
pub mod health;
pub mod idempotency;
pub mod json;
pub mod keys;
pub mod knowledge;
pub mod middleware;
mod models;
mod open_streams;
pub mod organizations;
pub mod page;
pub mod query;
mod redact;
mod refusal;
mod route;
pub mod secrets;
mod sse;
pub mod tickets;
mod timing;
pub mod webhooks;
mod ws;

use actix_web::web;

use self::{
    error::ApiError,
    route::{delete, get, on, patch, post, put, stream},
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
        .service(on("/v1/audit", [get(audit::list)]))
        .service(on("/v1/models", [get(models::list)]))
        .service(on("/v1/chat/completions", [post(dialects::openai::complete)]))
        .service(on("/v1/ai-sdk", [post(dialects::ai_sdk::ask)]))
        .service(on("/v1/ai-sdk/{id}/stream", [stream(dialects::ai_sdk::resume)]))
        .service(on("/v1/analytics", [get(analytics::figures)]))
        .service(on("/v1/analytics/conversations", [get(analytics::conversations)]))
        .service(on("/v1/events", [get(events::list)]))
        .service(on("/v1/events/stream", [stream(events::stream)]))
        .configure(conversation_routes)
        .configure(handover_routes)
        .configure(knowledge_routes)
        .configure(webhook_routes)
        .default_service(web::to(unknown));
}

fn conversation_routes(app: &mut web::ServiceConfig) {
    use conversations::{changes, lists, messages, start, streams, turns};

    const ONE: &str = "/v1/conversations/{id}";
    let below = |path: &str| format!("{ONE}{path}");
    app.service(on("/v1/customers/{customer_id}", [delete(customers::erase)]))
        .service(on("/v1/conversations", [get(lists::conversations), post(start::start)]))
        .service(on(ONE, [get(conversations::get), patch(changes::patch), delete(changes::delete)]))
        .service(on(&below("/complete"), [post(changes::complete)]))
        .service(on(&below("/handover"), [post(handovers::request)]))
        .service(on(&below("/rating"), [post(changes::rate)]))
        .service(on(&below("/typing"), [post(changes::typing)]))
        .service(on(&below("/client_tokens"), [post(tickets::issue_client_token)]))
        .service(on(&below("/stream_tickets"), [post(tickets::issue)]))
        .service(on(&below("/messages"), [get(messages::list), post(messages::send)]))
        .service(on(&below("/messages/{message}"), [get(messages::get)]))
        .service(on(&below("/events"), [get(lists::events)]))
        .service(on(&below("/stop"), [post(turns::stop_running)]))
        .service(on(&below("/turns/{turn}"), [get(turns::get)]))
        .service(on(&below("/turns/{turn}/stop"), [post(turns::stop)]))
        .service(on(&below("/turns/{turn}/retry"), [post(turns::retry)]))
        .service(on(&below("/turns/{turn}/stream"), [stream(streams::turn)]))
        .service(on(&below("/stream"), [stream(streams::conversation)]))
        .service(on(&below("/ws"), [stream(ws::open)]));
}

fn handover_routes(app: &mut web::ServiceConfig) {
    use handovers as h;
    app.service(on("/v1/handovers", [get(h::list)]))
        .service(on("/v1/handovers/{id}", [get(h::get)]))
        // Addresses are followed by GET, as by a mail program that looks ahead: that accepts nothing.
        .service(on("/v1/handovers/{id}/accept", [post(h::accept)]))
        .service(on("/v1/handovers/{id}/return", [post(h::give_back)]))
        .service(on("/v1/handovers/{id}/close", [post(h::close)]))
        .service(on("/v1/handovers/{id}/cancel", [post(h::cancel)]));
}

fn knowledge_routes(app: &mut web::ServiceConfig) {
    use knowledge as k;
    let sized = |resource: actix_web::Resource| resource.app_data(k::BODY_LIMIT);
    app.service(sized(on("/v1/knowledge", [get(k::list), post(k::create)])))
        .service(on("/v1/knowledge/search", [get(k::search)]))
        .service(on("/v1/knowledge/status", [get(k::status)]))
        .service(on("/v1/knowledge/unanswered", [get(k::unanswered)]))
        .service(on("/v1/knowledge/export", [get(k::export)]))
        .service(on("/v1/knowledge/import", [post(k::import)]))
        .service(on("/v1/knowledge/imports", [get(k::imports)]))
        .service(on("/v1/knowledge/imports/{id}", [get(k::import_status)]))
        .service(on("/v1/knowledge/imports/{id}/errors", [get(k::import_errors)]))
        .service(sized(on(
            "/v1/knowledge/external/{external_id}",
            [get(k::get_external), put(k::put_external), delete(k::delete_external)],
        )))
        .service(sized(on(
            "/v1/knowledge/{id}",
            [get(k::get), put(k::replace), patch(k::change), delete(k::delete)],
        )));
}

fn webhook_routes(app: &mut web::ServiceConfig) {
    use webhooks::{self as w, deliveries, replay};
    app.service(on("/v1/webhooks", [get(w::list), post(w::create)]))
        .service(on("/v1/webhooks/{id}", [get(w::get), patch(w::change), delete(w::delete)]))
        .service(on("/v1/webhooks/{id}/rotate_secret", [post(w::rotate)]))
        .service(on("/v1/webhooks/{id}/test", [post(w::test)]))
        .service(on("/v1/webhooks/{id}/replay", [post(replay::replay)]))
        .service(on("/v1/webhooks/{id}/deliveries", [get(deliveries::list)]))
        .service(on("/v1/deliveries/{id}", [get(deliveries::get)]))
        .service(on("/v1/deliveries/{id}/redeliver", [post(deliveries::redeliver)]));
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
