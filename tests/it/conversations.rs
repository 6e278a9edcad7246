//! Conversations: begun, shown, changed, completed, rated, erased.

use serde_json::{Value, json};

use crate::{
    harness::Server,
    talk::{Heard, Talk, endless, silent},
};

#[test]
fn a_start_with_words_is_answered_whole() {
    let server = Server::start();
    let org = server.organization();
    let started = org.post("/v1/conversations", json!({"message": "Where is my parcel?"})).status(201);
    let id = started["conversation"]["id"].as_str().unwrap();
    assert_eq!(started.header("location"), Some(format!("/v1/conversations/{id}").as_str()));
    assert_eq!(started["message"]["content"], "Where is my parcel?");
    assert_eq!(started["message"]["role"], "customer");
    assert_eq!(started["turn"]["status"], "completed");
    assert_eq!(started["turn"]["reply_id"], started["reply"]["id"]);
    assert_eq!(started["reply"]["status"], "complete");
    assert_eq!(started["conversation"]["message_count"], 2);
    assert_eq!(started["conversation"]["sequence"], 5);
    assert!(started.json().as_object().unwrap().contains_key("client_token"));

    let talk = Talk { client: (*org).clone(), id: id.to_owned() };
    assert_eq!(talk.messages(), [started["message"].clone(), started["reply"].clone()]);
    assert_eq!(talk.turn(started["turn"]["id"].as_str().unwrap()), started["turn"]);
    assert_eq!(talk.conversation(), started["conversation"]);
    assert_eq!(
        talk.kinds(),
        ["conversation.started", "message.received", "turn.started", "message.sent", "turn.completed"]
    );
}

