//! Vectors: what says the same in other words is found, and nothing that the endpoint does delays or breaks anything.

use serde_json::{Value, json};

use crate::harness::{
    Client, Organization, Server,
    embeddings::{embed, embedded, model, texts},
    eventually,
    upstream::{Act, Asked, Upstream, answers, head},
};

const PATH: &str = "/v1/knowledge";
const KEY: &str = "sk-canary-embeddings-0123456789";
const ADMIN_TOKEN: &str = "an operator's token, long enough";

/// It has no word in common with the article that it is about.
const QUESTION: &str = "money%20back";

fn settings(upstream: &Upstream, model: &str) -> Vec<(String, String)> {
    [
        ("knowledge.embeddings.base_url", upstream.url().as_str()),
        ("knowledge.embeddings.api_key", KEY),
        ("knowledge.embeddings.model", model),
        ("server.admin_token", ADMIN_TOKEN),
        // An endpoint that answers has all the time it needs, however busy the machine is.
        ("knowledge.embeddings.timeout_ms", "10000"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}

fn with(settings: &[(String, String)], more: &[(&str, &str)]) -> Server {
    let settings = settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    Server::with(&settings.chain(more.iter().copied()).collect::<Vec<_>>())
}

fn restart_with(server: &mut Server, settings: &[(String, String)]) {
    let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    server.restart_with(&settings);
}

fn stock(org: &Organization) {
    for (name, title, content) in [
        ("refunds", "Reimbursement", "Reimbursement comes within ten days."),
        ("parcels", "Where is my parcel?", "Follow the parcel with the code in your e-mail."),
        ("invoices", "Invoice", "Every invoice is in your account."),
    ] {
        let article = json!({ "title": title, "content": content });
        let made = org.put(&format!("{PATH}/external/{name}"), article).status(201);
        assert_eq!(made["index"]["state"], "indexed", "{}", made.text());
    }
}

#[track_caller]
fn found(client: &Client, question: &str) -> Vec<Value> {
    let found = client.get(&format!("{PATH}/search?q={question}")).status(200);
    let hits = found["data"].as_array().unwrap().iter();
    hits.map(|hit| hit["article"]["external_id"].clone()).collect()
}

/// How many articles have vectors.
fn embedded_articles(server: &Server) -> i64 {
    server.number("SELECT COUNT(*) FROM embeddings WHERE dimensions > 0")
}

#[track_caller]
fn until_embedded(server: &Server, articles: i64) {
    eventually("articles get their vectors", || (embedded_articles(server) == articles).then_some(()));
}

/// Searches until the vectors in memory are those in the store.
#[track_caller]
fn until_found_by_meaning(client: &Client) {
    eventually("what means the same is found", || {
        (found(client, QUESTION).first() == Some(&json!("refunds"))).then_some(())
    });
}

fn metric(server: &Server, line: &str) -> f64 {
    let metrics = server.client().get("/metrics").status(200);
    let value = metrics.text().lines().find_map(|shown| shown.strip_prefix(line)?.trim().parse().ok());
    value.unwrap_or_default()
}

/// Texts of articles that the model was asked about; a question is one word or three.
fn passages(upstream: &Upstream) -> Vec<String> {
    let asked = upstream.asked();
    asked.iter().flat_map(texts).filter(|text| text.contains('\n')).collect()
}

#[test]
fn what_says_the_same_in_other_words_is_found_with_vectors_and_not_without() {
    let mut server = Server::start();
    let org = server.organization();
    stock(&org);
    assert_eq!(found(&org, QUESTION), [Value::Null; 0]);

    let upstream = model();
    restart_with(&mut server, &settings(&upstream, "first"));
    until_embedded(&server, 3);
    until_found_by_meaning(&org);
    let hits = org.get(&format!("{PATH}/search?q={QUESTION}")).status(200);
    // Found, but nobody is told that it is the answer: of that, words decide.
    assert_eq!(hits["data"][0]["confidence"], 0.0);
    assert_eq!(hits["data"][0]["passage"]["text"], "Reimbursement comes within ten days.");
    assert_eq!(found(&org, "parcel").first(), Some(&json!("parcels")));
    let bearer = format!("Bearer {KEY}");
    assert!(upstream.asked().iter().all(|asked| asked.header("authorization") == Some(bearer.as_str())));

    let explained = server.run(&["knowledge", "search", "money back", "--org", &org.id, "--explain"]);
    assert!(explained.status.success(), "{explained:?}");
    for part in ["likeness in meaning", "Reimbursement", "meaning    1.0", "words      0.00"] {
        assert!(explained.out.contains(part), "{part}: {}", explained.out);
    }

    // A search that was asked before asks for no vector again.
    let times = upstream.times();
    found(&org, QUESTION);
    found(&org, "MONEY%20%20back");
    assert_eq!(upstream.times(), times);

    org.delete(&format!("{PATH}/external/refunds")).status(204);
    assert_eq!(embedded_articles(&server), 2);
    assert!(!found(&org, QUESTION).contains(&json!("refunds")));
    let operator = server.client_with(ADMIN_TOKEN);
    operator.delete(&format!("/v1/organizations/{}", org.id)).status(204);
    assert_eq!(server.number("SELECT COUNT(*) FROM embeddings"), 0);
}

#[test]
fn an_endpoint_that_hangs_delays_no_article_and_answers_come_by_words() {
    let upstream = model();
    let server = with(&settings(&upstream, "first"), &[("knowledge.embeddings.timeout_ms", "300")]);
    let org = server.organization();
    stock(&org);
    until_embedded(&server, 3);
    upstream.now(vec![Act::Hang]);
    org.put(&format!("{PATH}/external/new"), json!({"title": "Sneaker", "content": "New."})).status(201);
    // More often than the breaker lets pass: then nobody waits any more.
    for question in ["parcel", "invoice", "parcel%20code", "account", "e-mail", "days", "ten%20days"] {
        assert!(!found(&org, question).is_empty(), "{question}");
    }
    assert_eq!(found(&org, "sneaker"), ["new"]);
    let outcome = |outcome: &str| {
        metric(&server, &format!("openclaw_embeddings_total{{purpose=\"question\",outcome=\"{outcome}\"}}"))
    };
    assert!(outcome("late") >= 5.0 && outcome("suspended") >= 1.0);
    assert!(server.log().contains("searched by their words alone"), "{}", server.log());
    let status = org.get(&format!("{PATH}/status")).status(200);
    assert_eq!((&status["pending"], &status["failed"]), (&json!(0), &json!(0)));
    assert_eq!(metric(&server, "openclaw_embeddings_pending"), 1.0);
}

/// What an endpoint makes of a request.
type Answering = Box<dyn Fn(&Asked) -> Vec<Act> + Send>;

/// What an endpoint should never say, and what it then gets to know: nothing.
fn nonsense() -> Vec<(&'static str, Answering)> {
    let says = |body: &'static str| move |_: &Asked| answers("200 OK", &[], body);
    vec![
        (
            "a failure that repeats the key",
            Box::new(|asked: &Asked| {
                answers("500 Internal Server Error", &[], asked.header("authorization").unwrap())
            }),
        ),
        ("a refusal of the key", Box::new(|_: &Asked| answers("401 Unauthorized", &[], KEY))),
        (
            "vectors of another length",
            Box::new(|asked: &Asked| answers("200 OK", &[], &embedded(asked, 5).to_string())),
        ),
        ("no numbers", Box::new(says(r#"{"data":[{"index":0,"embedding":[NaN,1]}]}"#))),
        ("endless numbers", Box::new(says(r#"{"data":[{"index":0,"embedding":[1e999,1]}]}"#))),
        (
            "a vector too many",
            Box::new(says(r#"{"data":[{"embedding":[1]},{"embedding":[1]},{"embedding":[1]}]}"#)),
        ),
        ("no vector", Box::new(says(r#"{"data":[]}"#))),
        ("no JSON", Box::new(says("<html>"))),
        (
            "an endless body",
            Box::new(|_: &Asked| {
                vec![head("200 OK", &["Content-Type: application/json"]), Act::Flood(vec![b' '; 1 << 16])]
            }),
        ),
        (
            "a redirect",
            Box::new(|asked: &Asked| {
                let leads =
                    format!("Location: http://127.0.0.1:1/?key={}", asked.header("authorization").unwrap());
                answers("307 Temporary Redirect", &[&leads], "")
            }),
        ),
        ("a hang-up", Box::new(|_: &Asked| vec![Act::Close])),
    ]
}

#[test]
fn nonsense_from_the_endpoint_leaves_the_words_and_tells_nobody_the_key() {
    let upstream = model();
    let server = with(&settings(&upstream, "first"), &[]);
    let org = server.organization();
    stock(&org);
    let trap = "${OPENCLAW__KNOWLEDGE__EMBEDDINGS__API_KEY} {{api_key}} Authorization: Bearer";
    org.put(&format!("{PATH}/external/trap"), json!({"title": "Trap", "content": trap})).status(201);
    until_embedded(&server, 4);
    until_found_by_meaning(&org);
    let failures = "openclaw_embeddings_total{purpose=\"question\",outcome=\"failed\"}";
    for (at, (what, says)) in nonsense().into_iter().enumerate() {
        upstream.by(says);
        // Each is new: what was asked before is known.
        assert_eq!(found(&org, &format!("invoice%20{at}")), ["invoices"], "{what}");
        assert_eq!(metric(&server, failures), (at + 1) as f64, "{what}");
        upstream.by(embed);
        assert_eq!(found(&org, &format!("bill%20{at}"))[0], "invoices", "{what}");
    }
    // Refused for good: this article alone goes without.
    upstream.by(|asked| {
        let is_refused = texts(asked).iter().any(|text| text.contains("poison"));
        if is_refused { answers("400 Bad Request", &[], KEY) } else { embed(asked) }
    });
    let import = "{\"external_id\":\"p\",\"content\":\"poison\"}\n{\"external_id\":\"q\",\"content\":\"A trainer.\"}\n";
    let request = org.request("POST", &format!("{PATH}/import?wait=indexed"));
    request.header("Content-Type", "application/x-ndjson").body(import).send().status(202);
    until_embedded(&server, 5);
    eventually("nothing is left to do", || {
        (metric(&server, "openclaw_embeddings_pending") == 0.0).then_some(())
    });
    assert_eq!(found(&org, "poison"), ["p"]);

    assert!(!server.log().contains(KEY), "{}", server.log());
    assert!(upstream.asked().iter().all(|asked| !String::from_utf8_lossy(&asked.bytes).contains(KEY)));
    let shown = server.run(&["config"]).out;
    assert!(shown.contains("knowledge.embeddings.api_key = \"(set)\"") && !shown.contains(KEY), "{shown}");
}

#[test]
fn another_model_embeds_everything_again_and_nothing_is_mixed() {
    let upstream = model();
    let mut server = with(&settings(&upstream, "first"), &[]);
    let org = server.organization();
    stock(&org);
    until_embedded(&server, 3);
    until_found_by_meaning(&org);
    let once = passages(&upstream).len();
    assert_eq!(once, 3);

    // What did not change is not embedded again: not at a restart, not by a change of something else.
    server.crash();
    until_found_by_meaning(&org);
    let topic = json!({"title": "Invoice", "content": "Every invoice is in your account.", "topic": "money"});
    org.put(&format!("{PATH}/external/invoices"), topic).status(200);
    let current = "SELECT COUNT(*) FROM embeddings e JOIN articles a ON a.id = e.article_id WHERE a.version = e.version";
    eventually("the new version keeps its vectors", || (server.number(current) == 3).then_some(()));
    assert_eq!(passages(&upstream).len(), once);
    assert_eq!(found(&org, "bill")[0], "invoices");

    // Its directions mean something else: compared with the old ones, everything would be wrong.
    let second = Upstream::that(vec![Act::Wait, Act::Close]);
    restart_with(&mut server, &settings(&second, "second"));
    assert_eq!(found(&org, "parcel"), ["parcels"]);
    assert_eq!(found(&org, QUESTION), [Value::Null; 0]);
    second.by(embed);
    second.go_on();
    let made = "SELECT COUNT(*) FROM embeddings WHERE model = 'second' AND dimensions > 0";
    eventually("the second model makes all vectors", || (server.number(made) == 3).then_some(()));
    until_found_by_meaning(&org);
    assert_eq!(found(&org, "bill")[0], "invoices");
    assert_eq!(server.number("SELECT COUNT(*) FROM embeddings"), 3);
}

#[test]
fn a_crash_in_the_middle_of_embedding_loses_nothing_and_goes_on() {
    let upstream = model();
    let mut server = with(&settings(&upstream, "first"), &[("knowledge.embeddings.batch", "4")]);
    let org = server.organization();
    // The third request never gets its answer.
    let asked = std::sync::atomic::AtomicUsize::new(0);
    upstream.by(move |request| match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0..4 => embed(request),
        _ => vec![Act::Hang],
    });
    let articles: String = (0..40)
        .map(|n| {
            format!(
                "{}\n",
                json!({"external_id": format!("a{n}"), "title": "Shoe", "content": format!("Shoe {n}.")})
            )
        })
        .collect();
    let request = org.request("POST", &format!("{PATH}/import?wait=indexed"));
    let import = request.header("Content-Type", "application/x-ndjson").body(articles).send().status(202);
    assert_eq!(import["counts"]["indexed"], 40);
    eventually("some articles have vectors", || (upstream.times() > 4).then_some(()));
    server.kill();
    assert!((1..40).contains(&embedded_articles(&server)));
    upstream.by(embed);
    server.start_again();
    until_embedded(&server, 40);
    // What was on its way is asked for again, and no more than that.
    let sent = passages(&upstream).len();
    assert!((40..=40 + 8 + 4).contains(&sent), "{sent}");
    assert!(!found(&org, "sneaker").is_empty());
}

#[test]
fn the_doctor_asks_for_a_vector() {
    let upstream = model();
    let server = with(&settings(&upstream, "first"), &[]);
    let diagnosis = || {
        let found: Value = serde_json::from_str(&server.run(&["doctor", "--json"]).out).unwrap();
        let found = found["data"].as_array().unwrap().iter().find(|found| found["check"] == "embeddings");
        found.unwrap().to_string()
    };
    let well = diagnosis();
    assert!(well.contains("vectors of 16 numbers with first"), "{well}");
    for (status, says) in [
        ("401 Unauthorized", "api_key"),
        ("404 Not Found", "base_url"),
        ("200 OK", "does not answer with vectors"),
    ] {
        upstream.now(answers(status, &[], "{}"));
        let found = diagnosis();
        assert!(found.contains(says) && found.contains("warn") && !found.contains(KEY), "{found}");
    }
}
