//! `Idempotency-Key`: a request that is sent again does nothing again.

use std::thread;

use serde_json::{Value, json};

use crate::{
    harness::{Client, Reply, Request, Server, times},
    talk::{Heard, Talk, endless, words},
};

fn keyed(client: &Client, path: &str, key: &str, body: &Value) -> Request {
    client.request("POST", path).header("Idempotency-Key", key).json(body)
}

fn is_replayed(reply: &Reply) -> bool {
    reply.header("idempotent-replayed") == Some("true")
}

#[test]
fn a_repeat_gets_the_first_answer_and_does_nothing() {
    let mut server = Server::start();
    let org = server.organization();
    let body = json!({"message": {"content": "hi", "synthetic": words(5)}, "metadata": {"a": "1"}});
    let request = keyed(&org, "/v1/conversations", "start-1", &body);
    let first = request.send().status(201);
    assert!(!is_replayed(&first));
    let again = request.send().status(201);
    assert!(is_replayed(&again));
    assert_eq!(again.json(), first.json());
    assert_eq!(again.header("location"), first.header("location"));
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"));

    // Also after a crash, which forgets everything but the store.
    server.kill();
    server.start_again();
    let again = request.send().status(201);
    assert!(is_replayed(&again));
    assert_eq!(again.json(), first.json());
    assert_eq!(org.get("/v1/conversations").status(200)["data"].as_array().unwrap().len(), 1);
}

#[test]
fn sixty_four_at_once_have_one_effect() {
    let server = Server::start();
    let org = server.organization();
    let way = json!({"first_token_ms": 50, "tokens_per_second": 0, "tokens": 3});
    let body = json!({"message": {"content": "hi", "synthetic": way}});
    let request = keyed(&org, "/v1/conversations", "one", &body);
    let answers: Vec<_> = thread::scope(|scope| {
        let sending: Vec<_> = (0..64).map(|_| scope.spawn(|| request.send().status(201))).collect();
        sending.into_iter().map(|sent| sent.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| !is_replayed(answer)).count(), 1);
    assert!(answers.iter().all(|answer| answer.json() == answers[0].json()));
    assert_eq!(org.get("/v1/conversations").status(200)["data"].as_array().unwrap().len(), 1);
}

#[test]
fn any_other_request_under_the_key_is_refused() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let other_talk = Talk::start(&org);
    let body = json!({"content": "hi"});
    keyed(&org, &talk.path("/messages"), "k", &body).send().status(200);
    for request in [
        keyed(&org, &talk.path("/messages"), "k", &json!({"content": "other"})),
        keyed(&org, &other_talk.path("/messages"), "k", &body),
        keyed(&org, &talk.path("/stop"), "k", &json!({})),
        org.request("POST", &talk.path("/messages"))
            .header("Idempotency-Key", "k")
            .header("Content-Type", "application/json")
            .body(r#"{ "content":"hi"}"#),
    ] {
        request.send().refused(422, "idempotency_key_reused").naming("idempotency-key");
    }
    // Under another key's name it is another request.
    let colleague = org.restricted(&server, "conversations:write,conversations:read");
    assert!(!is_replayed(&keyed(&colleague, &talk.path("/messages"), "k", &body).send().status(200)));
    let stranger = server.organization();
    keyed(&stranger, &talk.path("/messages"), "k", &body).send().refused(404, "not_found");
    assert_eq!(talk.messages().len(), 4);
}

#[test]
fn a_refusal_leaves_the_key_free() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let running = talk.hold(endless());
    let body = json!({"content": "hi", "on_busy": "reject"});
    let request = keyed(&org, &talk.path("/messages"), "k", &body);
    request.send().refused(409, "turn_in_progress");
    request.send().refused(409, "turn_in_progress");
    keyed(&org, &talk.path("/messages"), "k", &json!({"content": ""})).send().refused(400, "invalid_field");
    talk.post(&format!("/turns/{running}/stop"), json!({})).status(200);
    assert!(!is_replayed(&request.send().status(200)));
    assert!(is_replayed(&request.send().status(200)));
}

#[test]
fn a_key_is_one_visible_word() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let long = "k".repeat(256);
    for bad in ["", "a b", "é", &long] {
        for (path, body) in
            [("/messages", json!({"content": "hi"})), ("/typing", json!({})), ("/stop", json!({}))]
        {
            keyed(&org, &talk.path(path), bad, &body)
                .send()
                .refused(400, "invalid_header")
                .naming("idempotency-key");
        }
    }
    keyed(&org, &talk.path("/messages"), &long[1..], &json!({"content": "hi"})).send().status(200);
    let twice =
        keyed(&org, &talk.path("/messages"), "k", &json!({"content": "hi"})).header("Idempotency-Key", "k");
    twice.send().refused(400, "duplicate_header").naming("idempotency-key");
}

