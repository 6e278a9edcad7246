//! What an endpoint has missed can be sent once more: what was given up, what it never had, or all of a time.

use std::{collections::BTreeMap, thread};

use serde_json::{Value, json};

use crate::harness::{
    Client, Organization, eventually, times,
    upstream::{Upstream, answers},
    webhook::{Hook, counted, deliveries, hook, is_signed, receiver, refuses, server, settled, takes, talk},
};

const TOLD: [&str; 3] = ["conversation.started", "message.received", "message.sent"];

/// As many of a replay wait at an endpoint at most.
const MOST_WAITING: usize = 1_000;

#[track_caller]
fn replay(org: &Client, hook: &Hook, asked: Value) -> i64 {
    let answer = org.post(&format!("{}/replay", hook.path), asked).status(202);
    assert_eq!(answer.json().as_object().unwrap().len(), 1, "{}", answer.text());
    answer["queued"].as_i64().unwrap()
}

fn of_replays(org: &Organization, hook: &Hook) -> Vec<Value> {
    deliveries(org, hook, "").into_iter().filter(|delivery| delivery["origin"] == "replay").collect()
}

#[test]
fn what_was_given_up_is_sent_again_with_fresh_attempts_and_nothing_else_is() {
    let server = server(&[]);
    let org = server.organization();
    let receiver = receiver();
    // One type is given up.
    receiver.by(|asked| if asked.body["type"] == "message.sent" { refuses() } else { takes() });
    let hook = hook(&org, &receiver, json!({}));
    for words in ["one", "two", "three"] {
        talk(&org, words);
    }
    let given_up = settled(&org, &hook, "exhausted", 3);
    settled(&org, &hook, "delivered", 6);
    // Two are sent again by hand: one is taken, one is given up once more.
    let again = |delivery: &Value| {
        org.post(&format!("/v1/deliveries/{}/redeliver", delivery["id"].as_str().unwrap()), json!({}))
            .status(202);
    };
    again(&given_up[0]);
    settled(&org, &hook, "exhausted", 4);
    receiver.now(takes());
    again(&given_up[1]);
    settled(&org, &hook, "delivered", 7);
    assert_eq!(replay(&org, &hook, json!({"events": ["conversation.*"]})), 0);
    assert_eq!(replay(&org, &hook, json!({"since": "2020-01-01T00:00:00Z", "only": "failed"})), 2);
    settled(&org, &hook, "delivered", 9);
    let replayed = of_replays(&org, &hook);
    let events = |of: &[&Value]| of.iter().map(|delivery| delivery["event_id"].clone()).collect::<Vec<_>>();
    assert_eq!(
        {
            let mut events = events(&replayed.iter().collect::<Vec<_>>());
            events.sort_by_key(Value::to_string);
            events
        },
        {
            let mut events = events(&[&given_up[0], &given_up[2]]);
            events.sort_by_key(Value::to_string);
            events
        }
    );
    assert!(replayed.iter().all(|delivery| delivery["attempt_count"] == 1));
    assert!(receiver.asked().iter().all(|asked| is_signed(asked, &hook.secret)));
    // What was taken since has not failed any more.
    assert_eq!(replay(&org, &hook, json!({})), 0);
}

