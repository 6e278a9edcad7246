//! Articles: whoever writes one finds it with the next request, and nobody else finds it at all.

use serde_json::{Value, json};

use crate::harness::{Client, Organization, Reply, Server, eventually, times};

const PATH: &str = "/v1/knowledge";

fn parcels() -> Value {
    json!({"title": "Parcels", "content": "Follow your **parcel** with the code.\n\n## Late\n\nWait a day."})
}

fn path(article: &Reply) -> String {
    format!("{PATH}/{}", article["id"].as_str().unwrap())
}

#[track_caller]
fn found(client: &Client, question: &str) -> Vec<Value> {
    let found = client.get(&format!("{PATH}/search?q={question}")).status(200);
    found["data"].as_array().unwrap().clone()
}

#[test]
fn what_is_written_is_found_by_the_next_request() {
    let server = Server::start();
    let org = server.organization();
    let made = org.post(PATH, parcels()).status(201);
    assert_eq!(made.header("location"), Some(path(&made).as_str()));
    assert_eq!(made.header("etag"), Some("\"1\""));
    assert_eq!((&made["index"]["state"], &made["index"]["version"]), (&json!("indexed"), &json!(1)));
    assert_eq!(
        (&made["language"], &made["format"], &made["published"]),
        (&json!("en"), &json!("markdown"), &json!(true))
    );
    for name in ["external_id", "source", "topic", "url"] {
        assert_eq!(made.json().get(name), Some(&Value::Null), "{name}");
    }

    let [hit] = found(&org, "parcel").try_into().unwrap();
    assert_eq!(hit["article"]["id"], made["id"]);
    assert_eq!(hit["article"].get("content"), None);
    let passage = json!({
        "text": "Follow your parcel with the code.", "start": 0, "end": 33, "highlights": [{"start": 12, "end": 18}]
    });
    assert_eq!(hit["passage"], passage);

    let changed =
        org.patch(&format!("{}?wait=indexed", path(&made)), json!({"title": "Letters", "content": "Post."}));
    let changed = changed.status(200);
    assert_eq!((&changed["version"], changed.header("etag")), (&json!(2), Some("\"2\"")));
    assert_eq!(found(&org, "parcel"), [Value::Null; 0]);
    assert_eq!(found(&org, "letters").len(), 1);

    org.delete(&path(&made)).status(204);
    assert_eq!(found(&org, "letters"), [Value::Null; 0]);
    org.delete(&path(&made)).refused(404, "not_found");
    org.get(&path(&made)).refused(404, "not_found");
}

#[test]
fn an_article_that_is_sent_again_under_its_key_is_made_once() {
    let mut server = Server::start();
    let shop = server.organization();
    let make = |content: &str| {
        let body = json!({ "title": "Parcels", "content": content });
        shop.request("POST", "/v1/knowledge").header("Idempotency-Key", "article-1").json(&body).send()
    };
    let first = make("By train.").status(201);
    assert_eq!(first.header("Idempotent-Replayed"), None);
    for _ in 0..2 {
        let again = make("By train.").status(201);
        assert_eq!(again.header("Idempotent-Replayed"), Some("true"));
        assert_eq!((again.header("Location"), &again["id"]), (first.header("Location"), &first["id"]));
        server.crash();
    }
    make("By ship.").refused(422, "idempotency_key_reused");
    assert_eq!(shop.get("/v1/knowledge").status(200)["data"].as_array().unwrap().len(), 1);
}

#[test]
fn a_restart_forgets_nothing() {
    let mut server = Server::start();
    let org = server.organization();
    let made = org.post(PATH, parcels()).status(201);
    server.crash();
    assert_eq!(found(&org, "parcel")[0]["article"]["id"], made["id"]);
    let read = org.get(&path(&made)).status(200);
    assert_eq!((&read["content"], &read["index"]["state"]), (&parcels()["content"], &json!("indexed")));
    let status = org.get(&format!("{PATH}/status")).status(200);
    assert_eq!(
        (&status["indexed"], &status["pending"], &status["failed"]),
        (&json!(1), &json!(0), &json!(0))
    );
}

