//! What endpoints are told: every event once it is stored, signed, in order where that is asked for, until it is taken
//! or was tried five times.

use serde_json::{Value, json};

use crate::harness::{
    eventually,
    upstream::{Upstream, answers},
    webhook::{counted, deliveries, hook, is_signed, receiver, refuses, server, settled, takes, talk},
};

const TOLD: [&str; 3] = ["conversation.started", "message.received", "message.sent"];

#[test]
fn an_endpoint_is_told_of_what_happened_in_the_very_words_of_the_log() {
    let server = server(&[]);
    let org = server.organization();
    let receiver = receiver();
    let hook = hook(&org, &receiver, json!({"ordered": true, "headers": {"X-Shop": "fern"}}));
    let conversation = talk(&org, "Where is my – €5 – parcel?");
    let delivered = settled(&org, &hook, "delivered", TOLD.len());
    let asked = receiver.asked();
    let kinds: Vec<&str> = asked.iter().map(|asked| asked.body["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, TOLD, "turns are not told of");
    let events = org.get(&format!("/v1/conversations/{conversation}/events?limit=100")).status(200);
    for (asked, delivery) in asked.iter().zip(&delivered) {
        let stored = events["data"].as_array().unwrap().iter().find(|event| event["id"] == asked.body["id"]);
        assert_eq!(Some(&asked.body), stored, "the body is the durable event");
        assert_eq!(asked.header("webhook-id"), asked.body["id"].as_str());
        assert_eq!(
            (asked.header("content-type"), asked.header("x-shop")),
            (Some("application/json"), Some("fern"))
        );
        assert!(asked.head.starts_with("POST /hook HTTP/1.1"), "{}", asked.head);
        assert!(is_signed(asked, &hook.secret), "{}", asked.head);
        assert!(!is_signed(asked, "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"));
        assert_eq!((&delivery["event_id"], &delivery["attempt_count"]), (&asked.body["id"], &json!(1)));
    }
    assert_eq!(receiver.connections(), 1, "the connection is kept");
    let one = org.get(&format!("/v1/deliveries/{}", delivered[0]["id"].as_str().unwrap())).status(200);
    let attempt = &one["attempts"][0];
    assert_eq!(
        (&attempt["status"], &attempt["error"], &attempt["response_body"]),
        (&json!(200), &Value::Null, &json!("thanks"))
    );
}

#[test]
fn filters_let_through_what_matches_all_of_them() {
    let server = server(&[]);
    let org = server.organization();
    let all = receiver();
    let everything = hook(&org, &all, json!({}));
    let receivers: Vec<_> = [
        json!({"events": ["message.sent"]}),
        json!({"events": ["conversation.*"], "channels": ["app"]}),
        json!({"channels": ["app"], "topics": ["returns"]}),
        json!({"events": ["knowledge.*"], "channels": ["app"]}),
    ]
    .into_iter()
    .map(|fields| {
        let receiver = receiver();
        hook(&org, &receiver, fields);
        receiver
    })
    .collect();
    talk(&org, "on the web");
    org.post("/v1/conversations", json!({"channel": "app", "topic": "returns"})).status(201);
    org.post("/v1/knowledge", json!({"title": "One", "content": "Words."})).status(201);
    settled(&org, &everything, "delivered", TOLD.len() + 2);
    let got = |receiver: &Upstream| {
        let mut kinds: Vec<String> =
            receiver.asked().iter().map(|asked| asked.body["type"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    };
    let expected: [&[&str]; 4] = [
        &["message.sent"],
        &["conversation.started"],
        &["conversation.started", "knowledge.indexed"],
        &["knowledge.indexed"],
    ];
    for (receiver, expected) in receivers.iter().zip(expected) {
        eventually("each gets its own", || (got(receiver) == expected).then_some(()));
    }
}

#[test]
fn what_is_not_taken_is_tried_five_times_and_then_given_up() {
    let server = server(&[]);
    let org = server.organization();
    let receiver = Upstream::that(refuses());
    let hook = hook(&org, &receiver, json!({"events": ["conversation.started"]}));
    talk(&org, "hello");
    let exhausted = settled(&org, &hook, "exhausted", 1);
    assert_eq!(receiver.times(), 5);
    assert_eq!(counted(&receiver).len(), 1, "the id is the same each time");
    assert!(receiver.asked().iter().all(|asked| is_signed(asked, &hook.secret)));
    let path = format!("/v1/deliveries/{}", exhausted[0]["id"].as_str().unwrap());
    let attempts = org.get(&path).status(200)["attempts"].clone();
    assert_eq!(attempts.as_array().unwrap().len(), 5);
    assert_eq!((&attempts[4]["status"], &attempts[4]["error"]), (&json!(500), &json!("unsuccessful_status")));
    // Asked for again, it is a delivery of its own with five fresh attempts.
    receiver.then(vec![refuses(), takes()]);
    let again = org.post(&format!("{path}/redeliver"), json!({})).status(202);
    assert_eq!((&again["event_id"], &again["origin"]), (&exhausted[0]["event_id"], &json!("redelivery")));
    let delivered = settled(&org, &hook, "delivered", 1);
    assert_eq!((&delivered[0]["id"], &delivered[0]["attempt_count"]), (&again["id"], &json!(2)));
    assert_eq!((receiver.times(), counted(&receiver).len()), (7, 1));
    let metrics = server.client().get("/metrics").text();
    for line in ["outcome=\"delivered\"} 1", "outcome=\"failed\"} 5", "outcome=\"exhausted\"} 1"] {
        assert!(metrics.contains(&format!("openclaw_webhook_deliveries_total{{{line}")), "{line}");
    }
}

#[test]
fn an_ordered_endpoint_gets_the_next_of_a_conversation_once_the_one_before_is_settled() {
    let server = server(&[]);
    let org = server.organization();
    // Each event fails once; the second of each conversation for good.
    let receiver = receiver();
    let seen = std::sync::Mutex::new(std::collections::HashSet::new());
    receiver.by(move |asked| {
        let id = asked.header("webhook-id").unwrap().to_owned();
        let is_first = seen.lock().unwrap().insert(id);
        if is_first || asked.body["type"] == "message.received" { refuses() } else { takes() }
    });
    let hook = hook(&org, &receiver, json!({"ordered": true}));
    let conversations: Vec<String> = (0..5).map(|number| talk(&org, &format!("hello {number}"))).collect();
    settled(&org, &hook, "delivered", 2 * conversations.len());
    settled(&org, &hook, "exhausted", conversations.len());
    for conversation in &conversations {
        let of_it =
            receiver.asked().into_iter().filter(|asked| asked.body["conversation_id"] == **conversation);
        let kinds: Vec<String> = of_it.map(|asked| asked.body["type"].as_str().unwrap().to_owned()).collect();
        let expected = [[TOLD[0]].repeat(2), [TOLD[1]].repeat(5), [TOLD[2]].repeat(2)].concat();
        assert_eq!(kinds, expected);
    }
}

#[test]
fn a_rotated_secret_signs_beside_the_old_one_until_the_grace_is_over() {
    let server = server(&[]);
    let org = server.organization();
    let receiver = receiver();
    let hook = hook(&org, &receiver, json!({"events": ["conversation.started"]}));
    let rotated =
        org.post(&format!("{}/rotate_secret", hook.path), json!({"grace_seconds": 86400})).status(200);
    let new = rotated["secret"].as_str().unwrap();
    assert!(rotated["webhook"]["previous_secret_expires_at"].is_string());
    talk(&org, "during the grace");
    settled(&org, &hook, "delivered", 1);
    let asked = receiver.asked().remove(0);
    assert!(is_signed(&asked, new) && is_signed(&asked, &hook.secret), "{}", asked.head);
    let signatures = asked.header("webhook-signature").unwrap();
    assert_eq!(signatures.split(' ').filter(|one| one.starts_with("v1,")).count(), 2);
    assert_eq!(signatures.len(), 2 * 47 + 1, "one space between, none at the end");
    // Without a grace the old one ends at once, and so does the one before.
    let last = org.post(&format!("{}/rotate_secret", hook.path), json!({})).status(200);
    talk(&org, "after it");
    settled(&org, &hook, "delivered", 2);
    let asked = receiver.asked().remove(1);
    assert!(is_signed(&asked, last["secret"].as_str().unwrap()));
    assert!(!is_signed(&asked, new) && !is_signed(&asked, &hook.secret));
    assert_eq!(server.number("SELECT COUNT(*) FROM webhooks WHERE secret LIKE '%whsec%'"), 0);
}

#[test]
fn an_endpoint_that_is_gone_is_disabled_and_the_others_are_told() {
    let server = server(&[]);
    let org = server.organization();
    let watcher = receiver();
    let told = hook(&org, &watcher, json!({"events": ["webhook.disabled"]}));
    let receiver = Upstream::that(answers("410 Gone", &[], "gone"));
    let gone = hook(&org, &receiver, json!({"ordered": true}));
    let conversation = talk(&org, "hello");
    settled(&org, &gone, "exhausted", 1);
    settled(&org, &told, "delivered", 1);
    assert_eq!(receiver.times(), 1);
    let event = watcher.asked().remove(0).body;
    assert_eq!((&event["data"]["webhook"]["id"], &event["sequence"]), (&json!(gone.id), &Value::Null));
    let webhook = org.get(&gone.path).status(200);
    assert_eq!((&webhook["enabled"], &webhook["disabled_reason"]), (&json!(false), &json!("gone")));
    // What happens meanwhile is held, and goes in order once somebody enables it.
    org.post(
        &format!("/v1/conversations/{conversation}/messages"),
        json!({"content": "again", "wait_seconds": 30}),
    )
    .status(200);
    let held = settled(&org, &gone, "held", 4);
    receiver.now(takes());
    org.patch(&gone.path, json!({"enabled": true})).status(200);
    settled(&org, &gone, "delivered", 4);
    let ids = |events: Vec<Value>| events.iter().map(|event| event["event_id"].clone()).collect::<Vec<_>>();
    let came: Vec<Value> = receiver.asked().iter().skip(1).map(|asked| asked.body["id"].clone()).collect();
    assert_eq!(came, ids(held));
    assert_eq!(org.get(&gone.path).status(200)["disabled_reason"], Value::Null);
}

#[test]
fn an_endpoint_that_failed_for_five_days_is_disabled() {
    let server = server(&[]);
    let org = server.organization();
    let receiver = Upstream::that(refuses());
    let hook = hook(&org, &receiver, json!({"events": ["conversation.started"]}));
    talk(&org, "one");
    settled(&org, &hook, "exhausted", 1);
    assert_eq!(org.get(&hook.path).status(200)["enabled"], true);
    server.execute("UPDATE webhooks SET failing_since = failing_since - 432000000");
    // The actor of an endpoint reads it anew with what it sends.
    talk(&org, "two");
    let webhook = eventually("it is disabled", || {
        let webhook = org.get(&hook.path).status(200);
        (webhook["enabled"] == false).then_some(webhook)
    });
    assert_eq!(webhook["disabled_reason"], "failing");
}

#[test]
fn what_was_to_be_sent_goes_with_its_conversation_and_only_ids_are_sent_of_that() {
    let server = server(&[]);
    let org = server.organization();
    let receiver = receiver();
    let hook = hook(&org, &receiver, json!({"enabled": false}));
    let conversation = talk(&org, "my secret parcel");
    let held = settled(&org, &hook, "held", TOLD.len());
    org.delete(&format!("/v1/conversations/{conversation}")).status(204);
    assert_eq!(deliveries(&org, &hook, "&state=cancelled").len(), TOLD.len());
    assert_eq!(server.number("SELECT COUNT(*) FROM webhook_bodies WHERE body LIKE '%secret parcel%'"), 0);
    let path = format!("/v1/deliveries/{}/redeliver", held[0]["id"].as_str().unwrap());
    org.post(&path, json!({})).refused(409, "event_erased");
    org.patch(&hook.path, json!({"enabled": true})).status(200);
    settled(&org, &hook, "delivered", 1);
    let asked = receiver.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].body["type"], "conversation.deleted");
    assert_eq!(asked[0].body["data"], json!({"conversation": {"id": conversation}}));
}

#[test]
fn deliveries_are_dropped_after_a_month_with_what_was_sent() {
    let mut server = server(&[]);
    let org = server.organization();
    let receiver = receiver();
    let hook = hook(&org, &receiver, json!({}));
    let rows = |table: &str| format!("SELECT COUNT(*) FROM {table}");
    talk(&org, "long ago");
    settled(&org, &hook, "delivered", TOLD.len());
    // The time of an id stands at its beginning.
    server.execute("UPDATE webhook_deliveries SET id = 'dlv_00' || substr(id, 7)");
    server.execute("UPDATE webhook_attempts SET delivery_id = 'dlv_00' || substr(delivery_id, 7)");
    server.execute("UPDATE webhook_bodies SET event_id = 'evt_00' || substr(event_id, 7)");
    talk(&org, "just now");
    settled(&org, &hook, "delivered", 2 * TOLD.len());
    server.restart();
    for table in ["webhook_deliveries", "webhook_attempts", "webhook_bodies"] {
        eventually("what is old is gone, and nothing else", || {
            (server.number(&rows(table)) == TOLD.len() as i64).then_some(())
        });
    }
    let spent = "SELECT COUNT(*) FROM webhook_deliveries WHERE state <> 'delivered' OR attempt_count <> 1";
    assert_eq!(server.number(spent), 0, "a clean stop spends no attempt");
}

#[test]
fn nothing_is_left_of_an_erased_organization() {
    let server = server(&[("server.admin_token", "correct horse battery")]);
    let org = server.organization();
    let receiver = Upstream::that(refuses());
    let hook = hook(&org, &receiver, json!({}));
    talk(&org, "hello");
    settled(&org, &hook, "exhausted", TOLD.len());
    server.client_with("correct horse battery").delete(&format!("/v1/organizations/{}", org.id)).status(204);
    for table in ["webhooks", "webhook_deliveries", "webhook_attempts", "webhook_bodies"] {
        assert_eq!(server.number(&format!("SELECT COUNT(*) FROM {table}")), 0, "{table}");
    }
}
