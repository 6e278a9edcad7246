//! What has become of an article in the index, and what was asked in vain.

use serde_json::{Value, json};

use crate::harness::{Organization, Server, eventually};

const PATH: &str = "/v1/knowledge";

/// The events of the organization's own stream, in order: kind, title, version.
fn told(server: &Server, org: &Organization) -> Vec<Value> {
    let data = format!("SELECT data FROM events WHERE stream_id = '{}' ORDER BY sequence", org.id);
    let kinds = format!("SELECT kind FROM events WHERE stream_id = '{}' ORDER BY sequence", org.id);
    let articles = server.texts(&data).into_iter().map(|data| {
        let data: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(data["article"].get("content"), None);
        data["article"].clone()
    });
    let kinds = server.texts(&kinds).into_iter();
    kinds.zip(articles).map(|(kind, article)| json!([kind, article["title"], article["version"]])).collect()
}

#[test]
fn what_is_indexed_is_told_once_on_the_organizations_stream() {
    let mut server = Server::start();
    let org = server.organization();
    let made = org.post(PATH, json!({"title": "One", "content": "x"})).status(201);
    let path = format!("{PATH}/{}", made["id"].as_str().unwrap());
    let settled = || {
        let status = org.get(&format!("{PATH}/status")).status(200);
        assert_eq!((&status["pending"], &status["failed"]), (&json!(0), &json!(0)));
        status["indexed"].clone()
    };
    assert_eq!(settled(), 1);
    org.patch(&path, json!({"published": false})).status(200);
    // What changes nothing is no news.
    org.patch(&path, json!({"published": false})).status(200);
    assert_eq!(settled(), 1);
    let expected = [json!(["knowledge.indexed", "One", 1]), json!(["knowledge.indexed", "One", 2])];
    assert_eq!(told(&server, &org), expected);
    server.crash();
    assert_eq!(settled(), 1);
    // Told before the crash, or after it.
    org.post(PATH, json!({"title": "Two", "content": "x"})).status(201);
    server.crash();
    let all = eventually("what the crash left is told", || {
        let all = told(&server, &org);
        (all.len() > 2).then_some(all)
    });
    assert_eq!(all[2..], [json!(["knowledge.indexed", "Two", 1])]);
    org.delete(&path).status(204);
    assert_eq!(settled(), 1);
}

/// Content that was taken under other caps than today's: what no client can write any more.
pub(crate) fn make_unreadable(server: &Server, org: &Organization) {
    let content = "<div>".repeat(1_000);
    server.execute(&format!(
        "UPDATE articles SET format = 'html', version = version + 1, content = '{content}'
         WHERE org_id = '{}' AND external_id = 'bad'",
        org.id
    ));
    server.execute(&format!(
        "UPDATE article_states SET state = 'pending', version = version + 1, head = (
           SELECT head + 1 FROM knowledge_heads WHERE org_id = '{0}')
         WHERE org_id = '{0}' AND article_id = (
           SELECT id FROM articles WHERE org_id = '{0}' AND external_id = 'bad')",
        org.id
    ));
    server.execute(&format!("UPDATE knowledge_heads SET head = head + 1 WHERE org_id = '{}'", org.id));
}

#[test]
fn an_article_that_cannot_be_indexed_says_why_and_keeps_no_other_from_being_found() {
    let mut server = Server::start();
    let org = server.organization();
    for name in ["good", "bad"] {
        org.put(&format!("{PATH}/external/{name}"), json!({"title": name, "content": "Words."})).status(201);
    }
    assert_eq!(org.get(&format!("{PATH}/status")).status(200)["indexed"], 2);
    make_unreadable(&server, &org);
    let look = || {
        let list = org.get(&format!("{PATH}?index_state=failed")).status(200);
        list["data"].as_array().unwrap().first().cloned()
    };
    for _ in 0..2 {
        let failed = eventually("it has failed", look);
        assert_eq!((&failed["external_id"], &failed["version"]), (&json!("bad"), &json!(2)));
        let index = &failed["index"];
        assert_eq!(
            (&index["state"], &index["version"], &index["indexed_at"]),
            (&json!("failed"), &Value::Null, &Value::Null)
        );
        assert!(index["error"].as_str().is_some_and(|error| error.contains("nested")), "{index}");
        let status = org.get(&format!("{PATH}/status")).status(200);
        assert_eq!(
            (&status["indexed"], &status["pending"], &status["failed"]),
            (&json!(1), &json!(0), &json!(1))
        );
        let found = org.get(&format!("{PATH}/search?q=words")).status(200);
        assert_eq!(found["data"].as_array().unwrap().len(), 1);
        assert_eq!(found["data"][0]["article"]["title"], "good");
        server.crash();
    }
    let indexed = org.get(&format!("{PATH}?index_state=indexed")).status(200);
    assert_eq!(indexed["data"].as_array().unwrap().len(), 1);
    assert_eq!(org.get(&format!("{PATH}?index_state=pending")).status(200)["data"], json!([]));
    // Written anew, it is found again.
    let mended =
        org.put(&format!("{PATH}/external/bad"), json!({"title": "bad", "content": "Words."})).status(200);
    assert_eq!((&mended["index"]["state"], &mended["index"]["error"]), (&json!("indexed"), &Value::Null));
    assert_eq!(org.get(&format!("{PATH}/status")).status(200)["indexed"], 2);
    let told = told(&server, &org);
    assert_eq!(told[2..], [json!(["knowledge.failed", "bad", 2]), json!(["knowledge.indexed", "bad", 3])]);
}