#[test]
fn a_streaming_repeat_attaches_to_the_turn() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let body = json!({"content": "hi", "stream": true, "synthetic": endless()});
    let request = keyed(&org, &talk.path("/messages"), "k", &body);
    let mut first = request.stream();
    let mut heard = Heard::until(&mut first, "turn.delta");
    let cursor = first.last_id().unwrap().to_owned();

    let mut again = request.stream();
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("content-location"), first.header("content-location"));
    let mut repeated = Heard::until(&mut again, "turn.delta");
    let mut resumed = request.clone().header("Last-Event-ID", &cursor).stream();
    let offset = heard.text.len();
    let rest = resumed.until("turn.delta");
    assert_eq!(rest.data["offset"], offset);

    talk.post("/stop", json!({})).status(200);
    for (stream, heard) in [(&mut first, &mut heard), (&mut again, &mut repeated)] {
        for event in stream {
            heard.add(&event);
        }
    }
    assert_eq!(heard, repeated);
    assert_eq!(talk.messages().len(), 2);

    // Past its end it is a stream all the same, an empty one.
    let end = first.last_id().unwrap().to_owned();
    let mut nothing = request.clone().header("Last-Event-ID", &end).stream();
    assert_eq!(nothing.next(), None);
    assert_eq!(Heard::all(&mut request.stream()).kinds(), heard.kinds());
}

#[test]
fn every_verb_is_done_once() {
    let mut server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let sent = talk.send(json!({"content": "hi"})).status(200);
    let turn = sent["turn"]["id"].as_str().unwrap();
    let retry = keyed(&org, &talk.path(&format!("/turns/{turn}/retry")), "retry", &json!({}));
    let retried = retry.send().status(200);
    assert_eq!(retry.send().status(200).json(), retried.json());

    let running = talk.hold(endless());
    let stop = keyed(&org, &talk.path("/stop"), "stop", &json!({}));
    assert_eq!(stop.send().status(200)["turn"]["id"], json!(running));
    let another = talk.hold(endless());
    // The same request as before: it stopped the other turn, and does not stop this one.
    assert_eq!(stop.send().status(200)["turn"]["id"], json!(running));
    assert_eq!(talk.turn(&another)["status"], "running");
    keyed(&org, &talk.path("/stop"), "stop-2", &json!({})).send().status(200);

    let rate = keyed(&org, &talk.path("/rating"), "rate", &json!({"score": 1}));
    rate.send().status(200);
    talk.post("/rating", json!({"score": 5})).status(200);
    let complete = keyed(&org, &talk.path("/complete"), "complete", &json!({"resolution": "resolved"}));
    complete.send().status(200);
    talk.send(json!({"content": "again"})).status(200);
    server.kill();
    server.start_again();
    let before = talk.events();
    assert!(is_replayed(&rate.send().status(200)));
    let repeated = complete.send().status(200);
    assert!(is_replayed(&repeated));
    assert_eq!((&repeated["status"], &repeated["rating"]["score"]), (&json!("active"), &json!(5)));
    assert!(is_replayed(&retry.send().status(200)));
    assert_eq!(talk.events(), before);
}

#[test]
fn a_client_that_hung_up_and_asks_again_finds_its_message() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    for n in 0..30 {
        let request =
            keyed(&org, &talk.path("/messages"), &format!("k{n}"), &json!({"content": format!("m{n}")}));
        let mut connection = server.connect();
        connection.send(&request.bytes()).unwrap();
        drop(connection);
        request.send().status(200);
    }
    let messages = talk.messages();
    let customers: Vec<_> = messages.iter().filter(|message| message["role"] == "customer").collect();
    assert_eq!(customers.len(), 30);
}

#[test]
fn who_did_not_wait_finds_the_reply_by_repeating_the_request() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let sent = keyed(&org, &talk.path("/messages"), "later", &json!({"content": "hi", "wait_seconds": 0}));
    let turn = sent.send().status(202)["turn"]["id"].as_str().unwrap().to_owned();
    talk.ended(&turn);
    let again = sent.send().status(200);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!((&again["turn"]["status"], &again["turn"]["id"]), (&json!("completed"), &json!(turn)));
    assert_eq!(again["reply"]["id"], again["turn"]["reply_id"]);

    let body = json!({"message": {"content": "hi", "wait_seconds": 0}});
    let start = keyed(&org, "/v1/conversations", "start-later", &body);
    let begun = start.send().status(202);
    let id = begun["conversation"]["id"].as_str().unwrap().to_owned();
    Talk { client: (*org).clone(), id }.ended(begun["turn"]["id"].as_str().unwrap());
    let again = start.send().status(201);
    assert_eq!(again["reply"]["turn_id"], again["turn"]["id"]);
}

#[test]
fn a_crash_between_effect_and_answer_repeats_nothing() {
    let mut server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let rounds = times(8, 100);
    for n in 0..rounds {
        let body = json!({"content": format!("m{n}"), "wait_seconds": 0, "on_busy": "merge"});
        let request = keyed(&org, &talk.path("/messages"), &format!("k{n}"), &body);
        let mut connection = server.connect();
        connection.send(&request.bytes()).unwrap();
        // Sometimes before the effect, sometimes after it, and never after the answer was read.
        for _ in 0..n % 4 {
            talk.conversation();
        }
        server.kill();
        drop(connection);
        server.start_again();
        // 202 while it is being answered, 200 with the reply where that was quicker.
        let again = request.send();
        let ended = again["turn"]["status"] == "completed";
        assert_eq!(
            (again.code(), again["reply"].is_object()),
            (if ended { 200 } else { 202 }, ended),
            "{again:?}"
        );
    }
    let messages = talk.messages();
    let said: Vec<_> = messages.iter().filter(|message| message["role"] == "customer").collect();
    assert_eq!(said.len(), rounds);
    let told = talk.kinds().iter().filter(|kind| *kind == "message.received").count();
    assert_eq!(told, rounds);
}
