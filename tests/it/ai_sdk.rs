//! The AI SDK's dialect on the wire: chats under their own names, streams that can be taken up again, and streams that
//! have no end.

use std::thread;

use serde_json::{Value, json};

use crate::{
    harness::{
        Client, Ending, Event, EventStream, Reply, Request, Server, eventually,
        upstream::{Act, Upstream, answers, chunk, delta, finish, says, stream_head, streams},
    },
    talk::{Talk, silent},
    upstream::{QUESTION, server_with, shop},
};

const PATH: &str = "/v1/ai-sdk";

/// An answer that speaks at once and goes on for longer than any test runs.
const ENDLESS: [(&str, &str); 2] =
    [("model.synthetic.tokens_per_second", "20"), ("model.synthetic.tokens", "8192")];

/// What `useChat` sends when somebody has said `text` in the chat `id`.
fn said(id: &str, message: &str, text: &str) -> Value {
    json!({
        "id": id,
        "messages": [{"id": message, "role": "user", "parts": [{"type": "text", "text": text}]}],
        "trigger": "submit-message",
    })
}

fn request(client: &Client, body: &Value) -> Request {
    client.request("POST", PATH).json(body)
}

#[track_caller]
fn ask(client: &Client, body: &Value) -> Reply {
    request(client, body).send()
}

#[track_caller]
fn open(client: &Client, body: &Value) -> EventStream {
    let stream = request(client, body).stream();
    assert_eq!(stream.header("x-vercel-ai-ui-message-stream"), Some("v1"));
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    stream
}

/// Every part, and whether `[DONE]` came last.
#[track_caller]
fn parts(stream: &mut EventStream) -> (Vec<Value>, bool) {
    let mut events: Vec<Event> = stream.collect();
    assert!(events.iter().all(|event| event.kind == "message" && event.id.is_none()), "{events:?}");
    let done = events.last().is_some_and(|event| event.text == "[DONE]");
    if done {
        events.pop();
    }
    (events.into_iter().map(|event| event.data).collect(), done)
}

/// Says something and reads the whole answer.
#[track_caller]
fn answer(client: &Client, body: &Value) -> Vec<Value> {
    let (all, done) = parts(&mut open(client, body));
    assert!(done, "{all:?}");
    all
}

fn kinds(parts: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = parts.iter().map(|part| part["type"].as_str().unwrap()).collect();
    kinds.dedup();
    kinds
}

fn text(parts: &[Value]) -> String {
    parts.iter().filter_map(|part| part["delta"].as_str()).collect()
}

#[track_caller]
fn talk_of(client: &Client, parts: &[Value]) -> Talk {
    let id = parts[0]["messageMetadata"]["conversation_id"].as_str().unwrap();
    Talk { client: client.clone(), id: id.to_owned() }
}

/// Reads up to the first words.
#[track_caller]
fn first_words(stream: &mut EventStream) -> Value {
    let start = stream.expect().data;
    assert_eq!(start["type"], "start");
    while stream.expect().data["type"] != "text-delta" {}
    start
}

#[track_caller]
fn broken(mut stream: EventStream) {
    let (all, done) = parts(&mut stream);
    assert_eq!((done, stream.ending()), (false, Some(Ending::Broken)), "{all:?}");
    assert!(!kinds(&all).contains(&"finish"));
}

