//! The `openai` provider, as customers meet it: a model's answer, grounded on the articles and cited, and somebody
//! else's answer where the model has none.

use serde_json::{Value, json};

use crate::harness::{
    Event, Organization, Reply, Server, eventually,
    upstream::{Act, Asked, Upstream, answers, chunk, delta, finish, says, stream_head, streams},
};

pub(crate) const KEY: &str = "sk-canary-0123456789";

/// A server that asks this upstream, with `providers` and settings by their names.
pub(crate) fn server_with(upstream: &Upstream, providers: &str, settings: &[(&str, &str)]) -> Server {
    let url = upstream.url();
    let ours = [
        ("model.providers", providers),
        ("model.openai.base_url", &url),
        ("model.openai.api_key", KEY),
        ("model.openai.model", "test-model"),
        // Tests ask the same over and over, and look at what the upstream is asked each time.
        ("model.openai.cache_answers", "false"),
    ];
    Server::with(&[&ours, settings].concat())
}

/// The same with a shop's articles.
pub(crate) fn shop(upstream: &Upstream, providers: &str) -> (Server, Organization) {
    let server = server_with(upstream, providers, &[]);
    let org = server.organization();
    stock(&org);
    (server, org)
}

pub(crate) fn stock(org: &Organization) {
    let parcels = json!({
        "title": "Where is my parcel?", "topic": "delivery", "url": "https://shop.example/parcels",
        "content": "# Parcels\n\nYou get an e-mail with a link to follow your parcel."
    });
    let returns = json!({"title": "Returns", "content": "Send the shoes back within thirty days."});
    for (name, article) in [("parcels", parcels), ("returns", returns)] {
        org.put(&format!("/v1/knowledge/external/{name}"), article).status(201);
    }
}

pub(crate) const QUESTION: &str = "where is my parcel";

#[track_caller]
pub(crate) fn ask(org: &Organization, question: &str) -> Reply {
    org.post("/v1/conversations", json!({"message": question})).status(201)
}

/// The turn's code, if it failed.
pub(crate) fn code(answer: &Reply) -> &str {
    answer["turn"]["error"]["code"].as_str().unwrap_or_default()
}

pub(crate) fn content(answer: &Reply) -> &str {
    answer["reply"]["content"].as_str().unwrap_or_default()
}

/// The words of each citation, by its title.
fn cited(reply: &Value) -> Vec<(String, String)> {
    let content = reply["content"].as_str().unwrap();
    let citations = reply["citations"].as_array().unwrap().iter();
    citations
        .map(|citation| {
            let offset = |name: &str| usize::try_from(citation[name].as_u64().unwrap()).unwrap();
            let (start, end) = (offset("start"), offset("end"));
            let words = content.chars().skip(start).take(end - start).collect();
            (citation["title"].as_str().unwrap().to_owned(), words)
        })
        .collect()
}

#[test]
fn an_answer_is_streamed_and_its_marks_become_citations() {
    let pieces =
        ["You get a link – ", "by e-mail", " [", "1", "]. Ask", " the ", "carrier. [7]", " Bye [2024]!"];
    let upstream = Upstream::that(says(&pieces));
    let (_server, org) = shop(&upstream, "openai");
    let body = json!({"message": QUESTION, "stream": true});
    let events: Vec<Event> = org.request("POST", "/v1/conversations").json(&body).stream().collect();
    let deltas = events.iter().filter(|event| event.kind == "turn.delta");
    let text: String = deltas.map(|event| event.data["text"].as_str().unwrap()).collect();
    assert_eq!(text, "You get a link – by e-mail. Ask the carrier. Bye [2024]!");

    let sent = &events.iter().find(|event| event.kind == "message.sent").unwrap().data;
    let message = &sent["data"]["message"];
    assert_eq!(message["content"], text.as_str());
    let words = ("Where is my parcel?".to_owned(), "You get a link – by e-mail.".to_owned());
    assert_eq!(cited(message), [words]);
    let citation = &message["citations"][0];
    assert_eq!(citation["passage"], "You get an e-mail with a link to follow your parcel.");
    assert_eq!(
        (&citation["url"], &citation["article_version"]),
        (&json!("https://shop.example/parcels"), &json!(1))
    );
    let history =
        org.get(&format!("/v1/conversations/{}/messages", sent["conversation_id"].as_str().unwrap()));
    assert_eq!(history["data"][1], *message);

    let completed = &events.iter().find(|event| event.kind == "turn.completed").unwrap().data["data"]["turn"];
    assert_eq!((&completed["outcome"], &completed["model"]), (&json!("answered"), &json!("test-model")));
    assert_eq!(completed["usage"], json!({"prompt_tokens": 90, "completion_tokens": 9}));
    assert!(message["confidence"].as_f64().unwrap() > 0.0, "{message}");
}

