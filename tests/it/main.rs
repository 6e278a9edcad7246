//! Promises of the server, each tested as its user would see it.

// Outside `#[test]` functions too: a harness that cannot do its work should fail loudly.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;
mod architecture;
mod audit;
mod bad_input;
mod bench;
mod chaos;
mod chat;
mod conversations;
mod demo;
mod handover;
mod handover_races;
mod handover_raised;
mod harness;
mod idempotency;
mod keys;
mod knowledge;
mod knowledge_import;
mod knowledge_state;
mod limits;
mod lists;
mod monitoring;
mod ops;
mod shell;
mod streams;
mod talk;
mod tls;
mod turns;
mod upstream;
mod upstream_cache;
mod upstream_guards;
mod upstream_litellm;
mod upstream_odd;
mod webhooks;
mod webhooks_addresses;
mod webhooks_crash;
mod webhooks_endpoints;
mod webhooks_kinds;
mod webhooks_listen;
mod webhooks_names;
mod webhooks_receivers;
mod webhooks_replay;
mod webhooks_tls;
mod websocket;