#[test]
fn what_an_endpoint_never_had_is_sent_in_the_very_words_that_others_were() {
    let server = server(&[]);
    let org = server.organization();
    let (early, late) = (receiver(), receiver());
    // One that was there, for half of it: for the rest nobody kept what to send.
    let there = hook(&org, &early, json!({"channels": ["app"]}));
    let app = org.post("/v1/conversations", json!({"channel": "app", "topic": "returns"})).status(201);
    talk(&org, "Where is my – €5 – parcel?");
    org.post("/v1/knowledge", json!({"title": "One", "content": "Words."})).status(201);
    settled(&org, &there, "delivered", 2);
    let kept = "SELECT COUNT(*) FROM webhook_bodies";
    assert_eq!(server.number(kept), 2);
    let new = hook(&org, &late, json!({}));
    let all = 2 + TOLD.len() as i64;
    assert_eq!(replay(&org, &new, json!({"only": "missing"})), all);
    settled(&org, &new, "delivered", all as usize);
    assert_eq!(server.number(kept), all);
    let sent = |receiver: &Upstream| -> BTreeMap<String, Vec<u8>> {
        let of = |asked: crate::harness::upstream::Asked| {
            (asked.header("webhook-id").unwrap().to_owned(), asked.bytes)
        };
        receiver.asked().into_iter().map(of).collect()
    };
    let (then, now) = (sent(&early), sent(&late));
    assert!(then.iter().all(|(id, bytes)| now[id] == *bytes), "byte for byte what was sent then");
    let conversation =
        late.asked().iter().find(|asked| asked.body["type"] == "message.sent").unwrap().clone();
    let path = format!(
        "/v1/conversations/{}/events?limit=100",
        conversation.body["conversation_id"].as_str().unwrap()
    );
    let log = org.get(&path).status(200);
    for event in
        log["data"].as_array().unwrap().iter().filter(|event| TOLD.contains(&event["type"].as_str().unwrap()))
    {
        let bytes = &now[event["id"].as_str().unwrap()];
        assert_eq!(serde_json::from_slice::<Value>(bytes).unwrap(), *event, "the body is the durable event");
    }
    assert_eq!(replay(&org, &new, json!({"only": "missing"})), 0, "it has them now");
    assert_eq!(replay(&org, &new, json!({"only": "all", "events": ["message.*"]})), 2);
    // The endpoint's own filters hold too; what belongs to no conversation passes them.
    assert_eq!(replay(&org, &there, json!({"only": "missing"})), 0);
    assert_eq!(replay(&org, &there, json!({"only": "all"})), 2);
    org.patch(&there.path, json!({"topics": ["orders"]})).status(200);
    eventually("the one before is queued", || {
        let reply = org.post(&format!("{}/replay", there.path), json!({"only": "all"}));
        (reply.code() == 202).then(|| assert_eq!(reply["queued"], 1))
    });
    settled(&org, &there, "delivered", 2 + 2 + 1);
    assert_eq!(counted(&early).values().copied().max(), Some(3));
    assert!(app["conversation"]["id"].is_string());
}

#[test]
fn a_replay_is_of_what_happened_from_since_until_before_until() {
    const EVENTS: i64 = 600;
    let server = server(&[]);
    let org = server.organization();
    (0..EVENTS).for_each(|_| {
        org.post("/v1/conversations", json!({})).status(201);
    });
    // A minute apart, and long ago, as far as the log knows: 2025-06-15T15:06:40Z and on.
    let first = server.number("SELECT MIN(position) FROM events");
    server.execute(&format!("UPDATE events SET created_at = 1750000000000 + (position - {first}) * 60000"));
    let receiver = receiver();
    let hook = hook(&org, &receiver, json!({}));
    let queued = |since: Option<&str>, until: Option<&str>| {
        eventually("the one before is queued", || {
            let asked = json!({"only": "all", "since": since, "until": until});
            let reply = org.post(&format!("{}/replay", hook.path), asked);
            (reply.code() != 409).then(|| reply.status(202)["queued"].as_i64().unwrap())
        })
    };
    let (second, sixth_hour) = ("2025-06-15T15:07:40Z", "2025-06-15T22:06:40+01:00");
    assert_eq!(queued(Some(second), None), EVENTS - 1, "the first moment is in");
    assert_eq!(queued(None, Some(second)), 1, "the last is not");
    assert_eq!(queued(Some(sixth_hour), None), EVENTS - 360);
    assert_eq!(queued(None, Some(sixth_hour)), 360);
    assert_eq!(queued(Some(second), Some(sixth_hour)), 359);
    assert_eq!(queued(Some("2025-06-16T15:06:40Z"), None), 0);
    settled(&org, &hook, "delivered", (2 * EVENTS + 359) as usize);
    eventually("nothing is left", || {
        (server.number("SELECT COUNT(*) FROM webhook_replays WHERE ended_at IS NULL") == 0).then_some(())
    });
    assert_eq!(receiver.times() as i64, EVENTS - 1 + 1 + EVENTS + 359);
}