#[test]
fn two_lines_of_if_match_are_one_list() {
    let server = Server::start();
    let org = server.organization();
    let made = org.post(PATH, json!({"content": "x"})).status(201);
    let path = format!("{PATH}/{}", made["id"].as_str().unwrap());
    let put = |first: &str, second: &str, content: &str| {
        let request = org.request("PUT", &path).header("If-Match", first).header("If-Match", second);
        request.json(&json!({"content": content})).send()
    };
    put("\"7\"", "\"1\"", "y").status(200);
    put("\"7\"", "\"1\"", "z").refused(412, "version_conflict");
}

#[test]
fn what_was_asked_in_vain_is_counted_with_its_like() {
    let server = Server::with(&[("model.providers", "builtin")]);
    let (org, stranger) = (server.organization(), Organization::create(&server, "Other"));
    org.post(PATH, json!({"title": "Parcels", "content": "Follow your parcel with the code in the mail."}))
        .status(201);
    let ask = |org: &Organization, question: &str| {
        let body = json!({"message": question, "language": "en"});
        let started = org.post("/v1/conversations", body).status(201);
        assert_eq!(started["turn"]["outcome"], "unanswered", "{}", started.text());
        started["conversation"]["id"].as_str().unwrap().to_owned()
    };
    for question in ["Do zebras hibernate?", "do  ZEBRAS hibernate", "A zebra hibernates!"] {
        ask(&org, question);
    }
    let submarine = ask(&org, "Which submarine?");
    let latest = ask(&org, "do zebras hibernate??");
    ask(&stranger, "Do zebras hibernate?");

    let path = format!("{PATH}/unanswered");
    let list = org.get(&path).status(200);
    let rows = list["data"].as_array().unwrap();
    let shown: Vec<_> = rows
        .iter()
        .map(|row| json!([row["question"], row["count"], row["example_conversation_id"], row["language"]]))
        .collect();
    assert_eq!(
        shown,
        [json!(["do zebras hibernate??", 4, latest, "en"]), json!(["Which submarine?", 1, submarine, "en"])]
    );
    assert!(rows[0]["first_asked_at"].as_str() < rows[0]["last_asked_at"].as_str());
    let first = org.get(&format!("{path}?limit=1")).status(200);
    assert_eq!(first["data"], json!([rows[0]]));
    // A cursor stays good while more is asked.
    ask(&org, "Do zebras hibernate?");
    let rest =
        org.get(&format!("{path}?limit=1&cursor={}", first["next_cursor"].as_str().unwrap())).status(200);
    assert_eq!((&rest["data"], &rest["has_more"]), (&json!([rows[1]]), &json!(false)));
    assert_eq!(org.get(&format!("{path}?order=asc")).status(200)["data"][0], rows[1]);

    org.delete(&format!("/v1/conversations/{submarine}")).status(204);
    assert_eq!(org.get(&path).status(200)["data"].as_array().unwrap().len(), 1);
    assert_eq!(stranger.get(&path).status(200)["data"][0]["count"], 1);
    org.restricted(&server, "knowledge:write").get(&path).refused(403, "missing_scope");
}

#[test]
fn a_change_that_keeps_the_text_keeps_it_found_under_the_new_title() {
    let mut server = Server::start();
    let org = server.organization();
    let made = org.post(PATH, json!({"title": "Parcels", "content": "# Late\n\nWait a day."})).status(201);
    let path = format!("{PATH}/{}", made["id"].as_str().unwrap());
    let found = |question: &str| {
        let found = org.get(&format!("{PATH}/search?q={question}")).status(200);
        found["data"].as_array().unwrap().iter().map(|hit| hit["passage"]["text"].clone()).collect::<Vec<_>>()
    };
    org.patch(&path, json!({"title": "Letters"})).status(200);
    assert_eq!((found("letters"), found("parcels")), (vec![json!("Wait a day.")], vec![]));
    org.patch(&path, json!({"published": false})).status(200);
    assert_eq!(found("letters"), [Value::Null; 0]);
    // What was not published is not in memory to be taken up again.
    let again = org.patch(&path, json!({"published": true, "topic": "post"})).status(200);
    assert_eq!((&again["index"]["state"], found("wait")), (&json!("indexed"), vec![json!("Wait a day.")]));
    let same = org.patch(&path, json!({"topic": "post"})).status(200);
    assert_eq!((&same["version"], &same["content"]), (&json!(4), &made["content"]));
    server.crash();
    assert_eq!(found("letters"), [json!("Wait a day.")]);
}

#[test]
fn a_write_that_is_not_searchable_in_time_is_accepted_and_becomes_so() {
    let server = Server::with(&[("knowledge.wait_ms", "0")]);
    let org = server.organization();
    let one = format!("{PATH}/external/one?wait=indexed");
    let made = org.put(&one, json!({"title": "One", "content": "zebra"})).status(202);
    assert_eq!((&made["version"], &made["index"]["state"]), (&json!(1), &json!("pending")));
    let found = || {
        let found = org.get(&format!("{PATH}/search?q=zebra")).status(200);
        found["data"].as_array().unwrap().len()
    };
    eventually("it is found", || (found() == 1).then_some(()));
    let known = org.get(&format!("{PATH}/external/one")).status(200);
    assert_eq!(known["index"]["state"], "indexed");
    assert_eq!(org.delete(&one).status(202).text(), "");
    org.get(&format!("{PATH}/external/one")).refused(404, "not_found");
    eventually("it is found no more", || (found() == 0).then_some(()));
    org.delete(&one).refused(404, "not_found");
}