#[test]
fn a_start_without_words_only_begins() {
    let server = Server::start();
    let org = server.organization();
    for request in [
        org.request("POST", "/v1/conversations"),
        org.request("POST", "/v1/conversations").json(&json!({})),
        org.request("POST", "/v1/conversations").json(&json!({"message": null, "customer": null})),
    ] {
        let started = request.send().status(201);
        assert_eq!(
            (&started["message"], &started["turn"], &started["reply"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );
        assert_eq!(started["conversation"]["channel"], "api");
        assert_eq!(started["conversation"]["sequence"], 1);
    }
    let streamed = org.request("POST", "/v1/conversations").json(&json!({"stream": true})).stream();
    assert_eq!(streamed.map(|event| event.kind).collect::<Vec<_>>(), ["conversation.started"]);
}

#[test]
fn what_a_client_says_of_a_conversation_comes_back() {
    let server = Server::start();
    let org = server.organization();
    let said = json!({
        "channel": "web-2", "topic": "delivery", "language": "nl",
        "customer": {"id": "c-17", "name": "Zoë", "email": "zoe@example.com"},
        "metadata": {"order": "8812", "é": ""},
    });
    let talk = Talk::with(&org, said.clone());
    let shown = talk.conversation();
    for (field, value) in said.as_object().unwrap() {
        assert_eq!(shown[field], *value, "{field}");
    }
    for field in ["completed_at", "resolution", "rating", "active_turn_id", "handover", "last_message_at"] {
        assert_eq!(shown.as_object().unwrap().get(field), Some(&Value::Null), "{field}");
    }
    assert_eq!(
        (&shown["status"], &shown["owner"], &shown["epoch"]),
        (&json!("active"), &json!("ai"), &json!(1))
    );
}

#[test]
fn a_field_that_cannot_be_so_is_refused_by_name() {
    let server = Server::start();
    let org = server.organization();
    let long = |characters: usize| "é".repeat(characters);
    let pairs =
        |count: usize| (0..count).map(|n| (n.to_string(), json!("x"))).collect::<serde_json::Map<_, _>>();
    for (body, param) in [
        (json!({"channel": "Web"}), "channel"),
        (json!({"channel": ""}), "channel"),
        (json!({"topic": long(101)}), "topic"),
        (json!({"language": "dutch language"}), "language"),
        (json!({"customer": {"email": "ada"}}), "customer.email"),
        (json!({"customer": {"id": ""}}), "customer.id"),
        (json!({"customer": {"name": long(201)}}), "customer.name"),
        (json!({"customer": {"name": "a\u{0}b"}}), "customer.name"),
        (json!({"metadata": {"a": long(513)}}), "metadata.a"),
        (json!({"metadata": {"a": 1}}), "metadata.a"),
        (json!({"metadata": pairs(17)}), "metadata"),
        (json!({"message": ""}), "message.content"),
        (json!({"message": long(32_001)}), "message.content"),
        (json!({"message": {}}), "message.content"),
        (json!({"message": 5}), "message"),
        (json!({"message": {"content": "a", "model": "oracle"}}), "message.model"),
        (json!({"message": {"content": "a", "client_message_id": long(129)}}), "message.client_message_id"),
        (json!({"message": {"content": "a", "synthetic": {"tokens": 0}}}), "message.synthetic.tokens"),
        (json!({"wait_seconds": 121}), "wait_seconds"),
        (json!({"stream": "yes"}), "stream"),
    ] {
        org.post("/v1/conversations", body.clone()).refused(400, "invalid_field").naming(param);
    }
    for (body, param) in [
        (json!({"chanel": "web"}), "chanel"),
        (json!({"customer": {"mail": "a@b"}}), "customer.mail"),
        (json!({"message": {"content": "a", "colour": 1}}), "message.colour"),
    ] {
        org.post("/v1/conversations", body).refused(400, "unknown_field").naming(param);
    }
    org.post("/v1/conversations", json!({"message": {"content": "a", "role": "agent"}}))
        .refused(409, "handover_state");
    let longest = json!({"message": long(32_000), "topic": long(100), "metadata": pairs(16)});
    org.post("/v1/conversations", longest).status(201);
    assert_eq!(org.get("/v1/conversations").status(200)["data"].as_array().unwrap().len(), 1);
}

#[test]
fn a_patch_changes_what_it_names_and_its_version() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::with(
        &org,
        json!({"topic": "a", "customer": {"id": "1", "name": "Ada"}, "metadata": {"keep": "1", "drop": "2"}}),
    );
    let patch = |body: Value| talk.client.patch(&talk.path(""), body);
    assert_eq!(talk.get("").header("etag"), Some("\"1\""));

    let patched =
        patch(json!({"topic": null, "customer": {"name": "Zoë"}, "metadata": {"drop": null, "new": "3"}}))
            .status(200);
    assert_eq!(patched.header("etag"), Some("\"2\""));
    assert_eq!(patched["topic"], Value::Null);
    assert_eq!(patched["customer"], json!({"id": "1", "name": "Zoë", "email": null}));
    assert_eq!(patched["metadata"], json!({"keep": "1", "new": "3"}));
    assert_eq!(talk.conversation(), *patched.json());
    assert_eq!(talk.events().last().unwrap()["data"]["conversation"], *patched.json());

    // What is so already changes nothing, and neither does talking.
    assert_eq!(patch(json!({"metadata": {"keep": "1"}})).status(200).header("etag"), Some("\"2\""));
    talk.send(json!({"content": "hi"})).status(200);
    assert_eq!(talk.get("").header("etag"), Some("\"2\""));

    let cleared = patch(json!({"customer": null, "metadata": null})).status(200);
    assert_eq!(cleared["customer"], json!({"id": null, "name": null, "email": null}));
    assert_eq!(cleared["metadata"], json!({}));

    let many: serde_json::Map<_, _> = (0..17).map(|n| (n.to_string(), json!("x"))).collect();
    patch(json!({"metadata": many})).refused(400, "invalid_field").naming("metadata");
    patch(json!({"status": "completed"})).refused(400, "unknown_field").naming("status");
    patch(json!({"customer": {"email": "x"}})).refused(400, "invalid_field").naming("customer.email");
}

#[test]
fn if_match_lets_only_the_version_that_was_read_be_changed() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let change = |method: &str, tag: &str| {
        let request = talk.request(method, "").header("If-Match", tag);
        let request = if method == "PATCH" { request.json(&json!({"topic": tag})) } else { request };
        request.send()
    };
    change("PATCH", "\"7\"").refused(412, "version_conflict");
    change("PATCH", "\"7\", \"1\"").status(200);
    change("PATCH", "\"1\"").refused(412, "version_conflict");
    change("PATCH", "*").status(200);
    change("DELETE", "\"1\"").refused(412, "version_conflict");
    change("DELETE", "\"3\"").status(204);
}