#[test]
fn a_replay_that_is_cut_off_goes_on_and_delivers_each_event_once() {
    let events = MOST_WAITING + times(250, 4_000);
    let mut server = server(&[]);
    let org = server.organization();
    let client = org.unlimited(&server);
    thread::scope(|scope| {
        for part in 0..4 {
            let client = client.clone();
            scope.spawn(move || {
                (part..events).step_by(4).for_each(|_| {
                    client.post("/v1/conversations", json!({})).status(201);
                });
            });
        }
    });
    // Held: so that a crash repeats no attempt.
    let receiver = receiver();
    let hook = hook(&org, &receiver, json!({"enabled": false, "events": ["conversation.*"]}));
    assert_eq!(replay(&org, &hook, json!({"only": "missing"})), events as i64);
    server.crash();
    org.post(&format!("{}/replay", hook.path), json!({"only": "missing"})).refused(409, "replay_running");
    let made = "SELECT COUNT(*) FROM webhook_deliveries WHERE origin = 'replay'";
    eventually("so much waits that no more is queued", || {
        (server.number(made) == MOST_WAITING as i64).then_some(())
    });
    server.crash();
    assert_eq!(deliveries(&org, &hook, "&state=held").len(), MOST_WAITING);
    // The last of the log is erased before its turn.
    let last = org.get("/v1/conversations?limit=1").status(200)["data"][0]["id"].as_str().unwrap().to_owned();
    let is_queued = format!("{made} AND conversation_id = '{last}'");
    let erased = server.number(&is_queued) == 0;
    if erased {
        org.delete(&format!("/v1/conversations/{last}")).status(204);
    }
    assert!(erased, "the log is replayed in its order");
    org.patch(&hook.path, json!({"enabled": true})).status(200);
    // What was erased is left out; that it was is told.
    settled(&org, &hook, "delivered", events);
    eventually("the replay has ended", || {
        (server.number("SELECT COUNT(*) FROM webhook_replays WHERE ended_at IS NULL") == 0).then_some(())
    });
    assert_eq!(server.number(made), events as i64 - 1);
    let counts = counted(&receiver);
    assert_eq!((counts.len(), receiver.times()), (events, events), "each once");
    assert_eq!(
        receiver.asked().iter().filter(|asked| asked.body["type"] == "conversation.deleted").count(),
        1
    );
}

#[test]
fn what_was_erased_is_not_replayed_but_that_it_was_is() {
    let server = server(&[]);
    let org = server.organization();
    let conversation = talk(&org, "my secret parcel");
    talk(&org, "another");
    org.delete(&format!("/v1/conversations/{conversation}")).status(204);
    let receiver = receiver();
    let hook = hook(&org, &receiver, json!({}));
    assert_eq!(replay(&org, &hook, json!({"only": "missing"})), 1 + TOLD.len() as i64);
    settled(&org, &hook, "delivered", 1 + TOLD.len());
    assert_eq!(server.number("SELECT COUNT(*) FROM webhook_bodies WHERE body LIKE '%secret parcel%'"), 0);
    let asked = receiver.asked();
    let deleted = asked.iter().find(|asked| asked.body["type"] == "conversation.deleted").unwrap();
    assert_eq!(deleted.body["data"], json!({"conversation": {"id": conversation}}));
    assert_eq!(
        asked.iter().filter(|asked| asked.body["conversation_id"] == *conversation).count(),
        1,
        "only that"
    );
}

#[test]
fn what_is_erased_while_a_replay_is_queued_leaves_nothing_behind() {
    let server = server(&[]);
    let org = server.organization();
    let conversations: Vec<String> =
        (0..times(100, 400)).map(|number| talk(&org, &format!("my secret parcel {number}"))).collect();
    let receiver = receiver();
    let hook = hook(&org, &receiver, json!({"enabled": false}));
    assert_eq!(replay(&org, &hook, json!({"only": "missing"})), (TOLD.len() * conversations.len()) as i64);
    for conversation in &conversations {
        org.delete(&format!("/v1/conversations/{conversation}")).status(204);
    }
    eventually("the replay has ended", || {
        (server.number("SELECT COUNT(*) FROM webhook_replays WHERE ended_at IS NULL") == 0).then_some(())
    });
    assert_eq!(server.number("SELECT COUNT(*) FROM webhook_bodies WHERE body LIKE '%secret parcel%'"), 0);
    let left = "SELECT COUNT(*) FROM webhook_deliveries WHERE state = 'pending' AND event_type <> 'conversation.deleted'";
    assert_eq!(server.number(left), 0);
}

