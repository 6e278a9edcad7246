//! Imports: many articles in one body, whatever is wrong with some of its lines and however it ends.

use serde_json::{Value, json};

use crate::harness::{Client, Connection, Organization, Reply, Server, eventually};

const IMPORT: &str = "/v1/knowledge/import";

fn line(name: &str, content: &str) -> String {
    format!("{}\n", json!({"external_id": name, "title": name, "content": content}))
}

fn import(client: &Client, query: &str, body: impl Into<Vec<u8>>) -> Reply {
    let request = client.request("POST", &format!("{IMPORT}{query}"));
    request.header("Content-Type", "application/x-ndjson").body(body).send()
}

/// created, updated, unchanged, deleted, refused
#[track_caller]
fn counted(import: &Value) -> [i64; 5] {
    ["created", "updated", "unchanged", "deleted", "refused"]
        .map(|name| import["counts"][name].as_i64().expect("a count"))
}

fn names(client: &Client, query: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("/v1/knowledge?order=asc&limit=100{query}{cursor}")).status(200);
        for article in page["data"].as_array().unwrap() {
            names.push(article["external_id"].as_str().unwrap_or("-").to_owned());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return names,
        }
    }
}

fn found(client: &Client, question: &str) -> usize {
    let found = client.get(&format!("/v1/knowledge/search?q={question}&limit=100")).status(200);
    found["data"].as_array().unwrap().len()
}

/// A body that the test sends piece by piece.
struct Slow(Connection);

impl Slow {
    fn begin(server: &Server, key: &str, query: &str) -> Self {
        let mut connection = server.connect();
        let head = format!(
            "POST {IMPORT}{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        connection.send(head.as_bytes()).unwrap();
        Self(connection)
    }

    fn send(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.0.send(chunk.as_bytes()).unwrap();
    }

    fn end(mut self) -> Reply {
        self.0.send(b"0\r\n\r\n").unwrap();
        self.0.reply()
    }
}

/// The newest import, once it has come so far.
#[track_caller]
fn newest(client: &Client, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || {
        let list = client.get("/v1/knowledge/imports").status(200);
        list["data"][0].is_object().then(|| list["data"][0].clone()).filter(|import| is_so(import))
    })
}

#[test]
fn lines_become_articles_and_are_found_when_the_import_is_answered() {
    let server = Server::start();
    let org = server.organization();
    let body =
        [line("a", "About parcels."), line("b", "About letters."), line("c", "About stamps.")].concat();
    let made = import(&org, "?wait=indexed", body.clone()).status(202);
    let id = made["id"].as_str().unwrap();
    assert!(id.starts_with("imp_"), "{id}");
    assert_eq!(made.header("location"), Some(format!("/v1/knowledge/imports/{id}").as_str()));
    let counts = json!({"lines": 3, "created": 3, "updated": 0, "unchanged": 0, "deleted": 0, "refused": 0, "pending": 0, "indexed": 3});
    assert_eq!((&made["state"], &made["counts"]), (&json!("completed"), &counts));
    assert_eq!((&made["errors"], &made["error"]), (&json!([]), &Value::Null));
    assert_eq!(found(&org, "parcels"), 1);

    let changed =
        body.replace("letters", "postcards") + &json!({"external_id": "a", "deleted": true}).to_string();
    let again = import(&org, "?wait=indexed", changed).status(202);
    // The same name twice: in the order of the lines. Without a line end, the last one counts.
    assert_eq!((counted(again.json()), &again["counts"]["lines"]), ([0, 1, 2, 1, 0], &json!(4)));
    assert_eq!((found(&org, "parcels"), found(&org, "postcards"), found(&org, "letters")), (0, 1, 0));
    let gone = import(&org, "", json!({"external_id": "a", "deleted": true}).to_string()).status(202);
    assert_eq!(counted(gone.json()), [0, 0, 1, 0, 0]);

    let shown = org.get(&format!("/v1/knowledge/imports/{id}?wait=indexed")).status(200);
    assert_eq!(shown.json(), made.json());
    let all = org.get("/v1/knowledge/imports?limit=2").status(200);
    assert_eq!((all["data"].as_array().unwrap().len(), &all["has_more"]), (2, &json!(true)));
    assert_eq!(all["data"][0]["id"], gone["id"]);
    assert_eq!(import(&org, "", "").status(202)["state"], "completed");
}

