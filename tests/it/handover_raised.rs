//! Who asks for a person: the customer in their own words, answers that are not sure, answers that fail, and when nobody
//! is there, nobody.

use serde_json::{Value, json};

use crate::{
    harness::{Client, EventStream, Server, eventually},
    talk::{Talk, words},
};

#[track_caller]
fn kinds(talk: &Talk) -> Vec<String> {
    let page = talk.get("/events?limit=100").status(200);
    page["data"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

fn count(talk: &Talk, kind: &str) -> usize {
    kinds(talk).iter().filter(|known| *known == kind).count()
}

/// Says something and waits for the answer.
#[track_caller]
fn ask(talk: &Talk, question: &str) -> Value {
    let answered = talk.post("/messages", json!({"content": question, "wait_seconds": 60})).status(200);
    answered.json().clone()
}

#[track_caller]
fn settle_on(org: &Client, settings: Value) {
    org.patch("/v1/organization", settings).status(200);
}

fn all(stream: EventStream) -> Vec<String> {
    stream.map(|event| event.kind).collect()
}

#[test]
fn a_customer_who_asks_for_a_person_gets_one_and_is_told_in_their_language() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::with(&org, json!({"language": "nl"}));
    ask(&talk, "Waar is mijn pakje?");
    let message =
        talk.request("POST", "/messages").json(&json!({"content": "Kan ik iemand spreken?", "stream": true}));
    let events: Vec<_> = message.stream().collect();
    let told: Vec<_> = events.iter().map(|event| &*event.kind).filter(|kind| *kind != "turn.delta").collect();
    assert_eq!(
        told,
        ["message.received", "turn.started", "message.sent", "handover.requested", "turn.completed"],
        "the order on a turn's stream"
    );
    let text: String = events.iter().filter_map(|event| event.data["text"].as_str()).collect();
    assert!(text.starts_with("Ik heb een collega gevraagd"), "{text}");
    let of = |kind: &str| &events.iter().find(|event| event.kind == kind).unwrap().data["data"];
    assert_eq!(of("message.sent")["message"]["content"], text);
    assert_eq!(of("turn.completed")["turn"]["outcome"], "handover");
    let handover = &of("handover.requested")["handover"];
    assert_eq!((&handover["reason"], &handover["state"]), (&json!("customer_request"), &json!("requested")));
    assert_eq!(
        handover["last_question"], "Waar is mijn pakje?",
        "what the person is asked for is more than that"
    );
    assert_eq!(talk.get("").status(200)["status"], "waiting_for_human");
    let replayed = talk.client.stream(&format!(
        "{}/stream",
        talk.path(&format!("/turns/{}", of("turn.completed")["turn"]["id"].as_str().unwrap()))
    ));
    assert_eq!(all(replayed).iter().filter(|kind| *kind == "handover.requested").count(), 1);

    let again = ask(&talk, "Medewerker graag!");
    assert!(again["reply"]["content"].as_str().unwrap().starts_with("Er is al een collega gevraagd"));
    assert_eq!(count(&talk, "handover.requested"), 1, "one is asked for once");
    let other = ask(&talk, "Is dit product door mensen gemaakt?");
    assert_ne!(other["turn"]["outcome"], "handover");
}

#[test]
fn only_the_languages_of_the_organization_and_of_the_conversation_are_listened_to() {
    let server = Server::start();
    let org = server.organization();
    settle_on(&org, json!({"languages": ["en"]}));
    let talk = Talk::start(&org);
    assert_ne!(ask(&talk, "Ich möchte mit einem Menschen sprechen")["turn"]["outcome"], "handover");
    assert_eq!(ask(&talk, "I want to talk to a human")["turn"]["outcome"], "handover");
    let german = Talk::with(&org, json!({"language": "de-AT"}));
    assert_eq!(ask(&german, "Ich möchte mit einem Menschen sprechen")["turn"]["outcome"], "handover");
}

#[test]
fn two_unsure_answers_in_a_row_ask_for_a_person_and_are_counted_anew_after_each() {
    let server = Server::with(&[("model.providers", "builtin")]);
    let org = server.organization();
    let article =
        json!({"title": "How long does delivery take?", "content": "Delivery takes two working days."});
    org.post("/v1/knowledge?wait=indexed", article).status(201);
    settle_on(&org, json!({"answer_threshold": 0.1, "suggest_threshold": 0.05}));
    let talk = Talk::start(&org);
    let requested = |talk: &Talk| count(talk, "handover.requested");
    let unsure = |talk: &Talk, question: &str| {
        let outcome = ask(talk, question)["turn"]["outcome"].clone();
        assert!(outcome == "unanswered" || outcome == "suggested", "{outcome}");
    };
    unsure(&talk, "zzxyqv blorptang?");
    assert_eq!(ask(&talk, "thanks")["turn"]["outcome"], "small_talk");
    assert_eq!(requested(&talk), 0);
    unsure(&talk, "quuxifor wibblenak?");
    assert_eq!(requested(&talk), 1, "small talk in between is no answer");
    let handover = talk.get("").status(200)["handover"].clone();
    assert_eq!(handover["reason"], "low_confidence");

    org.post(&format!("/v1/handovers/{}/cancel", handover["id"].as_str().unwrap()), json!({})).status(200);
    unsure(&talk, "snorblex vuumtik?");
    assert_eq!(requested(&talk), 1, "one is not two");
    assert_eq!(ask(&talk, "How long does delivery take?")["turn"]["outcome"], "answered");
    unsure(&talk, "grindlewox pelm?");
    assert_eq!(requested(&talk), 1, "an answer in between counts");
    unsure(&talk, "hrumpf zalquin?");
    assert_eq!(requested(&talk), 2);
}

#[test]
fn a_failed_answer_asks_for_a_person_where_the_organization_wants_it() {
    let server = Server::start();
    let org = server.organization();
    let fails = |talk: &Talk| {
        let failing =
            json!({"content": "?", "wait_seconds": 60, "synthetic": {"failure_rate": 1.0, "tokens": 2}});
        let failed = talk.post("/messages", failing).status(200);
        assert_eq!(failed["turn"]["status"], "failed");
    };
    let talk = Talk::start(&org);
    fails(&talk);
    assert_eq!(count(&talk, "handover.requested"), 0);
    settle_on(&org, json!({"handover_on_failure": true}));
    fails(&talk);
    let told = kinds(&talk);
    assert_eq!(told[told.len() - 2..], ["handover.requested", "turn.failed"]);
    assert_eq!(talk.get("").status(200)["handover"]["reason"], "answer_failed");
}

#[test]
fn outside_opening_hours_nobody_is_promised() {
    let server = Server::with(&[("model.providers", "builtin")]);
    let org = server.organization();
    settle_on(
        &org,
        json!({"opening_hours": {}, "handover_on_failure": true, "timezone": "Europe/Amsterdam"}),
    );
    let talk = Talk::start(&org);
    let answered = ask(&talk, "I want to talk to a human");
    assert_eq!(answered["turn"]["outcome"], "handover");
    let told = answered["reply"]["content"].as_str().unwrap();
    assert_eq!(told, "I'm sorry, none of my colleagues is available right now.");
    ask(&talk, "zzxyqv blorptang?");
    ask(&talk, "quuxifor wibblenak?");
    let after = talk.get("").status(200);
    assert_eq!((&after["status"], &after["handover"]), (&json!("active"), &Value::Null));
    // A program knows what it does.
    talk.post("/handover", json!({})).status(201);
    let every_day: Value = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
        .into_iter()
        .map(|day| (day.to_owned(), json!([{"opens": "00:00", "closes": "24:00"}])))
        .collect::<serde_json::Map<_, _>>()
        .into();
    settle_on(&org, json!({"opening_hours": every_day}));
    let open = Talk::start(&org);
    ask(&open, "I want to talk to a human");
    assert_eq!(open.get("").status(200)["status"], "waiting_for_human");
}

#[test]
fn the_ai_is_silent_while_a_person_is_waited_for_where_the_organization_wants_it() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let handover = talk.post("/handover", json!({})).status(201)["id"].as_str().unwrap().to_owned();
    assert_eq!(ask(&talk, "Meanwhile?")["turn"]["status"], "completed", "unless it wants it, the AI goes on");
    settle_on(&org, json!({"answer_while_waiting": false}));
    let stored = ask(&talk, "And now?");
    assert_eq!((&stored["turn"], &stored["reply"]), (&Value::Null, &Value::Null));
    let streamed = talk.request("POST", "/messages").json(&json!({"content": "Streamed?", "stream": true}));
    assert_eq!(all(streamed.stream()), ["message.received"]);
    org.post(&format!("/v1/handovers/{handover}/cancel"), json!({})).status(200);
    assert_eq!(ask(&talk, "Hello?")["turn"]["status"], "completed");
}