#[test]
fn a_stranger_finds_nothing_and_learns_nothing() {
    let server = Server::start();
    let (org, stranger) = (server.organization(), Organization::create(&server, "Other"));
    let made = org.put(&format!("{PATH}/external/a.md"), parcels()).status(201);
    assert_eq!(found(&stranger, "parcel"), [Value::Null; 0]);
    let list = stranger.get(PATH).status(200);
    assert_eq!(list["data"], json!([]));
    for path in [path(&made), format!("{PATH}/external/a.md"), format!("{PATH}/art_x")] {
        stranger.get(&path).refused(404, "not_found");
        stranger.delete(&path).refused(404, "not_found");
    }
    stranger.put(&path(&made), parcels()).refused(404, "not_found");
    stranger.patch(&path(&made), json!({"title": "x"})).refused(404, "not_found");
    stranger.put(&format!("{PATH}/external/a.md"), parcels()).status(201);
    assert_eq!(org.get(&path(&made)).status(200)["version"], 1);
}

#[test]
fn reading_and_writing_are_scopes_of_their_own() {
    let server = Server::start();
    let org = server.organization();
    let reader = org.restricted(&server, "knowledge:read");
    let writer = org.restricted(&server, "knowledge:write");
    let made = writer.post(PATH, parcels()).status(201);
    reader.get(&path(&made)).status(200);
    reader.delete(&path(&made)).refused(403, "missing_scope").naming("knowledge:write");
    writer.get(&path(&made)).refused(403, "missing_scope").naming("knowledge:read");
    writer.get(&format!("{PATH}/search?q=parcel")).refused(403, "missing_scope");
    server.client().get(PATH).refused(401, "invalid_key");
}

#[test]
fn a_cms_pushes_by_its_own_names() {
    let server = Server::start();
    let org = server.organization();
    let external = format!("{PATH}/external/help%2Fparcels%20%C3%A9.md");
    let made = org.put(&external, parcels()).status(201);
    assert_eq!(made["external_id"], "help/parcels é.md");
    let same = org.put(&external, parcels()).status(200);
    assert_eq!((&same["id"], &same["version"], &same["index"]), (&made["id"], &json!(1), &made["index"]));
    let mut named = parcels();
    named["external_id"] = "help/parcels é.md".into();
    named["title"] = "Your parcels".into();
    assert_eq!(org.put(&external, named.clone()).status(200)["version"], 2);
    named["external_id"] = "another".into();
    org.put(&external, named).refused(400, "invalid_field").naming("external_id");

    let taken = json!({"content": "x", "external_id": "help/parcels é.md"});
    org.post(PATH, taken).refused(409, "external_id_taken").naming("external_id");
    let once = org.request("PUT", &external).header("If-None-Match", "*").json(&parcels()).send();
    once.refused(412, "version_conflict");
    assert_eq!(org.get(&external).status(200)["id"], made["id"]);
    org.delete(&external).status(204);
    org.get(&external).refused(404, "not_found");
    let long = "x".repeat(256);
    org.put(&format!("{PATH}/external/{long}"), parcels())
        .refused(400, "invalid_field")
        .naming("external_id");
}

#[test]
fn nobody_overwrites_what_they_have_not_seen() {
    let server = Server::start();
    let org = server.organization();
    let made = org.post(PATH, parcels()).status(201);
    let write = |method: &str, tag: &str, title: &str| {
        let body = json!({"title": title, "content": "x"});
        org.request(method, &path(&made)).header("If-Match", tag).json(&body).send()
    };
    write("PUT", "\"1\"", "Two").status(200);
    write("PUT", "\"1\"", "Three").refused(412, "version_conflict");
    write("PATCH", "\"1\"", "Three").refused(412, "version_conflict");
    write("PATCH", "\"2\"", "Three").status(200);
    write("PATCH", "*", "Four").status(200);
    write("PUT", "four", "Five").refused(400, "invalid_header");
    org.request("DELETE", &path(&made)).header("If-Match", "\"1\"").send().refused(412, "version_conflict");
    org.request("DELETE", &path(&made)).header("If-Match", "\"4\"").send().status(204);
}

