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
pub mod openapi;
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
    route::{Line, delete, get, on, patch, post, put, stream},
};

/// Every route of the server.
pub fn routes(app: &mut web::ServiceConfig) {
    serve(app, table());
}

/// The routes of `server.ops_listen`.
pub fn ops_routes(app: &mut web::ServiceConfig) {
    serve(
        app,
        vec![
            on("/healthz", [get(health::alive)]),
            on("/health", [get(health::alive)]),
            on("/readyz", [get(health::ready)]),
            on("/metrics", [get(health::metrics_for_operators)]),
        ],
    );
}

fn serve(app: &mut web::ServiceConfig, lines: Vec<Line>) {
    let resources = lines.into_iter().map(Line::into_resource);
    resources.fold(app, web::ServiceConfig::service).default_service(web::to(unknown));
}

/// All lines, in the order in which they are tried.
fn table() -> Vec<Line> {
    let mut lines = vec![
        on("/healthz", [get(health::alive)]),
        on("/health", [get(health::alive)]),
        on("/readyz", [get(health::ready)]),
        on("/metrics", [get(health::metrics)]),
        on("/v1/organizations", [post(organizations::create)]),
        on("/v1/organizations/{id}", [delete(organizations::delete)]),
        on("/v1/organization", [get(organizations::get), patch(organizations::change)]),
        on("/v1/keys", [get(keys::list), post(keys::create)]),
        on("/v1/keys/{id}", [get(keys::get), patch(keys::change), delete(keys::revoke)]),
        on("/v1/keys/{id}/rotate", [post(keys::rotate)]),
        on("/v1/keys/{id}/previous", [delete(keys::end_previous)]),
        on("/v1/audit", [get(audit::list)]),
        on("/v1/models", [get(models::list)]),
        on("/v1/chat/completions", [post(dialects::openai::complete)]),
        on("/v1/ai-sdk", [post(dialects::ai_sdk::ask)]),
        on("/v1/ai-sdk/{id}/stream", [stream(dialects::ai_sdk::resume)]),
        on("/v1/analytics", [get(analytics::figures)]),
        on("/v1/analytics/conversations", [get(analytics::conversations)]),
        on("/v1/events", [get(events::list)]),
        on("/v1/events/stream", [stream(events::stream)]),
        on("/v1/openapi.json", [get(openapi::document)]),
        on("/docs", [get(openapi::docs::page)]),
        on("/docs/{file}", [get(openapi::docs::file)]),
    ];
    lines.extend(conversation_routes());
    lines.extend(handover_routes());
    lines.extend(knowledge_routes());
    lines.extend(webhook_routes());
    lines
}

fn conversation_routes() -> Vec<Line> {
    use conversations::{changes, lists, messages, start, streams, turns};

    const ONE: &str = "/v1/conversations/{id}";
    let below = |path: &str| format!("{ONE}{path}");
    vec![
        on("/v1/customers/{customer_id}", [delete(customers::erase)]),
        on("/v1/conversations", [get(lists::conversations), post(start::start)]),
        on(ONE, [get(conversations::get), patch(changes::patch), delete(changes::delete)]),
        on(&below("/complete"), [post(changes::complete)]),
        on(&below("/handover"), [post(handovers::request)]),
        on(&below("/rating"), [post(changes::rate)]),
        on(&below("/typing"), [post(changes::typing)]),
        on(&below("/client_tokens"), [post(tickets::issue_client_token)]),
        on(&below("/stream_tickets"), [post(tickets::issue)]),
        on(&below("/messages"), [get(messages::list), post(messages::send)]),
        on(&below("/messages/{message}"), [get(messages::get)]),
        on(&below("/events"), [get(lists::events)]),
        on(&below("/stop"), [post(turns::stop_running)]),
        on(&below("/turns/{turn}"), [get(turns::get)]),
        on(&below("/turns/{turn}/stop"), [post(turns::stop)]),
        on(&below("/turns/{turn}/retry"), [post(turns::retry)]),
        on(&below("/turns/{turn}/stream"), [stream(streams::turn)]),
        on(&below("/stream"), [stream(streams::conversation)]),
        on(&below("/ws"), [stream(ws::open)]),
    ]
}

fn handover_routes() -> Vec<Line> {
    use handovers as h;
    vec![
        on("/v1/handovers", [get(h::list)]),
        on("/v1/handovers/{id}", [get(h::get)]),
        // Addresses are followed by GET, as by a mail program that looks ahead: that accepts nothing.
        on("/v1/handovers/{id}/accept", [post(h::accept)]),
        on("/v1/handovers/{id}/return", [post(h::give_back)]),
        on("/v1/handovers/{id}/close", [post(h::close)]),
        on("/v1/handovers/{id}/cancel", [post(h::cancel)]),
    ]
}

fn knowledge_routes() -> Vec<Line> {
    use knowledge as k;
    let sized = |line: Line| line.sized(k::BODY_LIMIT);
    vec![
        sized(on("/v1/knowledge", [get(k::list), post(k::create)])),
        on("/v1/knowledge/search", [get(k::search)]),
        on("/v1/knowledge/status", [get(k::status)]),
        on("/v1/knowledge/unanswered", [get(k::unanswered)]),
        on("/v1/knowledge/export", [get(k::export)]),
        on("/v1/knowledge/import", [post(k::import)]),
        on("/v1/knowledge/imports", [get(k::imports)]),
        on("/v1/knowledge/imports/{id}", [get(k::import_status)]),
        on("/v1/knowledge/imports/{id}/errors", [get(k::import_errors)]),
        sized(on(
            "/v1/knowledge/external/{external_id}",
            [get(k::get_external), put(k::put_external), delete(k::delete_external)],
        )),
        sized(on("/v1/knowledge/{id}", [get(k::get), put(k::replace), patch(k::change), delete(k::delete)])),
    ]
}

fn webhook_routes() -> Vec<Line> {
    use webhooks::{self as w, deliveries, replay};
    vec![
        on("/v1/webhooks", [get(w::list), post(w::create)]),
        on("/v1/webhooks/{id}", [get(w::get), patch(w::change), delete(w::delete)]),
        on("/v1/webhooks/{id}/rotate_secret", [post(w::rotate)]),
        on("/v1/webhooks/{id}/test", [post(w::test)]),
        on("/v1/webhooks/{id}/replay", [post(replay::replay)]),
        on("/v1/webhooks/{id}/deliveries", [get(deliveries::list)]),
        on("/v1/deliveries/{id}", [get(deliveries::get)]),
        on("/v1/deliveries/{id}/redeliver", [post(deliveries::redeliver)]),
    ]
}

async fn unknown() -> ApiError {
    ApiError::unknown_route()
}