#[test]
fn a_request_survives_the_crash_in_which_its_answer_was_cut_off() {
    let mut server = Server::start();
    let org = server.organization();
    settle_on(&org, json!({"handover_on_failure": true}));
    let talk = Talk::start(&org);
    let slow = json!({"first_token_ms": 60_000, "tokens": 1});
    talk.post("/messages", json!({"content": "?", "wait_seconds": 0, "synthetic": slow})).status(202);
    // The third attempt is the last one: its end is a failure like any other.
    for crash in 1..=2 {
        server.crash();
        eventually("the turn goes on", || (count(&talk, "turn.restarted") == crash).then_some(()));
    }
    server.crash();
    eventually("a person is asked for", || (count(&talk, "handover.requested") == 1).then_some(()));
    let told = kinds(&talk);
    assert_eq!(told[told.len() - 2..], ["handover.requested", "turn.failed"]);
}

/// What an agent is shown holds everything, also where the conversation is longer than fits.
#[test]
fn an_agent_is_shown_all_that_is_needed_in_64_kib() {
    let receiver = crate::harness::webhook::receiver();
    let server = crate::harness::webhook::server(&[
        ("model.providers", "builtin,synthetic"),
        ("server.public_url", "https://chat.example.com/"),
    ]);
    let org = server.organization();
    let hook = crate::harness::webhook::hook(&org, &receiver, json!({"events": ["handover.*"]}));
    let article = json!({
        "title": "How long does delivery take?", "content": "Delivery takes two working days.",
        "url": "https://shop.example.com/delivery", "topic": "delivery",
    });
    let article = org.post("/v1/knowledge?wait=indexed", article).status(201)["id"].clone();
    settle_on(&org, json!({"answer_threshold": 0.1, "suggest_threshold": 0.05}));
    let talk = Talk::with(
        &org,
        json!({"channel": "web", "language": "en", "customer": {"id": "c-17", "name": "Ada", "email": "ada@example.com"}}),
    );
    // The dearest characters there are: each is four bytes, or six as JSON.
    for text in ["🙂".repeat(1_001), "\u{1}".repeat(1_000)] {
        for _ in 0..9 {
            talk.post(
                "/messages",
                json!({"content": text, "wait_seconds": 60, "model": "synthetic", "synthetic": words(1)}),
            )
            .status(200);
        }
    }
    let last = ask(&talk, "How long does delivery take?");
    assert_eq!(last["turn"]["outcome"], "answered", "{last}");
    let asked =
        talk.post("/handover", json!({"note": "\u{1}".repeat(2_000), "target": "returns"})).status(201);
    assert!(asked.body().len() <= 64 * 1024, "{}", asked.body().len());
    let delivered = crate::harness::webhook::settled(&org, &hook, "delivered", 1);
    assert_eq!(delivered.len(), 1);
    let body = &receiver.asked()[0];
    assert!(body.bytes.len() <= 64 * 1024, "{}", body.bytes.len());
    assert_eq!(body.body["data"]["handover"], *asked.json(), "the event holds the very object");

    let id = asked["id"].as_str().unwrap();
    for (field, expected) in [
        ("conversation_id", json!(talk.id)),
        ("channel", json!("web")),
        ("language", json!("en")),
        ("last_question", json!("How long does delivery take?")),
        ("customer", json!({"id": "c-17", "name": "Ada", "email": "ada@example.com"})),
        ("agent", Value::Null),
        ("accepted_at", Value::Null),
        ("ended_at", Value::Null),
        ("accept_url", json!(format!("https://chat.example.com/v1/handovers/{id}/accept"))),
        ("conversation_url", json!(format!("https://chat.example.com/v1/conversations/{}", talk.id))),
        ("console_url", json!(format!("https://chat.example.com/#/handovers/{id}"))),
    ] {
        assert_eq!(asked[field], expected, "{field}");
    }
    assert_eq!(asked["citations"][0]["article_id"], article);
    assert_eq!(asked["confidence"], last["reply"]["confidence"]);
    assert!(asked["expires_at"].as_str() > asked["requested_at"].as_str());
    let summary = asked["summary"].as_str().unwrap();
    for told in ["Tried: How long does delivery take?", "Ada", "ada@example.com", "c-17"] {
        assert!(summary.contains(told), "{told} in {summary}");
    }
    let messages = asked["messages"].as_array().unwrap();
    assert!((2..20).contains(&messages.len()), "{} messages fit", messages.len());
    assert_eq!(messages.last().unwrap()["content"], last["reply"]["content"]);
    let sequences: Vec<_> = messages.iter().map(|message| message["sequence"].as_i64().unwrap()).collect();
    assert!(sequences.is_sorted());
    let short = Talk::start(&org);
    short.post("/messages", json!({"content": "🙂".repeat(1_001), "wait_seconds": 60})).status(200);
    let one = short.post("/handover", json!({})).status(201);
    let first = &one["messages"][0];
    assert_eq!(
        (first["content"].as_str().unwrap().chars().count(), &first["truncated"]),
        (1_000, &json!(true))
    );
    assert_eq!(one["messages"][1]["truncated"], false);
}