/// The code of a refusal and the article it names, if a line is refused.
type Refusal<'a> = Option<(&'a str, Option<&'a str>)>;

#[test]
fn a_bad_line_of_any_kind_stops_no_other() {
    let server = Server::start();
    let org = server.organization();
    let deep = format!("{{\"external_id\":\"deep\",\"content\":{}1{}}}", "[".repeat(40), "]".repeat(40));
    let bomb =
        json!({"external_id": "bomb", "content": "<div>".repeat(10_000), "format": "html"}).to_string();
    let attributes: String = (0..50_000).map(|number| format!(" a{number}")).collect();
    let wide =
        json!({"external_id": "wide", "content": format!("<a{attributes}>x"), "format": "html"}).to_string();
    let long = |bytes: usize| {
        let empty = json!({"external_id": "long", "content": ""}).to_string().len();
        json!({"external_id": "long", "content": "x".repeat(bytes - empty)}).to_string()
    };
    let (longest, too_long) = (long(4 << 20), long((4 << 20) + 1));
    let lines: Vec<(&[u8], Refusal<'_>)> = vec![
        (br#"{"external_id":"first","content":"x"}"#, None),
        (b"", None),
        (b"not JSON", Some(("malformed_json", None))),
        (b"[1,2]", Some(("invalid_field", None))),
        (
            br#"{"external_id":"colour","content":"x","colour":"red"}"#,
            Some(("unknown_field", Some("colour"))),
        ),
        (br#"{"content":"x"}"#, Some(("invalid_field", None))),
        (br#"{"external_id":"","content":"x"}"#, Some(("invalid_field", None))),
        (br#"{"external_id":5,"content":"x"}"#, Some(("invalid_field", None))),
        (br#"{"external_id":"empty"}"#, Some(("invalid_field", Some("empty")))),
        (br#"{"external_id":"nul","content":"a\u0000b"}"#, Some(("invalid_field", Some("nul")))),
        (br#"{"external_id":"twice","content":"a","content":"b"}"#, Some(("duplicate_field", Some("twice")))),
        (br#"{"external_id":"alive","deleted":false}"#, Some(("invalid_field", Some("alive")))),
        (br#"{"external_id":"both","deleted":true,"content":"x"}"#, Some(("unknown_field", Some("both")))),
        (b"{\"external_id\":\"bytes\",\"content\":\"\xff\"}", Some(("malformed_json", Some("bytes")))),
        (deep.as_bytes(), Some(("too_deep", Some("deep")))),
        (bomb.as_bytes(), Some(("too_deep", Some("bomb")))),
        (wide.as_bytes(), Some(("invalid_field", Some("wide")))),
        (too_long.as_bytes(), Some(("line_too_long", None))),
        (longest.as_bytes(), None),
        (b"   ", None),
        (br#"{"external_id":"last","content":"x"}"#, None),
    ];
    let body = lines.iter().map(|(line, _)| *line).collect::<Vec<_>>().join(&b"\r\n"[..]);
    let made = import(&org, "", body).status(202);
    let refused: Vec<Value> = lines
        .iter()
        .enumerate()
        .filter_map(|(at, (_, refusal))| refusal.map(|(code, name)| json!([at + 1, name, code])))
        .collect();
    let shown: Vec<Value> = made["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| json!([error["line"], error["external_id"], error["code"]]))
        .collect();
    assert_eq!(shown, refused);
    assert!(
        made["errors"]
            .as_array()
            .unwrap()
            .iter()
            .all(|error| error["message"].as_str().is_some_and(|text| !text.is_empty()))
    );
    assert_eq!(counted(made.json()), [3, 0, 0, 0, refused.len() as i64]);
    assert_eq!(made["counts"]["lines"], refused.len() + 3);
    assert_eq!(made["state"], "completed");
    assert_eq!(names(&org, ""), ["first", "long", "last"]);

    let errors = format!("/v1/knowledge/imports/{}/errors", made["id"].as_str().unwrap());
    let first = org.get(&format!("{errors}?limit=4")).status(200);
    let rest = org.get(&format!("{errors}?limit=100&cursor={}", first["next_cursor"].as_str().unwrap()));
    let all = [first["data"].as_array().unwrap().clone(), rest["data"].as_array().unwrap().clone()].concat();
    assert_eq!(&Value::from(all), &made["errors"]);
    let backwards = org.get(&format!("{errors}?order=desc&limit=1")).status(200);
    assert_eq!(backwards["data"][0], made["errors"][refused.len() - 1]);
}

#[test]
fn an_import_shows_how_far_it_is_while_its_body_comes() {
    let server = Server::start();
    let org = server.organization();
    let mut slow = Slow::begin(&server, &org.primary_key, "");
    for third in 0..3 {
        for number in 0..1_000 {
            slow.send(&line(&format!("{third}-{number}"), "Some words."));
        }
        // Half a line waits for its rest, and nothing else does.
        slow.send("{\"external_id\":");
        let so_far = newest(&org, "a third is stored", |import| {
            import["counts"]["lines"] == (third + 1) * 1_000 + third
        });
        assert_eq!(so_far["state"], "running");
        assert_eq!(
            org.get("/v1/knowledge/search?q=words&limit=1").status(200)["data"].as_array().unwrap().len(),
            1
        );
        slow.send(&format!("\"half-{third}\",\"content\":\"x\"}}\n"));
    }
    let made = slow.end().status(202);
    assert_eq!((&made["state"], counted(made.json())), (&json!("completed"), [3_003, 0, 0, 0, 0]));
    assert_eq!(names(&org, "").len(), 3_003);
    let status = org.get("/v1/knowledge/status").status(200);
    assert_eq!(
        (&status["indexed"], &status["pending"], &status["failed"]),
        (&json!(3_003), &json!(0), &json!(0))
    );
}

#[test]
fn a_body_that_breaks_off_leaves_what_was_stored_and_says_so() {
    let server = Server::start();
    let org = server.organization();
    let mut slow = Slow::begin(&server, &org.primary_key, "?source=cms&mode=mirror");
    slow.send(&[line("a", "x"), line("b", "x")].concat());
    newest(&org, "two lines are stored", |import| import["counts"]["created"] == 2);
    slow.send(&[&line("c", "x"), "{\"external_id\":\"d\""].concat());
    drop(slow);
    let broken = newest(&org, "it has failed", |import| import["state"] == "failed");
    assert!(broken["error"].as_str().is_some_and(|reason| !reason.is_empty()), "{broken}");
    assert_eq!(counted(&broken)[4], 0);
    let kept = names(&org, "");
    assert!(kept == ["a", "b"] || kept == ["a", "b", "c"], "{kept:?}");
    let body = ["a", "b", "c", "d"].map(|name| line(name, "x")).concat();
    let again = import(&org, "?source=cms", body).status(202);
    assert_eq!(counted(again.json())[2], kept.len() as i64);
}

#[test]
fn a_body_that_stands_still_is_given_up_and_its_import_says_why() {
    let server = Server::start();
    let org = server.organization();
    let mut slow = Slow::begin(&server, &org.primary_key, "");
    slow.send(&line("a", "x"));
    newest(&org, "a line is stored", |import| import["counts"]["created"] == 1);
    // Half a line is none.
    slow.send(&[&line("b", "x"), "{\"external_id\":\"c\""].concat());
    let refused = slow.0.reply().refused(408, "request_timeout");
    let path = format!("/v1/knowledge/imports/{}", refused["error"]["import_id"].as_str().unwrap());
    let broken = org.get(&path).status(200);
    assert_eq!((&broken["state"], &broken["counts"]["created"]), (&json!("failed"), &json!(2)));
    assert!(broken["error"].as_str().unwrap().contains("request_timeout"), "{}", broken.text());
}

#[test]
fn a_crash_in_the_middle_loses_nothing_that_was_counted() {
    let mut server = Server::start();
    let org = server.organization();
    let mut slow = Slow::begin(&server, &org.primary_key, "");
    let all: Vec<String> = (0..500).map(|number| line(&format!("a{number}"), "Some words.")).collect();
    slow.send(&all[..300].concat());
    newest(&org, "some are stored", |import| import["counts"]["created"] == 300);
    server.crash();
    let broken = newest(&org, "it is found to have failed", |import| import["state"] == "failed");
    assert!(broken["error"].as_str().unwrap().contains("send it again"), "{broken}");
    assert_eq!(broken["counts"]["created"], 300);
    assert_eq!(names(&org, "").len(), 300);
    eventually("what the crash left is told", || {
        let status = org.get("/v1/knowledge/status").status(200);
        (status["pending"] == 0 && status["indexed"] == 300).then_some(())
    });
    let again = import(&org, "?wait=indexed", all.concat()).status(202);
    assert_eq!(counted(again.json()), [200, 0, 300, 0, 0]);
    assert_eq!(found(&org, "words"), 100);
}

#[test]
fn a_mirror_deletes_what_its_source_no_longer_has() {
    let server = Server::start();
    let org = server.organization();
    let all = ["a", "b", "c"].map(|name| line(name, "x")).concat();
    assert_eq!(counted(import(&org, "?source=cms", all.clone()).status(202).json()), [3, 0, 0, 0, 0]);
    import(&org, "?source=other", line("elsewhere", "x")).status(202);
    org.post("/v1/knowledge", json!({"title": "By hand", "content": "x"})).status(201);

    // A refused line still names its article.
    let refused = r#"{"external_id":"b","content":""}"#;
    let made = import(&org, "?source=cms&mode=mirror", line("a", "x") + refused).status(202);
    assert_eq!((counted(made.json()), &made["mode"]), ([0, 0, 1, 1, 1], &json!("mirror")));
    assert_eq!(names(&org, ""), ["a", "b", "elsewhere", "-"]);
    assert_eq!(names(&org, "&source=cms"), ["a", "b"]);
    // One whose name cannot be read may be any.
    let made = import(&org, "?source=cms&mode=mirror", line("a", "x") + "{").status(202);
    assert_eq!(counted(made.json()), [0, 0, 1, 0, 1]);
    // Deleting what is there, and the same name written again behind.
    let body = format!("{}\n{}", json!({"external_id": "a", "deleted": true}), line("a", "y"));
    let made = import(&org, "?source=cms&mode=mirror", body).status(202);
    assert_eq!(counted(made.json()), [1, 0, 0, 2, 0]);
    // An empty body names nothing.
    assert_eq!(counted(import(&org, "?source=cms&mode=mirror", "").status(202).json()), [0, 0, 0, 1, 0]);
    assert_eq!(names(&org, ""), ["elsewhere", "-"]);

    import(&org, "?mode=mirror", all.clone()).refused(400, "invalid_field").naming("source");
    import(&org, "?mode=copy&source=cms", all.clone()).refused(400, "invalid_field").naming("mode");
    import(&org, "?colour=red", all).refused(400, "unknown_field").naming("colour");
}

#[test]
fn two_imports_and_single_writes_go_on_beside_each_other() {
    let server = Server::start();
    let (org, stranger) = (server.organization(), Organization::create(&server, "Other"));
    let body = |word: &str| (0..400).map(|number| line(&format!("n{number}"), word)).collect::<String>();
    std::thread::scope(|scope| {
        let both = ["first", "second"].map(|word| {
            let (org, body) = (&org, body(word));
            scope.spawn(move || import(org, "?source=cms&wait=indexed", body).status(202))
        });
        for number in 0..20 {
            let article = json!({"content": format!("single {number}")});
            org.put(&format!("/v1/knowledge/external/single{number}"), article.clone()).status(201);
            let both = org.put("/v1/knowledge/external/n7", article);
            assert!(matches!(both.code(), 200 | 201), "{}", both.text());
            stranger.post("/v1/knowledge", json!({"content": "x"})).status(201);
        }
        for made in both.map(|thread| thread.join().unwrap()) {
            let [created, updated, unchanged, ..] = counted(made.json());
            assert_eq!((created + updated + unchanged, &made["state"]), (400, &json!("completed")));
            assert_eq!(made["counts"]["pending"], 0);
        }
    });
    assert_eq!(names(&org, "").len(), 420);
    assert_eq!(names(&stranger, "").len(), 20);
    let status = org.get("/v1/knowledge/status").status(200);
    assert_eq!((&status["indexed"], &status["pending"]), (&json!(420), &json!(0)));
    // What is stored is what is found: each article once, as its last write says.
    let list = org.get("/v1/knowledge?include=content&q=n123").status(200);
    let word = list["data"][0]["content"].as_str().unwrap();
    assert_eq!(found(&org, word), 100);
}

#[test]
fn an_import_is_shown_to_its_maker_and_to_readers_and_to_nobody_else() {
    let server = Server::start();
    let (org, stranger) = (server.organization(), Organization::create(&server, "Other"));
    let writer = org.restricted(&server, "knowledge:write");
    let other = org.restricted(&server, "knowledge:write");
    let made = import(&writer, "", "{\n").status(202);
    let path = format!("/v1/knowledge/imports/{}", made["id"].as_str().unwrap());
    let errors = format!("{path}/errors");
    for client in [&writer, &*org] {
        assert_eq!(client.get(&path).status(200)["id"], made["id"]);
        assert_eq!(client.get(&errors).status(200)["data"], made["errors"]);
        assert_eq!(client.get("/v1/knowledge/imports").status(200)["data"][0]["id"], made["id"]);
    }
    for client in [&other, &*stranger] {
        client.get(&path).refused(404, "not_found");
        client.get(&errors).refused(404, "not_found");
        assert_eq!(client.get("/v1/knowledge/imports").status(200)["data"], json!([]));
    }
    let neither = org.restricted(&server, "conversations:read");
    neither.get(&path).refused(403, "missing_scope").naming("knowledge:read");
    import(&neither, "", "").refused(403, "missing_scope").naming("knowledge:write");
    org.get("/v1/knowledge/imports/imp_x").refused(404, "not_found");
    let request = || org.request("POST", IMPORT).body(line("a", "x"));
    request().header("Content-Type", "application/json").send().refused(415, "unsupported_media_type");
    let zipped = request().header("Content-Type", "application/x-ndjson").header("Content-Encoding", "gzip");
    zipped.send().refused(415, "unsupported_media_type");
}

#[test]
fn an_import_that_is_sent_again_under_its_key_is_made_once() {
    let mut server = Server::start();
    let org = server.organization();
    let send = |body: &str| {
        let request = org.request("POST", IMPORT).header("Idempotency-Key", "import-1");
        request.header("Content-Type", "application/x-ndjson").body(body).send()
    };
    let body = line("a", "x");
    let first = send(&body).status(202);
    org.delete("/v1/knowledge/external/a").status(204);
    for _ in 0..2 {
        let again = send(&body).status(202);
        assert_eq!(again.header("Idempotent-Replayed"), Some("true"));
        assert_eq!((&again["id"], again.header("location")), (&first["id"], first.header("location")));
        server.crash();
    }
    assert_eq!(names(&org, ""), [""; 0]);
    send(&line("b", "x")).refused(422, "idempotency_key_reused");
}

#[test]
fn what_is_exported_is_imported_as_the_same() {
    let server = Server::start();
    let (org, other) = (server.organization(), Organization::create(&server, "Other"));
    for number in 0..20 {
        let article = json!({
            "external_id": format!("n/{number} é"), "source": "cms", "title": format!("\"{number}\"\n"),
            "content": "<p>Größe\u{2028}</p>\r\n", "format": "html", "language": "de", "topic": "t",
            "url": "https://x.example/a", "metadata": {"a": "1"}, "published": number % 2 == 0,
        });
        org.post("/v1/knowledge", article).status(201);
    }
    let unnamed = org.post("/v1/knowledge", json!({"content": "no name"})).status(201);
    let export = org.get("/v1/knowledge/export").status(200);
    assert_eq!(export.header("content-type"), Some("application/x-ndjson"));
    let made = import(&other, "", export.body()).status(202);
    assert_eq!(counted(made.json()), [21, 0, 0, 0, 0], "{}", made.text());
    // One without a name goes by its id.
    assert_eq!(names(&other, "").last().map(String::as_str), unnamed["id"].as_str());
    let again = other.get("/v1/knowledge/export").status(200);
    assert_eq!(again.text(), export.text());
    // And comes back as itself where it came from.
    let back = import(&org, "", export.body()).status(202);
    assert_eq!(counted(back.json()), [0, 1, 20, 0, 0]);
    assert_eq!(org.get("/v1/knowledge/export").status(200).text(), export.text());
    let writer = org.restricted(&server, "knowledge:write");
    writer.get("/v1/knowledge/export").refused(403, "missing_scope");
}

#[test]
fn an_organization_that_is_erased_takes_its_imports_with_it() {
    let server = Server::with(&[("server.admin_token", "an-operator-of-this-server-knows-it")]);
    let org = server.organization();
    import(&org, "", line("a", "x") + "{").status(202);
    let admin = server.client_with("an-operator-of-this-server-knows-it");
    admin.delete(&format!("/v1/organizations/{}", org.id)).status(204);
    for table in ["article_states", "imports", "import_errors", "organization_streams", "knowledge_heads"] {
        assert_eq!(server.number(&format!("SELECT COUNT(*) FROM {table}")), 0, "{table}");
    }
}

#[test]
fn only_so_many_imports_run_at_once() {
    let server = Server::start();
    let org = server.organization();
    let mut running: Vec<Slow> = (0..16)
        .map(|number| {
            let mut slow = Slow::begin(&server, &org.primary_key, "");
            slow.send(&line(&format!("a{number}"), "x"));
            slow
        })
        .collect();
    eventually("all of them run", || (names(&org, "").len() == 16).then_some(()));
    import(&org, "", line("b", "x")).refused(503, "overloaded");
    assert_eq!(running.remove(0).end().status(202)["counts"]["created"], 1);
    import(&org, "", line("b", "x")).status(202);
}

#[test]
fn an_import_and_its_errors_are_kept_for_thirty_days() {
    let mut server = Server::start();
    let org = server.organization();
    let made = |name: &str| {
        let body = format!("{}not json\n", line(name, "Something."));
        import(&org, "", body).status(202)["id"].as_str().unwrap().to_owned()
    };
    let (old, recent) = (made("a"), made("b"));
    let ended = |id: &str, days: i64| {
        let ms = days * 24 * 60 * 60 * 1_000;
        server.execute(&format!("UPDATE imports SET finished_at = finished_at - {ms} WHERE id = '{id}'"));
    };
    ended(&old, 31);
    ended(&recent, 29);
    server.restart();
    eventually("the old import is dropped", || {
        let status = org.get(&format!("/v1/knowledge/imports/{old}"));
        (status.json()["error"]["code"] == "not_found").then_some(())
    });
    assert_eq!(server.number(&format!("SELECT COUNT(*) FROM import_errors WHERE import_id = '{old}'")), 0);
    let kept = org.get(&format!("/v1/knowledge/imports/{recent}")).status(200);
    assert_eq!(kept["errors"].as_array().unwrap().len(), 1);
    assert_eq!(names(&org, ""), ["a", "b"]);
}
