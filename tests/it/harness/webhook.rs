//! Webhooks as tests use them: a server that may send to this machine, hooks, and what a receiver got.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use standardwebhooks::Webhook;

use super::{
    Organization, Server, eventually,
    upstream::{Act, Asked, Upstream, answers},
};

/// Waits of milliseconds, and no breaker: what is tried is tried at once.
const SETTINGS: [(&str, &str); 6] = [
    ("webhooks.allow_cidrs", "127.0.0.0/8"),
    ("webhooks.allow_http", "true"),
    ("webhooks.timeout_ms", "20000"),
    ("webhooks.waits_ms", "1,2,3,4"),
    ("webhooks.jitter", "0"),
    ("webhooks.breaker_failures", "0"),
];

/// A server that may send to this machine; `settings` come on top.
pub(crate) fn server(settings: &[(&str, &str)]) -> Server {
    Server::with(&[&SETTINGS, settings].concat())
}

/// A receiver that takes everything.
pub(crate) fn receiver() -> Upstream {
    Upstream::that(takes())
}

/// It takes what it is sent.
pub(crate) fn takes() -> Vec<Act> {
    answers("200 OK", &[], "thanks")
}

/// It does not.
pub(crate) fn refuses() -> Vec<Act> {
    answers("500 Internal Server Error", &[], "no")
}

/// Where a receiver is.
pub(crate) fn url(receiver: &Upstream) -> String {
    format!("http://{}/hook", receiver.address())
}

/// A webhook that was made.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    pub(crate) id: String,
    pub(crate) path: String,
    pub(crate) secret: String,
}

/// Makes a webhook to that receiver; `fields` come on top.
#[track_caller]
pub(crate) fn hook(org: &Organization, receiver: &Upstream, fields: Value) -> Hook {
    let mut body = json!({"url": url(receiver)});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let made = org.post("/v1/webhooks", body).status(201);
    let id = made["webhook"]["id"].as_str().unwrap().to_owned();
    Hook { path: format!("/v1/webhooks/{id}"), id, secret: made["secret"].as_str().unwrap().to_owned() }
}

/// Starts a conversation and waits for its answer. Gives its id.
#[track_caller]
pub(crate) fn talk(org: &Organization, words: &str) -> String {
    let started = org.post("/v1/conversations", json!({"message": {"content": words, "wait_seconds": 30}}));
    started["conversation"]["id"].as_str().unwrap_or_else(|| panic!("{}", started.text())).to_owned()
}

/// An independent implementation finds the signature good under that secret.
pub(crate) fn is_signed(asked: &Asked, secret: &str) -> bool {
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, asked.header(name).unwrap().parse().unwrap());
    }
    Webhook::new(secret).unwrap().verify(&asked.bytes, &headers).is_ok()
}

/// All deliveries to a webhook, oldest first.
#[track_caller]
pub(crate) fn deliveries(org: &Organization, hook: &Hook, filter: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page =
            org.get(&format!("{}/deliveries?limit=100&order=asc{filter}{cursor}", hook.path)).status(200);
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// Waits until so many deliveries to a webhook stand there.
#[track_caller]
pub(crate) fn settled(org: &Organization, hook: &Hook, state: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} deliveries are {state}"), || {
        let found = deliveries(org, hook, &format!("&state={state}"));
        (found.len() >= count).then_some(found)
    })
}

/// How often each event came.
pub(crate) fn counted(receiver: &Upstream) -> BTreeMap<String, usize> {
    receiver.asked().iter().fold(BTreeMap::new(), |mut counts, asked| {
        *counts.entry(asked.header("webhook-id").unwrap().to_owned()).or_default() += 1;
        counts
    })
}
