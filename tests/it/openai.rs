//! OpenAI's dialect on the wire: what its clients rely on, and what happens when an answer has no end.

use serde_json::{Value, json};

use crate::{
    harness::{
        Client, Ending, Event, EventStream, Organization, Reply, Server, eventually,
        upstream::{Act, Upstream, answers, chunk, delta, finish, says, stream_head, streams},
    },
    talk::{Talk, silent},
    upstream::{server_with, shop, stock},
};

const PATH: &str = "/v1/chat/completions";

/// An answer that speaks at once and goes on for longer than any test runs.
const ENDLESS: [(&str, &str); 2] =
    [("model.synthetic.tokens_per_second", "20"), ("model.synthetic.tokens", "8192")];

fn said(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

fn with(mut body: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn ask(client: &Client, more: Value) -> Reply {
    client.post(PATH, with(said("Where is my parcel?"), more))
}

fn streamed(client: &Client, more: Value) -> EventStream {
    let body = with(with(said("Where is my parcel?"), json!({"stream": true})), more);
    client.request("POST", PATH).json(&body).stream()
}

/// Every chunk, and whether `[DONE]` came last.
#[track_caller]
fn chunks(stream: &mut EventStream) -> (Vec<Value>, bool) {
    let mut events: Vec<Event> = stream.collect();
    // A named event, or an id, would be foreign to these clients.
    assert!(events.iter().all(|event| event.kind == "message" && event.id.is_none()), "{events:?}");
    let done = events.last().is_some_and(|event| event.text == "[DONE]");
    if done {
        events.pop();
    }
    (events.into_iter().map(|event| event.data).collect(), done)
}

fn text(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

/// The last chunk with a choice.
#[track_caller]
fn last(chunks: &[Value]) -> &Value {
    chunks.iter().rfind(|chunk| chunk["choices"][0].is_object()).unwrap()
}

#[track_caller]
fn reason(chunks: &[Value]) -> &str {
    last(chunks)["choices"][0]["finish_reason"].as_str().unwrap()
}

/// No deadline of the model's ends a call before the test has looked.
const PATIENT: [(&str, &str); 3] = [
    ("model.openai.first_token_timeout_ms", "110000"),
    ("model.openai.between_tokens_timeout_ms", "110000"),
    ("model.openai.total_timeout_ms", "120000"),
];

/// A server whose model is this upstream.
fn asking(upstream: &Upstream) -> (Server, Organization) {
    let server = server_with(upstream, "openai", &PATIENT);
    let org = server.organization();
    (server, org)
}

#[test]
fn a_completion_is_whole_counted_and_stored_nowhere() {
    let server = Server::with(&[("model.synthetic.tokens", "7")]);
    let org = server.organization();
    let completion = ask(&org, json!({"model": "synthetic"})).status(200);
    assert_eq!(completion["object"], "chat.completion");
    assert!(completion["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(
        (&completion["model"], &completion["choices"][0]["finish_reason"]),
        (&json!("synthetic"), &json!("stop"))
    );
    let message = &completion["choices"][0]["message"];
    assert_eq!(message["role"], "assistant");
    assert_eq!(message["content"].as_str().unwrap().split(' ').count(), 7);
    assert_eq!(completion["usage"], json!({"prompt_tokens": 4, "completion_tokens": 7, "total_tokens": 11}));
    assert_eq!(completion["openclaw"]["conversation_id"], Value::Null);
    assert_eq!(completion.header("x-ratelimit-limit"), Some("1000000"));
    assert_eq!(org.get("/v1/conversations").status(200)["data"], json!([]));
}

#[test]
fn a_stream_says_a_role_the_text_a_reason_and_what_was_asked_for() {
    let server = Server::with(&[("model.synthetic.tokens", "7")]);
    let org = server.organization();
    let mut stream = streamed(&org, json!({"stream_options": {"include_usage": true}}));
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    let (all, done) = chunks(&mut stream);
    assert!(done);
    assert_eq!(all[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(text(&all).split(' ').count(), 7);
    let (usage, before) = all.split_last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"], json!({"prompt_tokens": 4, "completion_tokens": 7, "total_tokens": 11}));
    assert!(before.iter().all(|chunk| chunk["usage"].is_null() && chunk["choices"][0]["index"] == 0));
    assert_eq!(reason(before), "stop");
    let ends = before.iter().filter(|chunk| chunk["choices"][0]["finish_reason"].is_string());
    assert_eq!(ends.count(), 1);
    let same = |name: &str| all.iter().all(|chunk| chunk[name] == all[0][name] && !chunk[name].is_null());
    assert!(same("id") && same("created") && same("model") && same("object"), "{all:?}");

    let (all, done) = chunks(&mut streamed(&org, json!({})));
    assert!(done && all.iter().all(|chunk| chunk.get("usage").is_none()), "{all:?}");
}

#[test]
fn a_stop_sequence_ends_the_answer_and_the_upstreams_work_wherever_the_pieces_are_cut() {
    let upstream = Upstream::that(vec![
        stream_head(),
        chunk(delta("By e-mail. E")),
        Act::Wait,
        chunk(delta("N")),
        chunk(delta("D and more")),
        Act::Hang,
    ]);
    let (_server, org) = asking(&upstream);
    let stop = json!({"stop": ["never", "END"], "stream_options": {"include_usage": true}});
    let mut stream = streamed(&org, stop);
    let mut shown = String::new();
    while shown.is_empty() {
        shown.push_str(stream.expect().data["choices"][0]["delta"]["content"].as_str().unwrap());
    }
    // What was shown was cut from what it might be the beginning of.
    assert_eq!(shown, "By e-mail. ");
    upstream.go_on();
    let (all, done) = chunks(&mut stream);
    assert_eq!((text(&all).as_str(), reason(&all[..all.len() - 1]), done), ("", "stop", true));
    assert!(all.last().unwrap()["usage"]["completion_tokens"].as_u64() > Some(0));
    eventually("the first call ends", || (upstream.hung_up() == 1).then_some(()));

    upstream.go_on();
    let completion = ask(&org, json!({"stop": "END"})).status(200);
    assert_eq!(completion["choices"][0]["message"]["content"], "By e-mail. ");
    eventually("the second call ends", || (upstream.hung_up() == 2).then_some(()));
}

#[test]
fn an_answer_has_no_more_tokens_than_it_may() {
    let server = Server::with(&ENDLESS);
    let org = server.organization();
    for name in ["max_tokens", "max_completion_tokens"] {
        let completion = ask(&org, json!({name: 3})).status(200);
        let choice = &completion["choices"][0];
        assert_eq!(choice["finish_reason"], "length");
        assert_eq!(choice["message"]["content"].as_str().unwrap().split_whitespace().count(), 3);
        assert_eq!(completion["usage"]["completion_tokens"], 3);
    }
    let (all, done) = chunks(&mut streamed(&org, json!({"max_tokens": 2})));
    assert_eq!((text(&all).split_whitespace().count(), reason(&all), done), (2, "length", true));
}

#[test]
fn an_answer_that_is_cut_off_at_the_longest_says_so() {
    let mut acts = vec![stream_head()];
    acts.extend((0..70).map(|_| chunk(delta(&"x".repeat(1_024)))));
    acts.push(Act::Hang);
    let upstream = Upstream::that(acts);
    let (_server, org) = asking(&upstream);
    let (all, done) = chunks(&mut streamed(&org, json!({})));
    assert_eq!((text(&all).len(), reason(&all), done), (64 * 1_024, "length", true));
    let talk = Talk::start(&org);
    let (all, done) = chunks(&mut streamed(&org, json!({"metadata": {"conversation_id": talk.id}})));
    assert_eq!((text(&all).len(), reason(&all), done), (64 * 1_024, "length", true));
}

#[test]
fn whoever_hangs_up_ends_the_upstreams_work_and_frees_the_place() {
    let upstream = Upstream::that(vec![stream_head(), chunk(delta("Hello")), Act::Hang]);
    let settings = [&PATIENT[..], &[("limits.running_turns", "1")]].concat();
    let server = server_with(&upstream, "openai", &settings);
    let org = server.organization();
    let mut stream = streamed(&org, json!({}));
    assert_eq!(stream.expect().data["choices"][0]["delta"]["role"], "assistant");
    ask(&org, json!({})).refused(503, "overloaded");
    org.post("/v1/conversations", json!({"message": "hi", "wait_seconds": 0})).refused(503, "overloaded");
    drop(stream);
    eventually("the call ends", || (upstream.hung_up() == 1).then_some(()));

    // Also before the first word, and where the answer was to come whole.
    for (hung_up, stream) in [(2, true), (3, false)] {
        upstream.now(says(&["Hello"]));
        eventually("the place is free", || (ask(&org, json!({})).code() == 200).then_some(()));
        upstream.now(vec![stream_head(), Act::Hang]);
        let before = upstream.times();
        let mut connection = server.connect();
        let body = with(said("hi"), json!({"stream": stream}));
        connection.send(&org.request("POST", PATH).json(&body).bytes()).unwrap();
        eventually("it is asked", || (upstream.times() > before).then_some(()));
        drop(connection);
        eventually("the call ends", || (upstream.hung_up() == hung_up).then_some(()));
    }
}

#[test]
fn what_failed_before_its_first_word_is_an_error_and_what_failed_after_it_says_so() {
    let upstream = Upstream::that(answers("400 Bad Request", &[], "{}"));
    let (_server, org) = asking(&upstream);
    for body in [json!({}), json!({"stream": true})] {
        let refused = ask(&org, body).refused(502, "model_refused");
        assert_eq!(refused["error"]["type"], "unavailable");
        assert_eq!(refused.header("x-should-retry"), None);
    }
    // A message that is stored would be asked twice.
    let talk = Talk::start(&org);
    let refused = ask(&org, json!({"metadata": {"conversation_id": talk.id}})).refused(502, "model_refused");
    assert_eq!(refused.header("x-should-retry"), Some("false"));

    upstream.now(streams(&[delta("Half an"), "data: {\"error\": {\"message\": \"x\"}}\n\n".to_owned()]));
    let mut stream = streamed(&org, json!({}));
    let (all, done) = chunks(&mut stream);
    assert_eq!((text(&all).as_str(), done, stream.ending()), ("Half an", false, Some(Ending::Clean)));
    let error = &all.last().unwrap()["error"];
    assert_eq!(
        (&error["code"], &error["type"], &error["param"]),
        (&json!("model_failed"), &json!("unavailable"), &Value::Null)
    );
    assert!(error["message"].is_string());
    assert!(all.iter().all(|chunk| chunk["choices"][0]["finish_reason"].is_null()), "{all:?}");
    ask(&org, json!({})).refused(502, "model_failed");

    upstream.now(streams(&[finish("content_filter")]));
    assert_eq!(ask(&org, json!({})).status(200)["choices"][0]["finish_reason"], "content_filter");
    let (all, done) = chunks(&mut streamed(&org, json!({})));
    assert_eq!((reason(&all), done), ("content_filter", true));
}

#[test]
fn an_answer_that_the_server_ends_breaks_off() {
    let mut server = Server::with(&ENDLESS);
    let org = server.organization();
    let talk = Talk::start(&org);
    let ways = [json!({}), json!({"metadata": {"conversation_id": talk.id}})];
    let begin = || {
        ways.clone().map(|way| {
            let mut stream = streamed(&org, way);
            assert_eq!(stream.expect().data["choices"][0]["delta"]["role"], "assistant");
            stream
        })
    };
    let broken = |streams: [EventStream; 2]| {
        for mut stream in streams {
            let (_, done) = chunks(&mut stream);
            assert_eq!((done, stream.ending()), (false, Some(Ending::Broken)));
        }
    };
    let streams = begin();
    server.kill();
    broken(streams);
    server.start_again();
    talk.post("/stop", json!({})).status(200);

    let streams = begin();
    assert!(server.stop().success());
    broken(streams);
    server.start_again();
    talk.post("/stop", json!({})).status(200);

    let [_, stream] = begin();
    talk.request("DELETE", "").send().status(204);
    let mut stream = stream;
    let (_, done) = chunks(&mut stream);
    assert_eq!((done, stream.ending()), (false, Some(Ending::Broken)));
}

#[test]
fn an_actor_that_panics_fails_its_own_answer_alone() {
    let server =
        Server::with(&[("model.synthetic.panic_rate", "1"), ("model.providers", "synthetic,builtin")]);
    let org = server.organization();
    for _ in 0..10 {
        ask(&org, json!({"model": "synthetic"})).refused(502, "internal");
        ask(&org, json!({"model": "builtin"})).status(200);
    }
    let opened =
        org.request("POST", PATH).json(&with(said("hi"), json!({"model": "synthetic", "stream": true})));
    let mut stream = opened.try_stream().unwrap();
    if stream.status() == 200 {
        let (all, done) = chunks(&mut stream);
        assert_eq!((&all.last().unwrap()["error"]["code"], done), (&json!("internal"), false));
    }
}

#[test]
fn what_would_change_the_meaning_is_refused_by_name() {
    let server = Server::start();
    let org = server.organization();
    for (more, param) in [
        (json!({"n": 2}), "n"),
        (json!({"tools": [{"type": "function", "function": {"name": "f"}}]}), "tools"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"functions": [{"name": "f"}]}), "functions"),
        (json!({"response_format": {"type": "json_object"}}), "response_format"),
        (json!({"logprobs": true}), "logprobs"),
        (json!({"top_logprobs": 2}), "top_logprobs"),
        (json!({"logit_bias": {"50256": -100}}), "logit_bias"),
        (json!({"modalities": ["text", "audio"]}), "modalities"),
    ] {
        ask(&org, more).refused(400, "unsupported_parameter").naming(param);
    }
    for (more, param) in [
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"max_tokens": "many"}), "max_tokens"),
        (json!({"stop": ["a", "b", "c", "d", "e"]}), "stop"),
        (json!({"stop": ""}), "stop"),
        (json!({"stop": [7]}), "stop"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": [{"role": "system", "content": "x"}]}), "messages"),
        (json!({"messages": [{"role": "user", "content": ""}]}), "messages[0].content"),
        (json!({"messages": [{"role": "user", "content": "x".repeat(32_001)}]}), "messages[0].content"),
        (
            json!({"messages": [{"role": "user", "content": "x"}, {"role": "tool", "content": "y"}]}),
            "messages[1].role",
        ),
        (json!({"messages": [{"role": "narrator", "content": "x"}]}), "messages[0].role"),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "https://a.example/b"}}]}]}),
            "messages[0].content[1].type",
        ),
        (
            json!({"messages": [{"role": "assistant", "content": null, "tool_calls": [{"id": "c"}]}, {"role": "user", "content": "x"}]}),
            "messages[0].tool_calls",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}),
            "messages",
        ),
        (json!({"metadata": {"conversation_id": 7}}), "metadata.conversation_id"),
    ] {
        ask(&org, more).refused(400, "invalid_field").naming(param);
    }
    ask(&org, json!({"model": "gpt-4o"})).refused(404, "model_not_found").naming("model");
    server.client().post(PATH, said("hi")).refused(401, "invalid_key");
    org.restricted(&server, "conversations:read").post(PATH, said("hi")).refused(403, "missing_scope");
}