#[test]
fn a_patch_reaches_into_metadata_and_null_takes_away() {
    let server = Server::start();
    let org = server.organization();
    let body = json!({
        "title": "Pakketten", "content": "Volg je pakket met de code die in de mail staat.", "topic": "delivery",
        "url": "https://x.example/a", "metadata": {"a": "1", "b": "2"}, "language": "EN"
    });
    let made = org.post(PATH, body).status(201);
    assert_eq!(made["language"], "en");
    let patch =
        json!({"topic": null, "metadata": {"a": null, "c": "3"}, "language": null, "published": false});
    let changed = org.patch(&path(&made), patch).status(200);
    assert_eq!((&changed["topic"], &changed["metadata"]), (&Value::Null, &json!({"b": "2", "c": "3"})));
    assert_eq!((&changed["language"], &changed["url"]), (&json!("nl"), &made["url"]));
    assert_eq!((&changed["published"], &changed["index"]["state"]), (&json!(false), &json!("indexed")));
    assert_eq!(found(&org, "pakket"), [Value::Null; 0]);
    assert_eq!(org.patch(&path(&made), json!({"metadata": {"b": "2"}})).status(200)["version"], 2);
    org.patch(&path(&made), json!({"content": null})).refused(400, "invalid_field").naming("content");
}

