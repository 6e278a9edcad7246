//! The table of events: each type that webhooks are told of arrives, with what it must have, and turns do not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    harness::{
        eventually,
        upstream::{Upstream, answers},
        webhook::{hook, is_signed, receiver, server, talk},
    },
    knowledge_state::make_unreadable,
};

/// What `data` has for each type.
const TOLD: [(&str, &str); 11] = [
    ("conversation.started", "conversation"),
    ("conversation.updated", "conversation"),
    ("conversation.reopened", "conversation"),
    ("conversation.rated", "conversation"),
    ("conversation.completed", "conversation"),
    ("conversation.deleted", "conversation"),
    ("message.received", "message"),
    ("message.sent", "message"),
    ("knowledge.indexed", "article"),
    ("knowledge.failed", "article"),
    ("webhook.disabled", "webhook"),
];

#[test]
fn every_type_of_the_table_arrives_once_for_each_time_it_happens_and_turns_do_not() {
    let server = server(&[]);
    let org = server.organization();
    let receiver = receiver();
    let hook_of_all = hook(&org, &receiver, json!({}));
    let gone = Upstream::that(answers("410 Gone", &[], ""));
    let gone = hook(&org, &gone, json!({"events": ["conversation.rated"]}));

    let conversation = talk(&org, "Where is my parcel?");
    let path = format!("/v1/conversations/{conversation}");
    org.patch(&path, json!({"customer": {"name": "Ada"}})).status(200);
    org.post(&format!("{path}/complete"), json!({"resolution": "resolved"})).status(200);
    let again = json!({"content": "And the second one?", "wait_seconds": 60});
    org.post(&format!("{path}/messages"), again).status(200);
    org.post(&format!("{path}/rating"), json!({"score": 5})).status(200);
    let log = org.get(&format!("{path}/events?limit=100")).status(200);
    // Of what is erased nothing is sent any more.
    eventually("what happened so far is settled", || {
        (server.number("SELECT COUNT(*) FROM webhook_deliveries WHERE state = 'pending'") == 0).then_some(())
    });
    org.delete(&path).status(204);
    for name in ["good", "bad"] {
        org.put(&format!("/v1/knowledge/external/{name}"), json!({"title": name, "content": "Words."}))
            .status(201);
    }
    eventually("both are indexed", || {
        (org.get("/v1/knowledge/status").status(200)["indexed"] == 2).then_some(())
    });
    make_unreadable(&server, &org);
    eventually("one has failed", || {
        (org.get("/v1/knowledge/status").status(200)["failed"] == 1).then_some(())
    });
    eventually("the endpoint is disabled", || {
        (org.get(&gone.path).status(200)["disabled_reason"] == "gone").then_some(())
    });

    let expected: BTreeSet<&str> = TOLD.iter().map(|(kind, _)| *kind).collect();
    let came = eventually("each type arrives", || {
        let mut by_id: BTreeMap<String, Value> = BTreeMap::new();
        for asked in receiver.asked() {
            assert!(is_signed(&asked, &hook_of_all.secret));
            by_id.insert(asked.header("webhook-id").unwrap().to_owned(), asked.body);
        }
        let kinds: BTreeSet<&str> = by_id.values().map(|event| event["type"].as_str().unwrap()).collect();
        (kinds == expected).then(|| by_id.clone())
    });
    let fields: BTreeMap<&str, &str> = TOLD.into_iter().collect();
    for event in came.values() {
        let kind = event["type"].as_str().unwrap();
        let about = &event["data"][fields[kind]];
        assert!(about["id"].is_string(), "{event}");
        let in_conversation = kind.starts_with("conversation.") || kind.starts_with("message.");
        let place = (&event["conversation_id"], event["sequence"].is_i64());
        let expected = if in_conversation { (&json!(conversation), true) } else { (&Value::Null, false) };
        assert_eq!(place, expected, "{event}");
        match kind {
            "message.received" => assert!(event["data"]["turn_id"].is_string(), "{event}"),
            "knowledge.indexed" | "knowledge.failed" => assert!(about.get("content").is_none(), "{event}"),
            "conversation.deleted" => assert_eq!(about.as_object().unwrap().len(), 1, "{event}"),
            _ => {}
        }
    }
    // What the log had of the conversation, turns apart, is what came.
    for event in log["data"].as_array().unwrap() {
        let came = came.get(event["id"].as_str().unwrap());
        let is_of_a_turn = event["type"].as_str().unwrap().starts_with("turn.");
        assert_eq!(came, (!is_of_a_turn).then_some(event), "{event}");
    }
}