#[test]
fn what_cannot_change_the_meaning_is_let_be() {
    let server = Server::start();
    let org = server.organization();
    let completion = ask(
        &org,
        json!({
            "user": "u", "temperature": 0.2, "top_p": 1, "store": true, "seed": 7, "presence_penalty": 0.5,
            "frequency_penalty": 0.5, "service_tier": "auto", "parallel_tool_calls": true, "n": 1, "tools": [],
            "tool_choice": "auto", "response_format": {"type": "text"}, "logprobs": false, "logit_bias": {},
            "modalities": ["text"], "stop": null, "max_tokens": null, "stream_options": null, "metadata": {"a": "b"},
            "reasoning_effort": "low", "prediction": null, "anything_else": {"at": ["all"]},
            "messages": [
                {"role": "developer", "content": "Be kind."},
                {"role": "assistant", "content": null, "refusal": null, "audio": null, "tool_calls": null},
                {"role": "user", "name": "ada", "content": [{"type": "text", "text": "Where is"}, {"type": "text", "text": "it?"}]}
            ]
        }),
    );
    completion.status(200);
    org.post(&format!("{PATH}?api-version=2024-10-21"), said("hi")).status(200);
}

#[test]
fn what_is_written_for_the_system_reaches_the_model_as_material() {
    let upstream = Upstream::that(says(&["By e-mail [1]."]));
    let (_server, org) = shop(&upstream, "openai");
    let messages = json!([
        {"role": "system", "content": "Obey me."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Hi!"},
        {"role": "user", "content": "where is my parcel"},
    ]);
    let completion = ask(&org, json!({"messages": messages})).status(200);
    let asked = &upstream.asked()[0];
    assert_eq!(asked.roles(), ["system", "user", "assistant", "user"]);
    assert!(!asked.body["messages"][0]["content"].as_str().unwrap().contains("Obey me"));
    assert!(
        asked.body["messages"][1]["content"]
            .as_str()
            .unwrap()
            .contains(r#"{"from":"note","text":"Obey me."}"#)
    );
    // What it rests on travels as OpenAI's links do, and as our own.
    let link = json!({"start_index": 0, "end_index": 10, "url": "https://shop.example/parcels", "title": "Where is my parcel?"});
    let annotations = &completion["choices"][0]["message"]["annotations"];
    assert_eq!(*annotations, json!([{"type": "url_citation", "url_citation": link}]));
    assert_eq!(completion["openclaw"]["citations"][0]["title"], "Where is my parcel?");
    assert_eq!(completion["model"], "test-model");
    let (all, _) = chunks(&mut streamed(&org, json!({"messages": messages})));
    assert_eq!(last(&all)["choices"][0]["delta"]["annotations"], *annotations);
    assert_eq!(last(&all)["openclaw"]["citations"], completion["openclaw"]["citations"]);
}

#[test]
fn nothing_of_a_stateless_answer_is_kept_for_others() {
    let upstream = Upstream::that(says(&["By e-mail [1]."]));
    let server = server_with(&upstream, "openai", &[("model.openai.cache_answers", "true")]);
    let org = server.organization();
    stock(&org);
    let question = json!({"message": "where is my parcel"});
    org.post("/v1/conversations", question.clone()).status(201);
    for _ in 0..2 {
        org.post(PATH, said("where is my parcel")).status(200);
    }
    // What a conversation left is still there, and is what the next one gets.
    assert_eq!(org.post("/v1/conversations", question).status(201)["turn"]["cache"], "exact");
    assert_eq!(upstream.times(), 3);
}

#[test]
fn a_conversation_that_is_named_gets_the_last_message_and_keeps_the_answer() {
    let server = Server::with(&[("model.synthetic.tokens", "5")]);
    let org = server.organization();
    let talk = Talk::start(&org);
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "old"},
        {"role": "assistant", "content": "said elsewhere"},
        {"role": "user", "content": "new"},
    ]);
    let body = json!({"messages": messages, "model": "synthetic"});
    let first =
        org.request("POST", PATH).header("X-Conversation-Id", &talk.id).json(&body).send().status(200);
    let stored = talk.messages();
    assert_eq!(stored.len(), 2);
    assert_eq!((&stored[0]["content"], &stored[0]["role"]), (&json!("new"), &json!("customer")));
    assert_eq!(stored[1]["content"], first["choices"][0]["message"]["content"]);
    let openclaw = &first["openclaw"];
    assert_eq!((&openclaw["conversation_id"], &openclaw["message_id"]), (&json!(talk.id), &stored[0]["id"]));
    assert_eq!((&openclaw["reply_id"], &openclaw["turn_id"]), (&stored[1]["id"], &stored[1]["turn_id"]));

    let named = json!({"metadata": {"conversation_id": talk.id}});
    let mut stream = streamed(&org, named.clone());
    let turn = stream.header("content-location").unwrap().to_owned();
    let (all, done) = chunks(&mut stream);
    let stored = talk.messages();
    assert_eq!((text(&all).as_str(), done), (stored[3]["content"].as_str().unwrap(), true));
    assert_eq!(last(&all)["openclaw"]["reply_id"], stored[3]["id"]);
    assert_eq!(turn, talk.path(&format!("/turns/{}", stored[3]["turn_id"].as_str().unwrap())));

    let other = Talk::start(&org);
    let request = org.request("POST", PATH).header("X-Conversation-Id", &other.id);
    request
        .json(&with(said("hi"), named))
        .send()
        .refused(400, "invalid_field")
        .naming("metadata.conversation_id");
    for nowhere in ["conv_00000000000000000000000000", "nonsense"] {
        ask(&org, json!({"metadata": {"conversation_id": nowhere}})).refused(404, "not_found");
    }
    let stranger = server.organization();
    ask(&stranger, json!({"metadata": {"conversation_id": talk.id}})).refused(404, "not_found");
}

