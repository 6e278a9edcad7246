//! The published document: whole, the same for everyone, and true. That every answer is as it says, the harness sees to.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::harness::{Client, Organization, Server, contract};

const PATH: &str = "/v1/openapi.json";

#[test]
fn everyone_may_read_the_document_and_keep_it() {
    let server = Server::with(&[("limits.requests_per_minute", "1")]);
    let org = server.organization();
    let read = server.client().get(PATH).status(200);
    assert_eq!(read["openapi"], "3.1.1");
    assert_eq!(read["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(read.header("content-type"), Some("application/json"));
    let etag = read.header("etag").unwrap();
    for tags in [etag, "*", &format!("\"other\", W/{etag}")] {
        let again = server.client().request("GET", PATH).header("If-None-Match", tags).send().status(304);
        assert_eq!((again.header("etag"), again.body()), (Some(etag), &b""[..]));
    }
    server.client().request("GET", PATH).header("If-None-Match", "\"other\"").send().status(200);
    let head = server.client().request("HEAD", PATH).send().status(200);
    assert_eq!(head.header("content-length"), read.header("content-length"));
    // A page of another origin, with a key that is not looked at.
    for _ in 0..3 {
        let page = org.request("GET", PATH).header("Origin", "https://any.example").send().status(200);
        assert_eq!(page.header("access-control-allow-origin"), Some("https://any.example"));
        assert_eq!((page.header("ratelimit"), page.body()), (None, read.body()));
    }
}

/// A word that JSON Schema gives no such meaning would be passed over in silence.
#[test]
fn every_shared_schema_is_one_of_json_schema_2020_12() {
    let server = Server::start();
    let document = server.client().get(PATH).status(200);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert!(schemas.len() > 100, "only {} schemas were found", schemas.len());
    for (name, schema) in schemas {
        if let Err(wrong) = jsonschema::draft202012::meta::validate(schema) {
            panic!("{name} is no schema: {wrong}");
        }
    }
}

#[test]
fn every_example_is_as_its_schema_says() {
    let checked = contract::hold_examples();
    assert!(checked > 10, "only {checked} examples were found");
}

/// What the contract of answers refuses: were it blind, this would be seen.
#[test]
fn an_answer_that_is_not_as_documented_is_seen() {
    let whole = json!({"status": "ok"});
    let headers =
        [("content-type", "application/json"), ("cache-control", "no-store"), ("x-request-id", "r")];
    let judge = |request: &str, status: u16, headers: &[(&str, &str)], body: &Value| {
        contract::judged(request, status, headers, body.to_string().as_bytes())
    };
    let alive = "GET /healthz HTTP/1.1\r\n\r\n";
    judge(alive, 200, &headers, &whole).unwrap();
    let wrong = [
        judge(alive, 200, &headers, &json!({"status": "ok", "more": 1})),
        judge(alive, 200, &headers, &json!({"status": "well"})),
        judge(alive, 200, &headers, &json!({})),
        judge(alive, 201, &headers, &whole),
        judge(alive, 200, &[headers[0], headers[1]], &whole),
        judge(alive, 200, &[headers[0], headers[1], headers[2], ("x-more", "1")], &whole),
        judge(alive, 200, &[("content-type", "text/html"), headers[1], headers[2]], &whole),
        judge(alive, 200, &[headers[0], ("cache-control", "public"), headers[2]], &whole),
        judge("GET /nowhere HTTP/1.1\r\n\r\n", 200, &headers, &whole),
        judge("POST /healthz HTTP/1.1\r\n\r\n", 200, &headers, &whole),
        judge("POST /healthz HTTP/1.1\r\n\r\n", 405, &[headers[0], ("allow", "POST")], &whole),
        judge("GET /v1/conversations?colour=red HTTP/1.1\r\n\r\n", 200, &headers[..1], &json!({})),
    ];
    for (place, judged) in wrong.iter().enumerate() {
        assert!(judged.is_err(), "number {place} passed");
    }
}

/// Keys by what they may do.
struct Keys<'s> {
    server: &'s Server,
    org: Organization,
    made: HashMap<String, Client>,
}

impl Keys<'_> {
    fn with(&mut self, scopes: &[&str]) -> Client {
        let scopes = scopes.join(",");
        let make = || self.org.restricted(self.server, &scopes);
        self.made.entry(scopes.clone()).or_insert_with(make).clone()
    }
}