#[test]
fn a_list_is_filtered_and_paged_without_content() {
    let server = Server::start();
    let org = server.organization();
    for (title, topic) in [("One", "a"), ("Two", "b"), ("Three", "a")] {
        org.post(PATH, json!({"title": title, "content": "text", "topic": topic, "source": "cms"}))
            .status(201);
    }
    let titles = |query: &str| -> Vec<String> {
        let list = org.get(&format!("{PATH}?{query}")).status(200);
        list["data"].as_array().unwrap().iter().map(|row| row["title"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(titles(""), ["Three", "Two", "One"]);
    assert_eq!(titles("topic=a&order=asc"), ["One", "Three"]);
    assert_eq!(titles("q=tw"), ["Two"]);
    assert_eq!(titles("source=other"), [""; 0]);
    assert_eq!(titles("index_state=failed"), [""; 0]);
    assert_eq!(titles("updated_after=2999-01-01T00:00:00Z"), [""; 0]);
    let first = org.get(&format!("{PATH}?limit=2")).status(200);
    assert_eq!(first["data"][0].get("content"), None);
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(titles(&format!("limit=2&cursor={cursor}")), ["One"]);
    assert_eq!(org.get(&format!("{PATH}?include=content")).status(200)["data"][0]["content"], "text");
    org.get(&format!("{PATH}?colour=red")).refused(400, "unknown_field").naming("colour");
    org.get(&format!("{PATH}?index_state=lost")).refused(400, "invalid_field").naming("index_state");
}

#[test]
fn what_cannot_be_an_article_is_refused_and_nothing_is_stored() {
    let server = Server::start();
    let org = server.organization();
    for (body, code, param) in [
        (json!({"title": "x"}), "invalid_field", "content"),
        (json!({"content": "  "}), "invalid_field", "content"),
        (json!({"content": 5}), "invalid_field", "content"),
        (json!({"content": "a\u{0}b"}), "invalid_field", "content"),
        (json!({"content": "x", "titel": "x"}), "unknown_field", "titel"),
        (json!({"content": "x", "format": "pdf"}), "invalid_field", "format"),
        (json!({"content": "x", "language": "english!"}), "invalid_field", "language"),
        (json!({"content": "x", "url": "javascript:alert(1)"}), "invalid_field", "url"),
        (json!({"content": "x", "external_id": ""}), "invalid_field", "external_id"),
        (json!({"content": "x", "metadata": {"k": "v".repeat(513)}}), "invalid_field", "metadata"),
        (json!({"content": "<div>".repeat(10_000), "format": "html"}), "too_deep", "content"),
        (json!({"content": ">".repeat(10_000)}), "too_deep", "content"),
    ] {
        org.post(PATH, body).refused(400, code).naming(param);
    }
    org.post(PATH, json!({"content": "x".repeat(5 << 20)})).refused(413, "body_too_large");
    org.post(&format!("{PATH}?wait=for_it"), parcels()).refused(400, "invalid_field").naming("wait");
    org.get(&format!("{PATH}/search?q=")).refused(400, "invalid_field").naming("q");
    org.get(&format!("{PATH}/search")).refused(400, "invalid_field").naming("q");
    org.get(&format!("{PATH}/search?q=x&limit=101")).refused(400, "invalid_field").naming("limit");
    org.request("POST", &format!("{PATH}/status")).send().refused(405, "method_not_allowed");
    assert_eq!(org.get(PATH).status(200)["data"], json!([]));
    // As large as an article may be.
    org.post(PATH, json!({"content": "word ".repeat(800_000)})).status(201);
}

#[test]
fn a_page_is_searched_by_what_it_shows() {
    let server = Server::start();
    let org = server.organization();
    let page = "<nav>menu</nav><h1>Maße</h1><script>hidden()</script><p>Größe <b>M</b> passt.</p>";
    org.post(PATH, json!({"content": page, "format": "html", "language": "de"})).status(201);
    assert_eq!(found(&org, "menu"), [Value::Null; 0]);
    assert_eq!(found(&org, "hidden"), [Value::Null; 0]);
    let [hit] = found(&org, "gr%C3%B6%C3%9Fe").try_into().unwrap();
    let passage = &hit["passage"];
    assert_eq!(
        (&passage["text"], &passage["start"], &passage["end"]),
        (&json!("Größe M passt."), &json!(6), &json!(20))
    );
}

/// A folder of articles.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

const FILES: [(&str, &str); 5] = [
    (
        "delivery/parcels.md",
        "---\ntitle: Parcels\ntopic: delivery\n---\n# Your parcel\n\nFollow your parcel with the code.",
    ),
    ("returns.html", "<h1>Returns</h1><p>Send the shoes back within thirty days."),
    ("notes.txt", "We are open on Sunday."),
    ("picture.png", "not an article"),
    (".hidden.md", "not an article either"),
];

#[test]
fn a_folder_is_imported_beside_the_server_and_again_without_a_change() {
    let server = Server::start();
    let org = server.organization();
    let folder = folder(&FILES);
    let from = folder.path().to_str().unwrap();
    let import = || -> Value {
        let run = server.run(&["knowledge", "import", from, "--org", &org.id, "--json"]);
        assert!(run.status.success(), "{run:?}");
        serde_json::from_str(&run.out).unwrap()
    };
    let counts = |created, updated, unchanged| json!({"articles": 3, "created": created, "updated": updated, "unchanged": unchanged, "deleted": 0, "refused": 0, "errors": []});
    // The server had read its articles before; it notices what another process wrote.
    assert_eq!(found(&org, "parcel"), [Value::Null; 0]);
    assert_eq!(import(), counts(3, 0, 0));
    let article = eventually("the server notices", || found(&org, "parcel").pop())["article"].clone();
    assert_eq!((&article["title"], &article["topic"]), (&json!("Parcels"), &json!("delivery")));
    assert_eq!(article["external_id"], "delivery/parcels.md");
    assert_eq!(import(), counts(0, 0, 3));
    std::fs::write(folder.path().join("notes.txt"), "We are closed on Sunday.").unwrap();
    assert_eq!(import(), counts(0, 1, 2));

    let run = server.run(&["knowledge", "search", "closed on sunday?", "--org", &org.id]);
    assert!(run.status.success() && run.out.contains("We are closed on Sunday."), "{run:?}");
    let stranger = ["knowledge", "import", from, "--org", "org_00000000000000000000000000"];
    assert!(!server.run(&stranger).status.success());
}

#[test]
fn a_command_leaves_nothing_pending_and_ends_quietly() {
    let mut server = Server::start();
    let org = server.organization();
    let folder = folder(&FILES);
    let from = folder.path().to_str().unwrap().to_owned();
    // Nobody else is there to tell what became of the articles.
    server.stop();
    for round in 0..times(5, 50) {
        std::fs::write(folder.path().join("notes.txt"), format!("We open at {round}.")).unwrap();
        let run = server.run(&["knowledge", "import", &from, "--org", &org.id]);
        assert!(run.status.success() && !run.err.contains("panicked"), "{run:?}");
        assert_eq!(server.number("SELECT COUNT(*) FROM article_states WHERE state <> 'indexed'"), 0);
    }
}

#[test]
fn a_folder_is_imported_through_the_server() {
    let server = Server::start();
    let org = server.organization();
    let mut files = FILES.to_vec();
    let bomb = "<div>".repeat(10_000);
    files.push(("bomb.html", &bomb));
    let folder = folder(&files);
    let url = format!("http://{}", server.address());
    let import = || -> Value {
        let from = folder.path().to_str().unwrap();
        let run =
            server.run(&["knowledge", "import", from, "--url", &url, "--key", &org.primary_key, "--json"]);
        assert_eq!(run.status.code(), Some(1), "{run:?}");
        serde_json::from_str(&run.out).unwrap()
    };
    let first = import();
    assert_eq!((&first["created"], &first["refused"]), (&json!(3), &json!(1)));
    assert_eq!(
        (&first["errors"][0]["at"], &first["errors"][0]["code"]),
        (&json!("bomb.html"), &json!("too_deep"))
    );
    assert_eq!(import()["unchanged"], 3);
    let run =
        server.run(&["knowledge", "search", "shoes", "--url", &url, "--key", &org.primary_key, "--json"]);
    let answer: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(answer["data"][0]["article"]["external_id"], "returns.html");
}

#[test]
fn lines_of_json_are_imported_and_a_bad_one_stops_nothing() {
    let server = Server::start();
    let org = server.organization();
    let lines = [
        json!({"external_id": "a", "title": "Parcels", "content": "Follow your parcel."}).to_string(),
        String::new(),
        "{".to_owned(),
        json!({"content": "no name"}).to_string(),
        json!({"external_id": "b", "content": "x", "colour": "red"}).to_string(),
        json!({"external_id": "c", "content": "Last."}).to_string(),
    ];
    let folder = folder(&[("all.ndjson", &lines.join("\n"))]);
    let from = folder.path().join("all.ndjson");
    let run = server.run(&["knowledge", "import", from.to_str().unwrap(), "--org", &org.id, "--json"]);
    let summary: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((&summary["created"], &summary["refused"]), (&json!(2), &json!(3)), "{summary}");
    let errors = summary["errors"].as_array().unwrap().iter();
    let errors: Vec<_> =
        errors.map(|error| (error["at"].as_str().unwrap(), error["code"].as_str().unwrap())).collect();
    assert_eq!(
        errors,
        [("line 3", "malformed_json"), ("line 4", "invalid_field"), ("line 5", "unknown_field")]
    );
}

#[test]
fn what_is_exported_by_a_command_is_imported_by_another_through_the_server() {
    let server = Server::start();
    let (org, other) = (server.organization(), Organization::create(&server, "Other"));
    let folder = folder(&FILES);
    let from = folder.path().to_str().unwrap();
    let url = format!("http://{}", server.address());
    let run = |arguments: &[&str]| {
        let run = server.run(arguments);
        assert!(run.status.success(), "{run:?}");
        run.out
    };
    run(&["knowledge", "import", from, "--org", &org.id]);
    let offline = run(&["knowledge", "export", "--org", &org.id]);
    assert_eq!(offline, run(&["knowledge", "export", "--url", &url, "--key", &org.primary_key]));
    assert_eq!(offline.lines().count(), 3);
    let file = folder.path().join("all.ndjson");
    let file = file.to_str().unwrap();
    run(&["knowledge", "export", "--org", &org.id, "--out", file]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), offline);
    let summary = run(&["knowledge", "import", file, "--url", &url, "--key", &other.primary_key, "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&summary).unwrap()["created"], 3);
    let again = run(&["knowledge", "export", "--url", &url, "--key", &other.primary_key]);
    assert_eq!(again.lines().count(), 3);
    let imports = other.get(&format!("{PATH}/imports")).status(200);
    assert_eq!(imports["data"][0]["counts"]["created"], 3);
}
