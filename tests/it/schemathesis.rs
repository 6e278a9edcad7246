//! Schemathesis over the whole document as it is served: `tests/schemathesis/` says how it looks, and what it leaves out.
//!
//! It makes requests of every operation out of the document, good ones and bad ones, alone and in the order in which one
//! gives what the next needs, and holds each answer to the document.

use std::{collections::BTreeSet, fs, process::Stdio};

use serde_json::{Value, json};

use crate::harness::{
    Organization, Server,
    clients::Clients,
    eventually,
    upstream::Upstream,
    webhook::{self, hook, receiver, settled, talk},
};

const ADMIN_TOKEN: &str = "the operator's own token, of this test";

/// It may do everything, as often as it likes: the rate limit is not what is looked at.
const SCOPES: &str = "conversations:read,conversations:write,conversations:delete,knowledge:read,knowledge:write,\
                      analytics:read,webhooks:read,webhooks:write,keys:read,keys:write,organization:read,\
                      organization:write,handover:write";

/// The document itself it reads before, and a WebSocket it cannot open: `websocket.rs` does.
const NOT_ASKED: [&str; 2] = ["GET /v1/openapi.json", "GET /v1/conversations/{id}/ws"];

#[test]
fn what_the_document_says_is_what_schemathesis_finds() {
    let server = webhook::server(&[
        ("server.admin_token", ADMIN_TOKEN),
        // No name leads to another machine.
        ("webhooks.nameservers", "127.0.0.1:9"),
        ("webhooks.timeout_ms", "2000"),
        // A message may ask for an answer that takes an hour.
        ("model.synthetic.per_request", "false"),
    ]);
    let receiver = receiver();
    let org = server.organization();
    let key = key(&server, &org);
    let known = stock(&server, &org, &receiver);

    let reports = tempfile::tempdir().unwrap();
    let report = reports.path().join("report.json");
    let answers = reports.path().join("answers.json");
    let base = format!("http://{}", server.address());
    let output = Clients::schemathesis()
        .args(["--no-color", "run", &format!("{base}/v1/openapi.json"), "--report-json-path"])
        .arg(&report)
        .env("KEY", key["secret"].as_str().unwrap())
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .env("RECEIVER", webhook::url(&receiver))
        .env("OWN", json!([key["key"]["id"], org.id]).to_string())
        .env("KNOWN", known.to_string())
        .env("ANSWERS", &answers)
        .env("NO_PROXY", "127.0.0.1")
        // Nothing is written beside the sources.
        .env("HYPOTHESIS_STORAGE_DIRECTORY", reports.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));

    let read = |path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let report: Value = read(&report);
    println!("{report:#}");
    assert_eq!(
        (&report["complete"], &report["operations"]["skipped"]),
        (&json!(true), &json!(0)),
        "{report:#}"
    );
    // A run in which nothing succeeds shows nothing.
    let succeeded: BTreeSet<String> = serde_json::from_value(read(&answers)).unwrap();
    let operations = operations(&server);
    let never: Vec<_> = operations.difference(&succeeded).collect();
    assert!(never.is_empty(), "never answered with what was asked for: {never:#?}");
}

/// `GET /v1/keys`, and all the others that the document has.
fn operations(server: &Server) -> BTreeSet<String> {
    let document = server.client().get("/v1/openapi.json").status(200);
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter().filter(|(_, operation)| operation.is_object());
        methods.map(move |(method, _)| format!("{} {path}", method.to_uppercase()))
    });
    operations.filter(|operation| !NOT_ASKED.contains(&operation.as_str())).collect()
}

fn key(server: &Server, org: &Organization) -> Value {
    let limits = ["--scopes", SCOPES, "--rate-limit", "unlimited"];
    let made = server.run(&[&["keys", "create", "--org", &org.id, "--json"], &limits[..]].concat());
    assert!(made.status.success(), "{made:?}");
    serde_json::from_str(&made.out).unwrap()
}

/// Something of everything: conversations in each state, articles, an import with a bad line, deliveries. Gives the ids
/// that belong into the paths of operations.
fn stock(server: &Server, org: &Organization, receiver: &Upstream) -> Value {
    let told = hook(org, receiver, json!({}));
    let article = json!({"title": "Repairs", "content": "What came broken is repaired within two years.", "topic": "repairs"});
    let article = org.put("/v1/knowledge/external/repairs", article).status(201);
    let lines =
        "{\"external_id\": \"opening\", \"content\": \"Open from nine to five.\"}\n{\"external_id\": 5}\n";
    let import = org.request("POST", "/v1/knowledge/import").header("Content-Type", "application/x-ndjson");
    import.body(lines).send().status(202);

    let rated = talk(org, "Where is my parcel?");
    org.post(&format!("/v1/conversations/{rated}/rating"), json!({"score": 5})).status(200);
    let customer = json!({"message": "Can I return it?", "customer": {"id": "c-17", "name": "Ada"}});
    let started = org.post("/v1/conversations", customer).status(201);
    let agent = json!({"agent": {"id": "a-1", "name": "Grace"}});
    // Others end conversations, and what stands in them; not all of these.
    let several = |body: Value| (0..4).map(|_| handover(org, body.clone())).collect::<Vec<_>>();
    let (accepted, asked) = (several(json!({"accept": agent})), several(json!({"timeout_seconds": null})));
    let key = org.post("/v1/keys", json!({"name": "Rotated"})).status(201)["key"]["id"].clone();
    let rotated = format!("/v1/keys/{}/rotate", key.as_str().unwrap());
    org.post(&rotated, json!({"grace_seconds": 3600})).status(200);
    let operator = server.client_with(ADMIN_TOKEN);
    operator.post("/v1/organizations", json!({"name": "Another shop"})).status(201);
    let delivered = settled(org, &told, "delivered", 1);
    eventually("all articles can be found", || {
        (org.get("/v1/knowledge/status").status(200)["pending"] == 0).then_some(())
    });
    let conversation = &started["conversation"]["id"];
    json!([
        ["[A-Z]+ /v1/conversations/{id}/turns/.*", [{"id": conversation, "turn": started["turn"]["id"]}]],
        ["GET /v1/conversations/{id}/messages/.*", [{"id": conversation, "message": started["message"]["id"]}]],
        ["[A-Z]+ /v1/deliveries/.*", [{"id": delivered[0]["id"]}]],
        ["(GET|PUT|PATCH) /v1/knowledge/{id}", [{"id": article["id"]}]],
        ["POST /v1/handovers/{id}/return", accepted],
        ["POST /v1/handovers/{id}/cancel", asked],
        ["DELETE /v1/keys/{id}/previous", [{"id": key}]],
    ])
}

/// Asks for a person in a conversation of its own.
fn handover(org: &Organization, body: Value) -> Value {
    let conversation = talk(org, "My parcel came broken.");
    let handover = org.post(&format!("/v1/conversations/{conversation}/handover"), body).status(201);
    json!({"id": handover["id"]})
}