#[test]
fn the_model_is_asked_with_the_passages_and_what_was_said() {
    let upstream = Upstream::that(says(&["By e-mail [1]."]));
    let (_server, org) = shop(&upstream, "openai");
    let first = ask(&org, QUESTION);
    let path = format!("/v1/conversations/{}/messages", first["conversation"]["id"].as_str().unwrap());
    org.post(&path, json!({"content": "and when?"})).status(200);

    let asked = upstream.asked();
    let [first, second] = asked.as_slice() else { panic!("{asked:?}") };
    assert!(first.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{}", first.head);
    let head = first.head.to_lowercase();
    assert!(head.contains(&format!("authorization: bearer {KEY}\r\n")), "{head}");
    assert_eq!((&first.body["model"], &first.body["stream"]), (&json!("test-model"), &json!(true)));
    assert_eq!(first.body["stream_options"], json!({"include_usage": true}));
    assert_eq!(first.roles(), ["system", "user"]);
    assert_eq!(first.passages()[0]["text"], "You get an e-mail with a link to follow your parcel.");

    assert_eq!(second.roles(), ["system", "user", "assistant", "user"]);
    assert_eq!(second.body["messages"][2]["content"], "By e-mail.");
    // What it follows up on finds the article, as with the builtin answerer.
    assert_eq!(second.passages()[0]["title"], "Where is my parcel? – Parcels");
}

#[test]
fn without_a_cited_passage_a_question_is_unanswered() {
    let upstream = Upstream::that(says(&["I do not know [9]. Shall I ask a colleague?"]));
    let (_server, org) = shop(&upstream, "openai");
    let answer = ask(&org, "What is the capital of France?");
    assert_eq!(content(&answer), "I do not know. Shall I ask a colleague?");
    assert_eq!(
        (&answer["turn"]["outcome"], &answer["reply"]["citations"]),
        (&json!("unanswered"), &json!([]))
    );
}

#[test]
fn an_organization_that_wants_only_what_is_written_gets_only_that() {
    let upstream = Upstream::that(says(&["Paris."]));
    let (_server, org) = shop(&upstream, "openai");
    org.patch("/v1/organization", json!({"strict_grounding": true})).status(200);
    eventually("the setting is seen", || {
        let answer = ask(&org, "What is the capital of France?");
        (content(&answer) != "Paris.").then(|| {
            assert!(content(&answer).contains("I don't know"), "{}", answer.text());
            assert_eq!(
                (&answer["turn"]["model"], &answer["turn"]["outcome"]),
                (&json!("builtin"), &json!("unanswered"))
            );
        })
    });
    let times = upstream.times();
    ask(&org, "What is the capital of France?");
    assert_eq!(upstream.times(), times);
    upstream.now(says(&["By e-mail [1]."]));
    assert_eq!(ask(&org, QUESTION)["turn"]["model"], "test-model");
}

#[test]
fn tokens_are_counted_where_the_upstream_does_not() {
    let upstream = Upstream::that(streams(&[delta("Four char"), finish("stop")]));
    let (_server, org) = shop(&upstream, "openai");
    let usage = &ask(&org, QUESTION)["turn"]["usage"].clone();
    assert_eq!(usage["completion_tokens"], 3);
    assert!(usage["prompt_tokens"].as_u64().unwrap() > 300, "{usage}");
}

#[test]
fn an_upstream_that_refuses_the_count_of_tokens_is_asked_without_it_from_then_on() {
    let upstream = Upstream::that(Vec::new());
    upstream.by(|asked: &Asked| match asked.body.get("stream_options") {
        Some(_) => answers("400 Bad Request", &[], r#"{"error":{"message":"unknown field"}}"#),
        None => says(&["Yes."]),
    });
    let (_server, org) = shop(&upstream, "openai");
    assert_eq!(content(&ask(&org, QUESTION)), "Yes.");
    assert_eq!(upstream.times(), 2);
    assert_eq!(content(&ask(&org, QUESTION)), "Yes.");
    assert_eq!(upstream.times(), 3);
}

#[test]
fn the_next_provider_answers_where_the_model_cannot() {
    let upstream = Upstream::that(answers("401 Unauthorized", &[], "{}"));
    let (_server, org) = shop(&upstream, "openai,builtin");
    let answer = ask(&org, QUESTION);
    assert_eq!(
        (&answer["turn"]["status"], &answer["turn"]["model"]),
        (&json!("completed"), &json!("builtin"))
    );
    assert_eq!(upstream.times(), 1);
    let models = org.get("/v1/models").status(200);
    let names: Vec<_> = models["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    // The last is there by name only: the harness lets messages say how it answers.
    assert_eq!(names, ["test-model", "builtin", "synthetic"]);

    // Whoever names a model wants that one's answer or none.
    let message = json!({"content": QUESTION, "model": "test-model"});
    let answer = org.post("/v1/conversations", json!({"message": message})).status(201);
    assert_eq!((&answer["turn"]["status"], code(&answer)), (&json!("failed"), "model_refused"));
}

#[test]
fn the_model_by_name_only_is_no_fallback() {
    let upstream = Upstream::that(answers("401 Unauthorized", &[], "{}"));
    let (_server, org) = shop(&upstream, "openai");
    assert_eq!(code(&ask(&org, QUESTION)), "model_refused");
}

#[test]
fn after_its_first_text_an_answer_fails_with_what_there_is() {
    let upstream = Upstream::that(vec![stream_head(), chunk(delta("You get ")), Act::Close]);
    let (_server, org) = shop(&upstream, "openai,builtin");
    let answer = ask(&org, QUESTION);
    assert_eq!((&answer["turn"]["status"], code(&answer)), (&json!("failed"), "model_failed"));
    assert_eq!((content(&answer).trim_end(), &answer["reply"]["status"]), ("You get", &json!("partial")));
    assert_eq!(upstream.times(), 1);
}

#[test]
fn a_failure_that_may_pass_is_tried_again() {
    let upstream = Upstream::that(Vec::new());
    let (_server, org) = shop(&upstream, "openai");
    let good = says(&["Yes."]);
    for (name, bad) in [
        ("no answer", vec![Act::Close]),
        ("a broken connection", vec![Act::Reset]),
        ("a head that breaks off", vec![Act::Send(b"HTTP/1.1 200 OK\r\nContent-".to_vec()), Act::Close]),
        ("nothing after the head", vec![stream_head(), Act::Close]),
        ("an overload", answers("503 Service Unavailable", &[], "busy")),
        ("a failure", answers("500 Internal Server Error", &[], "")),
        ("a limit", answers("429 Too Many Requests", &["Retry-After: 0"], "")),
        ("a conflict", answers("409 Conflict", &[], "")),
        ("an error in the stream", streams(&["data: {\"error\":{\"code\":500}}\n\n"])),
    ] {
        let before = upstream.times();
        upstream.then(vec![bad.clone(), bad, good.clone()]);
        assert_eq!(content(&ask(&org, QUESTION)), "Yes.", "{name}");
        assert_eq!(upstream.times() - before, 3, "{name}");
    }
}

#[test]
fn a_failure_that_will_not_pass_is_not_tried_again() {
    let upstream = Upstream::that(says(&["Yes."]));
    let (_server, org) = shop(&upstream, "openai");
    // From now on it is known that the upstream takes what we send.
    ask(&org, QUESTION);
    for status in
        ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "422 Unprocessable Entity"]
    {
        upstream.now(answers(status, &[], "{}"));
        let before = upstream.times();
        assert_eq!(code(&ask(&org, QUESTION)), "model_refused", "{status}");
        assert_eq!(upstream.times() - before, 1, "{status}");
        upstream.now(says(&["Yes."]));
        ask(&org, QUESTION);
    }
}

#[test]
fn what_the_upstream_says_of_when_to_come_back_is_heeded() {
    let upstream = Upstream::that(Vec::new());
    let (_server, org) = shop(&upstream, "openai,builtin");
    let later = answers("429 Too Many Requests", &["Retry-After: 1"], "");
    upstream.then(vec![later, says(&["Yes."])]);
    let since = std::time::Instant::now();
    assert_eq!(content(&ask(&org, QUESTION)), "Yes.");
    assert!(since.elapsed().as_millis() >= 1000);
    // Longer than customers wait: the next provider answers at once.
    for when in [
        "Retry-After: 3600",
        "Retry-After: 18446744073709551615",
        "Retry-After: Fri, 31 Dec 2999 23:59:59 GMT",
    ] {
        upstream.now(answers("503 Service Unavailable", &[when], ""));
        let before = upstream.times();
        assert_eq!(ask(&org, QUESTION)["turn"]["model"], "builtin", "{when}");
        assert_eq!(upstream.times() - before, 1, "{when}");
    }
}

#[test]
fn a_model_that_keeps_failing_is_left_alone() {
    let upstream = Upstream::that(answers("401 Unauthorized", &[], "{}"));
    let (_server, org) = shop(&upstream, "openai,builtin");
    for _ in 0..5 {
        assert_eq!(ask(&org, QUESTION)["turn"]["model"], "builtin");
    }
    assert_eq!(upstream.times(), 5);
    let answer = ask(&org, QUESTION);
    assert_eq!((&answer["turn"]["model"], upstream.times()), (&json!("builtin"), 5));
    let message = json!({"content": QUESTION, "model": "test-model"});
    let answer = org.post("/v1/conversations", json!({"message": message})).status(201);
    assert_eq!((code(&answer), upstream.times()), ("model_unavailable", 5));
    // Its rest is over after ten seconds, and one answer may try.
    upstream.now(says(&["Back."]));
    eventually("the model is asked again", || (content(&ask(&org, QUESTION)) == "Back.").then_some(()));
    assert_eq!(content(&ask(&org, QUESTION)), "Back.");
}

#[test]
fn connections_are_used_again_also_one_that_went_stale() {
    let upstream = Upstream::that(says(&["Yes."]));
    let server = server_with(&upstream, "openai", &[("server.workers", "1")]);
    let org = server.organization();
    for _ in 0..5 {
        assert_eq!(content(&ask(&org, QUESTION)), "Yes.");
    }
    // The end of an answer is read beside the next question, which may come first.
    assert!(upstream.connections() < 5, "{}", upstream.connections());
    // Closed by the other side as soon as the next request arrives.
    let before = upstream.times();
    upstream.then(vec![vec![Act::Close], says(&["Yes."])]);
    assert_eq!(content(&ask(&org, QUESTION)), "Yes.");
    assert_eq!(upstream.times() - before, 2);
}

/// A conversation whose answer has begun and goes no further, and its stream.
fn begun(org: &Organization, upstream: &Upstream) -> String {
    upstream.now(vec![stream_head(), chunk(delta("You get ")), chunk(delta("a")), Act::Hang]);
    let body = json!({"message": QUESTION, "stream": true});
    let mut stream = org.request("POST", "/v1/conversations").json(&body).stream();
    let delta = stream.until("turn.delta");
    format!("/v1/conversations/{}", delta.data["conversation_id"].as_str().unwrap())
}

#[test]
fn whatever_ends_an_answer_closes_the_upstreams_connection() {
    let upstream = Upstream::that(Vec::new());
    let (server, org) = shop(&upstream, "openai");
    let gone = |times: usize, what: &str| eventually(what, || (upstream.hung_up() == times).then_some(()));

    let path = begun(&org, &upstream);
    let stopped = org.post(&format!("{path}/stop"), json!({})).status(200);
    assert_eq!(stopped["turn"]["status"], "stopped");
    gone(1, "a stop closes it");

    let path = begun(&org, &upstream);
    org.delete(&path).status(204);
    gone(2, "erasing closes it");

    let path = begun(&org, &upstream);
    org.post(&format!("{path}/complete"), json!({})).status(200);
    gone(3, "completing closes it");

    let path = begun(&org, &upstream);
    upstream.now(says(&["Yes."]));
    let again = json!({"content": "now!", "on_busy": "interrupt"});
    assert_eq!(org.post(&format!("{path}/messages"), again).status(200)["reply"]["content"], "Yes.");
    gone(4, "an interruption closes it");

    // Before the first text, too.
    upstream.now(vec![Act::Hang]);
    let before = upstream.times();
    let start = json!({"message": {"content": QUESTION, "wait_seconds": 0}});
    let started = org.post("/v1/conversations", start).status(202);
    eventually("it is asked", || (upstream.times() > before).then_some(()));
    org.post(
        &format!("/v1/conversations/{}/stop", started["conversation"]["id"].as_str().unwrap()),
        json!({}),
    );
    gone(5, "a stop before the first text closes it");
    drop(server);
}

#[test]
fn a_server_that_stops_closes_the_upstreams_connection() {
    let upstream = Upstream::that(Vec::new());
    let (mut server, org) = shop(&upstream, "openai");
    begun(&org, &upstream);
    assert!(server.stop().success());
    eventually("it is closed", || (upstream.hung_up() == 1).then_some(()));
}