#[test]
fn an_answer_comes_in_parts_under_the_id_that_its_message_will_have() {
    let upstream = Upstream::that(says(&["By ", "e-mail [1]. Within thirty days [2]."]));
    let (_server, org) = shop(&upstream, "openai");
    let mut stream =
        open(&org, &said("chat-1", "m-1", "where is my parcel, and when may I send back the shoes"));
    let location = stream.header("content-location").unwrap().to_owned();
    let (all, done) = parts(&mut stream);
    assert!(done);
    let talk = talk_of(&org, &all);
    let stored = talk.messages();
    assert_eq!(stored.len(), 2);
    assert_eq!(stored[0]["client_message_id"], "m-1");
    assert_eq!(all[0]["messageId"], stored[1]["id"]);
    assert_eq!(location, talk.path(&format!("/turns/{}", stored[1]["turn_id"].as_str().unwrap())));
    assert_eq!(text(&all), stored[1]["content"].as_str().unwrap());
    let expected =
        ["start", "text-start", "text-delta", "text-end", "source-url", "source-document", "finish"];
    assert_eq!(kinds(&all), expected);
    let source = all.iter().find(|part| part["type"] == "source-url").unwrap();
    let cited = &stored[1]["citations"][0];
    assert_eq!((&source["url"], &source["title"]), (&json!("https://shop.example/parcels"), &cited["title"]));
    assert_eq!(source["sourceId"], cited["article_id"]);
    let ids: Vec<_> = all.iter().filter_map(|part| part.get("id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn a_chat_has_the_name_that_its_client_gave_it_and_each_key_has_its_own() {
    let server = Server::start();
    let org = server.organization();
    let name = "my chat/№ 1?";
    let talk = talk_of(&org, &answer(&org, &said(name, "m-1", "one")));
    assert_eq!(talk_of(&org, &answer(&org, &said(name, "m-2", "two"))).id, talk.id);
    // Under our own id it is the same.
    assert_eq!(talk_of(&org, &answer(&org, &said(&talk.id, "m-3", "three"))).id, talk.id);
    assert_eq!(talk.messages().len(), 6);

    let colleague = org.restricted(&server, "conversations:read,conversations:write");
    let theirs = talk_of(&org, &answer(&colleague, &said(name, "m-1", "one")));
    assert_ne!(theirs.id, talk.id);
    assert_eq!(talk_of(&org, &answer(&colleague, &said(&talk.id, "m-4", "four"))).id, talk.id);

    let stranger = server.organization();
    ask(&stranger, &said(&talk.id, "m-5", "five")).refused(404, "not_found");
    ask(&org, &said("conv_nonsense", "m-5", "five")).refused(404, "not_found");

    // What it stood for is gone with it.
    talk.request("DELETE", "").send().status(204);
    let anew = talk_of(&org, &answer(&org, &said(name, "m-1", "one")));
    assert_ne!(anew.id, talk.id);
    assert_eq!(anew.messages().len(), 2);
}

#[test]
fn a_name_that_many_use_at_once_is_one_conversation() {
    let server = Server::start();
    let org = server.organization();
    thread::scope(|scope| {
        for number in 0..8 {
            let org = &org;
            scope.spawn(move || answer(org, &said("chat", &format!("m-{number}"), "hi")));
        }
    });
    let conversations = org.get("/v1/conversations").status(200);
    let conversations = conversations["data"].as_array().unwrap();
    assert_eq!(conversations.len(), 1);
    assert_eq!(conversations[0]["message_count"], 16);
}

#[test]
fn a_message_that_is_sent_again_is_stored_once() {
    let server = Server::start();
    let org = server.organization();
    let first = answer(&org, &said("chat", "m-1", "hi"));
    let again = answer(&org, &said("chat", "m-1", "hi"));
    assert_eq!((text(&again), &again[0]), (text(&first), &first[0]));
    assert_eq!(talk_of(&org, &first).messages().len(), 2);
    ask(&org, &said("chat", "m-1", "other")).refused(422, "client_message_id_reused");
    // Older messages, and what is no text, are passed over.
    let messages = json!([
        {"id": "m-0", "role": "user", "parts": [{"type": "file", "mediaType": "image/png", "url": "data:"}]},
        {"id": "a", "role": "assistant", "parts": [{"type": "step-start"}, {"type": "text", "text": "x"}]},
        {"id": "m-2", "role": "user", "metadata": {"a": 1}, "parts": [
            {"type": "text", "text": "one"}, {"type": "data-place", "data": {}}, {"type": "text", "text": "two"}]},
    ]);
    let body = json!({"id": "chat", "messages": messages, "messageId": null, "anything": {"else": []}});
    let talk = talk_of(&org, &answer(&org, &body));
    assert_eq!(talk.messages()[2]["content"], "one\ntwo");

    let keyed = request(&org, &said("other", "m-1", "hi")).header("Idempotency-Key", "k");
    let (first, _) = parts(&mut keyed.stream());
    let mut again = keyed.stream();
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(parts(&mut again).0[0], first[0]);
}

#[test]
fn an_answer_is_tried_again_as_a_turn_of_its_own() {
    let server = Server::start();
    let org = server.organization();
    let mut body = said("chat", "m-1", "hi");
    let first = answer(&org, &body);
    body["trigger"] = json!("regenerate-message");
    body["messageId"] = first[0]["messageId"].clone();
    let second = answer(&org, &body);
    assert_ne!(second[0]["messageId"], first[0]["messageId"]);
    let talk = talk_of(&org, &second);
    let stored = talk.messages();
    let roles: Vec<_> = stored.iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["customer", "assistant", "assistant"]);
    assert_eq!(second[0]["messageId"], stored[2]["id"]);
    let turn = talk.turn(stored[2]["turn_id"].as_str().unwrap());
    assert_eq!(turn["retry_of"], stored[1]["turn_id"]);

    // Also by our own id of the message; a message that never got here is new; an old one is past.
    let mut ours = said("chat", stored[0]["id"].as_str().unwrap(), "hi");
    ours["trigger"] = json!("regenerate-message");
    answer(&org, &ours);
    assert_eq!(talk.messages().len(), 4);
    let mut lost = said("chat", "m-2", "and now?");
    lost["trigger"] = json!("regenerate-message");
    answer(&org, &lost);
    assert_eq!(talk.messages().len(), 6);
    ask(&org, &body).refused(409, "turn_not_retryable");
}

#[test]
fn a_page_that_was_loaded_again_gets_the_answer_from_its_start() {
    let upstream = Upstream::that(vec![
        stream_head(),
        chunk(delta("One ")),
        Act::Wait,
        chunk(delta("two.")),
        chunk(finish("stop")),
        Act::Close,
    ]);
    let server = server_with(&upstream, "openai", &[]);
    let org = server.organization();
    let mut first = open(&org, &said("my chat", "m-1", "hi"));
    let start = first_words(&mut first);
    let mut resumed = org.stream("/v1/ai-sdk/my%20chat/stream");
    assert_eq!(resumed.header("x-vercel-ai-ui-message-stream"), Some("v1"));
    assert_eq!(first_words(&mut resumed), start);
    drop(first);
    upstream.go_on();
    let (rest, done) = parts(&mut resumed);
    assert_eq!((text(&rest).as_str(), done), ("two.", true));

    // Just ended, it is shown once more.
    let (all, done) = parts(&mut org.stream("/v1/ai-sdk/my%20chat/stream"));
    assert_eq!((text(&all).as_str(), done, &all[0]), ("One two.", true, &start));
    let talk = talk_of(&org, &all);
    assert_eq!(kinds(&parts(&mut org.stream(&format!("/v1/ai-sdk/{}/stream", talk.id))).0)[0], "start");

    org.get("/v1/ai-sdk/never-used/stream").status(204);
    let quiet = Talk::start(&org);
    org.get(&format!("/v1/ai-sdk/{}/stream", quiet.id)).status(204);
    org.get("/v1/ai-sdk/conv_00000000000000000000000000/stream").refused(404, "not_found");
    server.organization().get(&format!("/v1/ai-sdk/{}/stream", talk.id)).refused(404, "not_found");
    // Another key knows no chat of that name.
    org.restricted(&server, "conversations:read").get("/v1/ai-sdk/my%20chat/stream").status(204);
}

#[test]
fn a_failed_turn_is_an_error_before_its_first_word_and_a_part_after_it() {
    let upstream = Upstream::that(answers("400 Bad Request", &[], "{}"));
    let server = server_with(&upstream, "openai", &[]);
    let org = server.organization();
    ask(&org, &said("chat", "m-1", "hi")).refused(502, "model_refused");
    // It is stored all the same, and shown as it went.
    let (all, done) = parts(&mut org.stream("/v1/ai-sdk/chat/stream"));
    assert_eq!((kinds(&all), done), (vec!["start", "error"], true));

    upstream.now(streams(&[delta("Half an"), "data: {\"error\": {\"message\": \"x\"}}\n\n".to_owned()]));
    let all = answer(&org, &said("chat", "m-2", "hi"));
    assert_eq!(kinds(&all), ["start", "text-start", "text-delta", "text-end", "error"]);
    assert!(all.last().unwrap()["errorText"].is_string());
}

#[test]
fn a_stopped_answer_says_so() {
    let server = Server::with(&ENDLESS);
    let org = server.organization();
    let mut stream = open(&org, &said("chat", "m-1", "hi"));
    let start = first_words(&mut stream);
    talk_of(&org, &[start]).post("/stop", json!({})).status(200);
    let (rest, done) = parts(&mut stream);
    assert_eq!((rest.last().unwrap(), done), (&json!({"type": "abort"}), true));
}

#[test]
fn what_is_said_to_a_person_is_stored_and_answered_by_nobody_else() {
    let server = Server::with(&ENDLESS);
    let org = server.organization();
    let mut stream = open(&org, &said("chat", "m-1", "hi"));
    let start = first_words(&mut stream);
    let talk = talk_of(&org, &[start]);
    talk.post("/handover", json!({"accept": {"agent": {"id": "a-1", "name": "Bo"}}})).status(201);
    let (rest, done) = parts(&mut stream);
    assert_eq!((rest.last().unwrap(), done), (&json!({"type": "abort"}), true));

    let all = answer(&org, &said("chat", "m-2", "are you there?"));
    assert_eq!(kinds(&all), ["start", "finish"]);
    assert_eq!(all[0].get("messageId"), None);
    assert_eq!(talk.messages().last().unwrap()["client_message_id"], "m-2");
}

#[test]
fn a_hang_up_stops_an_answer_only_where_that_was_asked_for() {
    let server = Server::with(&ENDLESS);
    let org = server.organization();
    let mut body = said("stops", "m-1", "hi");
    body["on_disconnect"] = json!("stop");
    let mut stream = open(&org, &body);
    let start = first_words(&mut stream);
    drop(stream);
    let talk = talk_of(&org, std::slice::from_ref(&start));
    let turn = talk.ended(start["messageMetadata"]["turn_id"].as_str().unwrap());
    assert_eq!((&turn["status"], &turn["stop_reason"]), (&json!("stopped"), &json!("disconnected")));

    let mut stream = open(&org, &said("goes on", "m-1", "hi"));
    let start = first_words(&mut stream);
    drop(stream);
    let mut again = org.stream("/v1/ai-sdk/goes%20on/stream");
    assert_eq!(first_words(&mut again), start);
}

#[test]
fn an_answer_that_the_server_ends_breaks_off_and_can_be_taken_up_again() {
    let mut server = Server::with(&ENDLESS);
    let org = server.organization();
    let mut stream = open(&org, &said("chat", "m-1", "hi"));
    let start = first_words(&mut stream);
    server.kill();
    broken(stream);
    server.start_again();
    let mut resumed = org.stream("/v1/ai-sdk/chat/stream");
    assert_eq!(first_words(&mut resumed), start);

    assert!(server.stop().success());
    broken(resumed);
    server.start_again();
    let mut resumed = org.stream("/v1/ai-sdk/chat/stream");
    assert_eq!(first_words(&mut resumed), start);
    talk_of(&org, &[start]).request("DELETE", "").send().status(204);
    broken(resumed);
    org.get("/v1/ai-sdk/chat/stream").status(204);
}

#[test]
fn an_answer_that_begins_anew_breaks_off_once_something_of_it_was_shown() {
    let server = Server::with(&[("model.synthetic.panic_rate", "1"), ("model.synthetic.tokens", "1000")]);
    let org = server.organization();
    // Where it panics is drawn: hardly ever at the very first word.
    let mut number = 0;
    eventually("an answer that breaks off", || {
        number += 1;
        let mut stream = request(&org, &said(&format!("chat-{number}"), "m-1", "hi")).try_stream().unwrap();
        let (all, done) = parts(&mut stream);
        let shown = stream.status() == 200 && kinds(&all).contains(&"text-delta");
        assert!(!(shown && done), "{all:?}");
        (shown && stream.ending() == Some(Ending::Broken)).then_some(())
    });
}

#[test]
fn a_stream_ends_with_the_key_that_opened_it() {
    let server = Server::with(&ENDLESS);
    let org = server.organization();
    let made =
        org.post("/v1/keys", json!({"kind": "restricted", "scopes": ["conversations:write"]})).status(201);
    let client = server.client_with(made["secret"].as_str().unwrap());
    let mut stream = open(&client, &said("chat", "m-1", "hi"));
    first_words(&mut stream);
    org.delete(&format!("/v1/keys/{}", made["key"]["id"].as_str().unwrap())).status(204);
    broken(stream);
}

#[test]
fn what_cannot_be_understood_is_refused_by_name() {
    let server = Server::start();
    let org = server.organization();
    let user = |parts: Value| json!({"id": "c", "messages": [{"id": "m", "role": "user", "parts": parts}]});
    for (body, param) in [
        (json!({"messages": []}), "id"),
        (json!({"id": "c"}), "messages"),
        (json!({"id": "c", "messages": []}), "messages"),
        (json!({"id": "", "messages": said("c", "m", "x")["messages"]}), "id"),
        (json!({"id": "c", "messages": [{"role": "assistant", "parts": []}]}), "messages"),
        (
            user(json!([{"type": "text", "text": "x"}, {"type": "file", "url": "data:"}])),
            "messages[0].parts[1].type",
        ),
        (user(json!([])), "messages[0].parts"),
        (user(json!([{"type": "text", "text": "x".repeat(32_001)}])), "messages[0].parts"),
        (said("c", &"x".repeat(129), "hi"), "messages[0].id"),
    ] {
        ask(&org, &body).refused(400, "invalid_field").naming(param);
    }
    let mut body = said("c", "m", "hi");
    body["trigger"] = json!("resubmit-tool-result");
    ask(&org, &body).refused(400, "invalid_field").naming("trigger");
    assert_eq!(org.get("/v1/conversations").status(200)["data"], json!([]));

    ask(&server.client(), &said("c", "m", "hi")).refused(401, "invalid_key");
    let reads = org.restricted(&server, "conversations:read");
    ask(&reads, &said("c", "m", "hi")).refused(403, "missing_scope").naming("conversations:write");
    let writes = org.restricted(&server, "conversations:write");
    writes.get("/v1/ai-sdk/c/stream").refused(403, "missing_scope").naming("conversations:read");
}

#[test]
fn a_chat_waits_for_the_answer_before_its_own() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let running = talk.hold(silent());
    let asking = {
        let (org, id) = (org.clone(), talk.id.clone());
        thread::spawn(move || answer(&org, &said(&id, "m-1", QUESTION)))
    };
    eventually("the message is stored", || (talk.messages().len() == 2).then_some(()));
    // A page that is loaded again now shows the one that is being answered.
    let start = org.stream(&format!("/v1/ai-sdk/{}/stream", talk.id)).expect().data;
    assert_eq!(start["messageMetadata"]["turn_id"], running.as_str());
    talk.post(&format!("/turns/{running}/stop"), json!({})).status(200);
    assert_eq!(kinds(&asking.join().unwrap()).last(), Some(&"finish"));
}