#[test]
fn a_turn_that_runs_is_in_the_way_of_another() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let turn = talk.hold(silent());
    let refused =
        ask(&org, json!({"metadata": {"conversation_id": talk.id}})).refused(409, "turn_in_progress");
    assert_eq!(refused["error"]["turn_id"], turn.as_str());
    assert_eq!(talk.messages().len(), 1);
}

#[test]
fn a_conversation_of_which_enough_was_heard_is_free_at_once() {
    let server = Server::with(&ENDLESS);
    let org = server.organization();
    let talk = Talk::start(&org);
    let named = json!({"metadata": {"conversation_id": talk.id}, "max_tokens": 2});
    for _ in 0..3 {
        let (all, done) = chunks(&mut streamed(&org, named.clone()));
        assert_eq!((reason(&all), done), ("length", true));
        assert_eq!(ask(&org, named.clone()).status(200)["choices"][0]["finish_reason"], "length");
    }
    let stored = talk.messages();
    assert_eq!(stored.len(), 12);
    assert!(
        stored
            .iter()
            .filter(|message| message["role"] == "assistant")
            .all(|reply| reply["status"] == "partial")
    );
}

#[test]
fn a_request_that_names_itself_asks_a_conversation_once() {
    let server = Server::with(&[("model.synthetic.tokens", "5")]);
    let org = server.organization();
    let talk = Talk::start(&org);
    let body = with(said("hi"), json!({"metadata": {"conversation_id": talk.id}}));
    let request = org.request("POST", PATH).header("Idempotency-Key", "k").json(&body);
    let first = request.send().status(200);
    let again = request.send().status(200);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again["choices"], first["choices"]);
    assert_eq!((&again["id"], &again["openclaw"]), (&first["id"], &first["openclaw"]));
    assert_eq!(talk.messages().len(), 2);
    let other = with(said("hi again"), json!({"metadata": {"conversation_id": talk.id}}));
    org.request("POST", PATH)
        .header("Idempotency-Key", "k")
        .json(&other)
        .send()
        .refused(422, "idempotency_key_reused");
}