/// A key with all scopes but those that are documented is refused for want of one of them; one with those is not.
#[test]
fn the_documented_scopes_are_those_that_are_needed() {
    let server = Server::with(&[("limits.requests_per_minute", "100000")]);
    let mut keys = Keys { org: server.organization(), server: &server, made: HashMap::new() };
    let scopes = contract::scopes();
    let mut driven = 0;
    for operation in contract::operations() {
        let ways = operation.secret_key_scopes.clone();
        let missing = |client: &Client, role: &str| {
            let (status, error) = operation.answer(&operation.request_about(client, None, role));
            let is_denied = status == 403 && error["code"] == "missing_scope";
            is_denied.then(|| error["param"].as_str().unwrap().to_owned())
        };
        let documented: Vec<&String> = ways.iter().flatten().collect();
        if !documented.is_empty() {
            let others: Vec<&str> =
                scopes.iter().filter(|scope| !documented.contains(scope)).map(String::as_str).collect();
            let missing = missing(&keys.with(&others), "customer");
            let missing = missing.unwrap_or_else(|| panic!("{operation} is open without {ways:?}"));
            assert!(documented.contains(&&missing), "{operation} needs {missing}, and not {ways:?}");
            driven += 1;
        }
        for way in &ways {
            // Beside another way it is for the key's own things only, and this is about nothing of its own.
            if way.is_empty() && ways.len() > 1 {
                continue;
            }
            let any = vec!["conversations:read"];
            let way = if way.is_empty() { any } else { way.iter().map(String::as_str).collect() };
            let role = if way.contains(&"handover:write") { "agent" } else { "customer" };
            assert_eq!(missing(&keys.with(&way), role), None, "{operation} with {way:?}");
        }
    }
    assert!(driven > 50, "only {driven} operations were asked");
}

#[test]
fn an_operation_asks_for_a_credential_if_it_says_so() {
    let server = Server::start();
    for operation in contract::operations() {
        let (status, _) = operation.answer(&operation.request(&server.client()));
        assert_eq!(status == 401, operation.needs_credential, "{operation}: {status}");
    }
}

/// Those that a page may reach are documented as such, and no others.
#[test]
fn client_tokens_and_publishable_keys_open_what_is_documented() {
    const SHOP: &str = "https://shop.example";
    let server = Server::start();
    let org = server.organization();
    let started = org.post("/v1/conversations", json!({})).status(201);
    let id = started["conversation"]["id"].as_str().unwrap();
    let token = org.post(&format!("/v1/conversations/{id}/client_tokens"), json!({})).status(201);
    let customer = server.client_with(token["token"].as_str().unwrap());
    let page = json!({"kind": "publishable", "name": "shop", "allowed_origins": [SHOP]});
    let page = server.client_with(org.post("/v1/keys", page).status(201)["secret"].as_str().unwrap());
    for (kind, client) in [("clientToken", customer), ("publishableKey", page)] {
        for operation in contract::operations() {
            if !operation.credentials.iter().any(|kind| kind == "secretKey") {
                continue;
            }
            let request = operation.request_about(&client, Some(id), "customer").header("Origin", SHOP);
            let (status, error) = operation.answer(&request);
            let is_documented = operation.credentials.iter().any(|known| known == kind);
            assert_eq!(status != 403, is_documented, "{operation} with a {kind}: {status} {error}");
        }
    }
}
