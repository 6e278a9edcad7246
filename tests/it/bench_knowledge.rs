//! `bench --scenario knowledge`: what is written is found at once and answered from, or the run is wrong.

use std::fs;

use serde_json::{Value, json};

use crate::{
    bench::{bench, bench_in_private, is_spread, number, report},
    bench_ways::{http, server_by},
    harness::Server,
};

const QUICK: [&str; 7] = ["--scenario", "knowledge", "--requests", "6", "--concurrency", "2", "--json"];

#[test]
fn articles_are_written_found_and_answered_from() {
    let output = bench_in_private(&[&QUICK[..], &["--base", "40"]].concat());
    assert!(output.status.success(), "{output:?}");
    let report = report(&output);
    for (name, expected) in [("requests", 6), ("completed", 6), ("errors", 0), ("wrong", 0)] {
        assert_eq!(report[name], expected, "{name}: {report}");
    }
    let told = &report["knowledge"];
    assert_eq!(told["articles"], 40, "{report}");
    // The first one, those before the clock runs, and those that are measured.
    assert!(number(&told["written"]) >= 7.0, "{report}");
    ["write_ms", "search_ms", "answer_ms"].iter().for_each(|name| is_spread(&told[name]));
    ["first_token_ms", "completion_ms"].iter().for_each(|name| is_spread(&report[name]));
    // A round is more than its answer.
    assert!(number(&report["completion_ms"]["max"]) > number(&told["answer_ms"]["p50"]), "{report}");
}

#[test]
fn a_given_base_is_searched_too_and_another_server_is_left_as_it_was() {
    let place = tempfile::tempdir().unwrap();
    let lines = place.path().join("articles.ndjson");
    let article = |id: &str, title: &str| json!({"external_id": id, "title": title, "content": format!("{title}: ask us."), "language": "en"});
    let text: String =
        [article("returns", "How do I return a parcel?"), article("hours", "When are you open?")]
            .iter()
            .map(|article| format!("{article}\n"))
            .collect();
    fs::write(&lines, text).unwrap();
    let server = Server::with(&[("model.providers", "builtin")]);
    let org = server.organization();
    org.put("/v1/knowledge/external/hours", json!({"title": "Ours", "content": "Ours stays."})).status(201);
    let url = format!("http://{}", server.address());
    let there = ["--url", &url, "--key", &org.primary_key, "--articles", lines.to_str().unwrap()];
    let output = bench(&[&QUICK[..], &there].concat());
    assert!(output.status.success(), "{output:?}");
    let report = report(&output);
    let told = &report["knowledge"];
    assert_eq!((&told["articles"], &told["given_found"]), (&json!(2), &json!(1.0)), "{report}");
    let left = org.get("/v1/knowledge?include=content").status(200);
    assert_eq!(left["data"].as_array().unwrap().len(), 1, "{left:?}");
    assert_eq!(left["data"][0]["content"], "Ours stays.");
    // A key that may not write articles is told so, not measured.
    let reader = org.restricted(&server, "conversations:read,conversations:write,knowledge:read");
    let refused = bench(&[&QUICK[..], &["--url", &url, "--key", reader.key(), "--base", "1"]].concat());
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.err.contains("403"), "{refused:?}");
}

#[test]
fn articles_that_cannot_be_read_are_told_before_anything_is_started() {
    let place = tempfile::tempdir().unwrap();
    let lines = place.path().join("articles.ndjson");
    for (text, told) in [("", "has none"), ("{}\n", "external_id must be there"), ("{", "line 1")] {
        fs::write(&lines, text).unwrap();
        let output = bench(&["--scenario", "knowledge", "--articles", lines.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.err.contains(told), "{text:?}: {output:?}");
    }
}

/// What a server that forgets says to a search, given the last article that was written and the one before.
type Search = fn(&Value, &Value) -> Value;

/// A server that stores what it is told, and finds what that function says.
fn server_that_finds(search: Search) -> String {
    let written = std::cell::RefCell::new((Value::Null, Value::Null));
    let address = server_by(move |first, body| {
        let json = |status: &str, body: &Value| http(status, "application/json", &body.to_string());
        let path = first.split(' ').nth(1).unwrap();
        match first.split(' ').next().unwrap() {
            "PUT" => {
                let mut article: Value = serde_json::from_str(body).unwrap();
                let id = path.trim_start_matches("/v1/knowledge/external/").split('?').next().unwrap();
                article["external_id"] =
                    id.replace("%2D", "-").replace("%5F", "_").replace("%2F", "/").into();
                article["index"] = json!({"state": "indexed"});
                let (last, before) = &mut *written.borrow_mut();
                *before = std::mem::replace(last, article.clone());
                json("200 OK", &article)
            }
            "GET" => {
                let (last, before) = &*written.borrow();
                json("200 OK", &json!({"data": [search(last, before)]}))
            }
            _ => {
                let counts = json!({"lines": 0, "refused": 0, "pending": 0});
                json("202 Accepted", &json!({"id": "imp_1", "state": "completed", "counts": counts}))
            }
        }
    });
    format!("http://{address}")
}

fn row(article: &Value, text: &Value) -> Value {
    json!({"article": {"external_id": article["external_id"]}, "passage": {"text": text}})
}

#[test]
fn an_article_that_is_not_found_or_is_found_as_it_was_is_wrong() {
    let finds: [(&str, Search, &str); 2] = [
        (
            "another article",
            |last, _| row(&json!({"external_id": "other"}), &last["content"]),
            "not what a search",
        ),
        (
            "what it said before",
            |last, before| row(last, &before["content"]),
            "still says what it said before",
        ),
    ];
    for (what, search, found) in finds {
        let url = server_that_finds(search);
        let there = ["--url", &url, "--key", "oc_none", "--base", "0", "--json"];
        // One client: of two, one's article would be the other's last.
        let one = ["--scenario", "knowledge", "--requests", "6", "--concurrency", "1"];
        let output = bench(&[&one[..], &there].concat());
        assert_eq!(output.status.code(), Some(1), "{what}: {output:?}");
        let report = report(&output);
        assert_eq!(report["completed"], 0, "{what}: {report}");
        assert!(number(&report["wrong"]) >= 6.0, "{what}: {report}");
        assert!(report["faults"][0].as_str().unwrap().contains(found), "{what}: {report}");
    }
}

#[test]
fn an_answer_that_does_not_say_what_the_article_says_is_wrong() {
    // The synthetic model knows nothing of articles.
    let server = Server::start();
    let org = server.organization();
    let url = format!("http://{}", server.address());
    let output = bench(&[&QUICK[..], &["--url", &url, "--key", &org.primary_key, "--base", "3"]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = report(&output);
    assert!(number(&report["wrong"]) >= 6.0 && report["completed"] == 0, "{report}");
    assert!(report["faults"][0].as_str().unwrap().contains("does not say what its article says"), "{report}");
}