#[test]
fn what_is_older_than_deliveries_are_kept_can_be_replayed_all_the_same() {
    let mut server = server(&[]);
    let org = server.organization();
    talk(&org, "long ago");
    server.execute("UPDATE events SET id = 'evt_00' || substr(id, 7)");
    let receiver = receiver();
    let hook = hook(&org, &receiver, json!({"enabled": false}));
    assert_eq!(replay(&org, &hook, json!({"only": "missing"})), TOLD.len() as i64);
    settled(&org, &hook, "held", TOLD.len());
    // Every start sweeps.
    server.restart();
    org.patch(&hook.path, json!({"enabled": true})).status(200);
    settled(&org, &hook, "delivered", TOLD.len());
}

#[test]
fn a_repeat_under_its_name_queues_and_tests_nothing_twice() {
    let server = server(&[]);
    let org = server.organization();
    talk(&org, "hello");
    let receiver = receiver();
    let hook = hook(&org, &receiver, json!({"enabled": false}));
    let named = |what: &str, body: Value| {
        org.request("POST", &format!("{}/{what}", hook.path)).header("Idempotency-Key", what).json(&body)
    };
    let request = named("replay", json!({"only": "missing"}));
    for round in 0..3 {
        let answer = request.send().status(202);
        assert_eq!(answer["queued"], TOLD.len());
        assert_eq!(answer.header("idempotent-replayed"), (round > 0).then_some("true"));
    }
    named("replay", json!({"only": "all"})).send().refused(422, "idempotency_key_reused");
    settled(&org, &hook, "held", TOLD.len());
    assert_eq!(deliveries(&org, &hook, "").len(), TOLD.len());
    receiver.now(answers("202 Accepted", &[], "first"));
    let request = named("test", json!({}));
    let first = request.send().status(200);
    receiver.now(answers("200 OK", &[], "second"));
    let again = request.send().status(200);
    assert_eq!((again.body(), again.header("idempotent-replayed")), (first.body(), Some("true")));
    assert_eq!((receiver.times(), &first["response"]["status"]), (1, &json!(202)));
}

#[test]
fn nonsense_is_refused_and_says_where() {
    let server = server(&[]);
    let org = server.organization();
    let receiver = receiver();
    let hook = hook(&org, &receiver, json!({}));
    let path = format!("{}/replay", hook.path);
    for (body, code, param) in [
        (json!({"since": "yesterday"}), "invalid_field", "since"),
        (json!({"since": "2026-01-01"}), "invalid_field", "since"),
        (json!({"since": "2999-01-01T00:00:00Z"}), "invalid_field", "since"),
        (json!({"until": 7}), "invalid_field", "until"),
        (json!({"since": "2026-01-02T00:00:00Z", "until": "2026-01-02T00:00:00Z"}), "invalid_field", "until"),
        (json!({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}), "invalid_field", "until"),
        (json!({"events": ["turn.completed"]}), "invalid_field", "events"),
        (json!({"events": "message.sent"}), "invalid_field", "events"),
        (json!({"events": vec!["message.sent"; 51]}), "invalid_field", "events"),
        (json!({"only": "some"}), "invalid_field", "only"),
        (json!({"from": "2026-01-01T00:00:00Z"}), "unknown_field", "from"),
    ] {
        let refused = org.post(&path, body.clone()).refused(400, code);
        assert_eq!(refused["error"]["param"], param, "{body}: {}", refused.text());
    }
    let other = server.organization();
    other.post(&path, json!({})).refused(404, "not_found");
    // Who may not is told so, whatever the body.
    let reader = org.restricted(&server, "webhooks:read");
    for what in ["replay", "rotate_secret", "test"] {
        let path = format!("{}/{what}", hook.path);
        for body in [json!({}), json!({"only": "some", "grace_seconds": -1, "event": 7}), json!([])] {
            reader.post(&path, body.clone()).refused(403, "missing_scope");
            server.client().post(&path, body).status(401);
        }
    }
    org.post("/v1/webhooks/whk_nonsense/replay", json!({})).refused(404, "not_found");
    assert_eq!(server.number("SELECT COUNT(*) FROM webhook_replays"), 0);
    // It goes with its webhook.
    assert_eq!(replay(&org, &hook, json!({})), 0);
    org.delete(&hook.path).status(204);
    assert_eq!(server.number("SELECT COUNT(*) FROM webhook_replays"), 0);
    org.post(&path, json!({})).refused(404, "not_found");
}