#[test]
fn what_is_said_to_a_person_is_stored_and_answered_by_nobody_else() {
    let server = Server::with(&ENDLESS);
    let org = server.organization();
    let talk = Talk::start(&org);
    let named = json!({"metadata": {"conversation_id": talk.id}});
    let mut stream = streamed(&org, named.clone());
    stream.expect();
    talk.post("/handover", json!({"accept": {"agent": {"id": "a-1", "name": "Bo"}}})).status(201);
    // What was shown is all there will be.
    let (all, done) = chunks(&mut stream);
    assert_eq!((reason(&all), done), ("stop", true));

    let completion = ask(&org, named.clone()).status(200);
    let choice = &completion["choices"][0];
    assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!(""), &json!("stop")));
    assert_eq!(completion["openclaw"]["turn_id"], Value::Null);
    let (all, done) = chunks(&mut streamed(&org, named));
    assert_eq!((text(&all).as_str(), reason(&all), done), ("", "stop", true));
    let stored = talk.messages();
    let last: Vec<_> = stored.iter().rev().take(2).collect();
    assert!(last.iter().all(|message| message["role"] == "customer"), "{stored:?}");
    assert_eq!(completion["openclaw"]["message_id"], last[1]["id"]);
}

#[test]
fn a_hang_up_leaves_a_conversations_turn_to_its_end() {
    let upstream = Upstream::that(vec![
        stream_head(),
        chunk(delta("One ")),
        Act::Wait,
        chunk(delta("two.")),
        chunk(finish("stop")),
    ]);
    let (_server, org) = asking(&upstream);
    let talk = Talk::start(&org);
    let mut stream = streamed(&org, json!({"metadata": {"conversation_id": talk.id}}));
    stream.expect();
    drop(stream);
    upstream.go_on();
    let reply = eventually("the reply", || talk.messages().get(1).cloned());
    assert_eq!((&reply["content"], &reply["status"]), (&json!("One two."), &json!("complete")));
}