#[test]
fn completing_stops_the_turns_and_a_message_opens_it_again() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let running = talk.hold(silent());
    let waiting = talk.hold(silent());
    let completed = talk.post("/complete", json!({"resolution": "resolved"})).status(200);
    assert_eq!((&completed["status"], &completed["resolution"]), (&json!("completed"), &json!("resolved")));
    assert!(completed["completed_at"].is_string());
    for turn in [running, waiting] {
        let turn = talk.turn(&turn);
        assert_eq!((&turn["status"], &turn["stop_reason"]), (&json!("stopped"), &json!("completed")));
    }
    // It holds already: the same answer, and no event.
    let events = talk.events().len();
    assert_eq!(talk.post("/complete", json!({})).status(200).json(), completed.json());
    assert_eq!(talk.events().len(), events);

    talk.send(json!({"content": "one more thing"})).status(200);
    let reopened = talk.conversation();
    assert_eq!((&reopened["status"], &reopened["resolution"]), (&json!("active"), &Value::Null));
    assert!(talk.kinds().contains(&"conversation.reopened".to_owned()));
    talk.post("/complete", json!({"resolution": "maybe"})).refused(400, "invalid_field").naming("resolution");
}

#[test]
fn an_organization_may_keep_what_is_completed_closed() {
    let server = Server::start();
    let org = server.organization();
    org.patch("/v1/organization", json!({"reopen_on_message": false})).status(200);
    let talk = Talk::start(&org);
    talk.send(json!({"content": "hi"})).status(200);
    talk.post("/complete", json!({})).status(200);
    // The choice may be remembered for a second.
    talk.send(json!({"content": "again"})).refused(409, "conversation_completed");
    assert_eq!(talk.messages().len(), 2);
}

#[test]
fn the_last_rating_counts() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    talk.post("/rating", json!({"score": 2})).status(200);
    talk.post("/complete", json!({})).status(200);
    let rated = talk.post("/rating", json!({"score": 5, "comment": "Thanks"})).status(200);
    assert_eq!(rated["rating"], json!({"score": 5, "comment": "Thanks"}));
    assert_eq!(rated["status"], "completed");
    assert_eq!(talk.kinds().iter().filter(|kind| *kind == "conversation.rated").count(), 2);
    for (body, param) in [
        (json!({"score": 0}), "score"),
        (json!({"score": 6}), "score"),
        (json!({}), "score"),
        (json!({"score": 5, "comment": "é".repeat(2_001)}), "comment"),
    ] {
        talk.post("/rating", body).refused(400, "invalid_field").naming(param);
    }
}

#[test]
fn typing_is_seen_by_those_who_watch_and_stored_nowhere() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let mut watching = talk.client.stream(&talk.path("/stream"));
    talk.post("/typing", json!({})).status(204);
    let typing = watching.until("typing");
    assert_eq!((typing.id.as_deref(), &typing.data["by"]), (None, &json!("customer")));
    talk.request("POST", "/typing").json(&json!({"role": "agent"})).send().status(204);
    assert_eq!(watching.until("typing").data["by"], "agent");
    assert_eq!(talk.kinds(), ["conversation.started"]);
}

#[test]
fn deleting_ends_the_streams_and_leaves_nothing() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let turn = talk.hold(endless());
    let mut watching = talk.client.stream(&talk.path("/stream"));
    let mut turns = talk.client.stream(&talk.path(&format!("/turns/{turn}/stream")));
    watching.until("turn.delta");
    turns.until("turn.delta");

    talk.client.delete(&talk.path("")).status(204);
    for stream in [&mut watching, &mut turns] {
        let heard = Heard::all(stream);
        assert_eq!(heard.others, ["stream.closing"], "{heard:?}");
    }
    talk.client.delete(&talk.path("")).refused(404, "not_found");
    for rest in ["", "/messages", "/events", "/stream", "/turns/x", &format!("/turns/{turn}")] {
        talk.get(rest).refused(404, "not_found");
    }
    talk.send(json!({"content": "hi"})).refused(404, "not_found");
    assert_eq!(org.get("/v1/conversations").status(200)["data"], json!([]));
}

#[test]
fn another_organization_sees_nothing_of_it() {
    let server = Server::start();
    let org = server.organization();
    let stranger = server.organization();
    let own = Talk::start(&org);
    let answered = own.send(json!({"content": "hi"})).status(200);
    let (turn, message) =
        (answered["turn"]["id"].as_str().unwrap(), answered["message"]["id"].as_str().unwrap());
    let before = own.events();

    let foreign = Talk { client: (*stranger).clone(), id: own.id.clone() };
    for rest in [
        String::new(),
        "/messages".to_owned(),
        format!("/messages/{message}"),
        format!("/turns/{turn}"),
        "/events".to_owned(),
        "/stream".to_owned(),
        "/stream?after=0".to_owned(),
        format!("/turns/{turn}/stream"),
        "/ws".to_owned(),
    ] {
        foreign.get(&rest).refused(404, "not_found");
    }
    for (rest, body) in [
        ("/messages".to_owned(), json!({"content": "hi"})),
        ("/messages".to_owned(), json!({"content": "hi", "stream": true})),
        ("/stop".to_owned(), json!({})),
        (format!("/turns/{turn}/stop"), json!({})),
        (format!("/turns/{turn}/retry"), json!({})),
        ("/complete".to_owned(), json!({})),
        ("/rating".to_owned(), json!({"score": 5})),
        ("/typing".to_owned(), json!({})),
    ] {
        foreign.post(&rest, body).refused(404, "not_found");
    }
    foreign.client.patch(&foreign.path(""), json!({"topic": "x"})).refused(404, "not_found");
    foreign.client.delete(&foreign.path("")).refused(404, "not_found");
    assert_eq!(stranger.get("/v1/conversations").status(200)["data"], json!([]));
    assert_eq!(own.events(), before);

    // A turn or message of another conversation is not of this one.
    let other = Talk::start(&org);
    other.get(&format!("/turns/{turn}")).refused(404, "not_found");
    other.get(&format!("/messages/{message}")).refused(404, "not_found");
    other.get(&format!("/turns/{turn}/stream")).refused(404, "not_found");
    other.post(&format!("/turns/{turn}/stop"), json!({})).refused(404, "not_found");
    other.post(&format!("/turns/{turn}/retry"), json!({})).refused(404, "not_found");
}

#[test]
fn a_key_does_only_what_its_scopes_say() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let as_one_that_holds =
        |scopes: &str| Talk { client: org.restricted(&server, scopes), id: talk.id.clone() };
    let (reads, writes) = (as_one_that_holds("conversations:read"), as_one_that_holds("conversations:write"));
    let denied = |reply: crate::harness::Reply, scope: &str| {
        reply.refused(403, "missing_scope").naming(scope);
    };
    reads.get("").status(200);
    denied(reads.send(json!({"content": "hi"})), "conversations:write");
    denied(reads.post("/complete", json!({})), "conversations:write");
    denied(reads.client.post("/v1/conversations", json!({})), "conversations:write");
    denied(writes.get(""), "conversations:read");
    denied(writes.get("/stream"), "conversations:read");
    denied(writes.client.delete(&writes.path("")), "conversations:delete");
    denied(writes.send(json!({"content": "hi", "role": "agent"})), "handover:write");
    denied(writes.post("/typing", json!({"role": "agent"})), "handover:write");
    writes.send(json!({"content": "hi"})).status(200);

    let agent = as_one_that_holds("handover:write");
    denied(agent.send(json!({"content": "hi"})), "conversations:write");
    agent.send(json!({"content": "hi", "role": "agent"})).refused(409, "handover_state");
    as_one_that_holds("conversations:delete").client.delete(&talk.path("")).status(204);
}
