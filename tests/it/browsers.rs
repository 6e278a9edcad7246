//! What web pages may do: publishable keys, client tokens, stream tickets, CORS.

use serde_json::{Value, json};

use crate::{
    harness::{Client, Organization, Reply, Request, Server, eventually},
    talk::endless,
};

const SHOP: &str = "https://shop.example";

/// A page of a shop, with a publishable key.
struct Page {
    server: Server,
    org: Organization,
    key_id: String,
    key: Client,
}

impl Page {
    fn open(settings: &[(&str, &str)]) -> Self {
        let server = Server::with(settings);
        let org = server.organization();
        let new = json!({ "kind": "publishable", "name": "shop", "allowed_origins": [SHOP, "https://*.shop.example:8443"] });
        let made = org.post("/v1/keys", new).status(201);
        let key = server.client_with(made["secret"].as_str().unwrap());
        let key_id = made["key"]["id"].as_str().unwrap().to_owned();
        Self { server, org, key_id, key }
    }

    fn start(&self, body: Value) -> Request {
        self.key.request("POST", "/v1/conversations").header("Origin", SHOP).json(&body)
    }

    /// A conversation that the page began, and its customer.
    fn begin(&self, body: Value) -> (Reply, Customer) {
        let begun = self.start(body).send().status(201);
        let token = begun["client_token"]["token"].as_str().unwrap();
        let id = begun["conversation"]["id"].as_str().unwrap().to_owned();
        let customer =
            Customer { client: self.server.client_with(token), path: format!("/v1/conversations/{id}") };
        (begun, customer)
    }
}

/// Somebody with a client token.
struct Customer {
    client: Client,
    path: String,
}

impl Customer {
    fn request(&self, method: &str, rest: &str) -> Request {
        self.client.request(method, &format!("{}{rest}", self.path)).header("Origin", SHOP)
    }

    fn get(&self, rest: &str) -> Reply {
        self.request("GET", rest).send()
    }

    fn post(&self, rest: &str, body: Value) -> Reply {
        self.request("POST", rest).json(&body).send()
    }

    fn ticket(&self) -> String {
        let made = self.post("/stream_tickets", json!({})).status(201);
        made["ticket"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_page_may_ask_what_it_may_send_and_read_every_answer() {
    let server = Server::with(&[("limits.requests_per_minute", "1")]);
    let org = server.organization();
    let ask = |path: &str| {
        let asked = org.request("OPTIONS", path).header("Origin", "https://any.example");
        asked.header("Access-Control-Request-Headers", "authorization, x-mine").send().status(204)
    };
    for path in ["/v1/conversations", "/v1/conversations/none/messages", "/v1/nowhere", "/healthz"] {
        for _ in 0..3 {
            let answer = ask(path);
            assert_eq!(
                answer.header("access-control-allow-headers"),
                Some("authorization, x-mine"),
                "{path}"
            );
            assert_eq!(answer.header("access-control-allow-origin"), Some("https://any.example"));
            assert!(answer.header("access-control-allow-methods").unwrap().contains("PATCH"));
            assert_eq!(answer.header("access-control-allow-credentials"), None);
            assert_eq!(answer.header("x-ratelimit-limit"), None);
        }
    }
    // Refusals are read too, and the preflights counted for nothing.
    let stranger =
        server.client().request("GET", "/v1/conversations").header("Origin", "https://any.example");
    let refused = stranger.send().refused(401, "invalid_key");
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://any.example"));
    assert!(refused.header("access-control-expose-headers").unwrap().contains("Retry-After"));
    assert_eq!(refused.header("vary"), Some("origin"));
    org.get("/v1/organization").status(200);
    org.get("/v1/organization").refused(429, "rate_limited");
}

#[test]
fn a_publishable_key_starts_conversations_from_its_pages_and_does_nothing_else() {
    let page = Page::open(&[("limits.starts_per_address", "1000")]);
    let from = |origin: Option<&str>| {
        let request = page.key.request("POST", "/v1/conversations").json(&json!({}));
        origin.map_or(request.clone(), |origin| request.header("Origin", origin)).send()
    };
    from(Some(SHOP)).status(201);
    from(Some("https://nl.shop.example:8443")).status(201);
    for other in [
        None,
        Some("null"),
        Some("http://shop.example"),
        Some("https://shop.example:8443"),
        Some("https://a.b.shop.example:8443"),
        Some("https://shop.example.evil.test"),
        Some("https://evil.test"),
    ] {
        from(other).refused(403, "origin_not_allowed");
    }
    for (body, param) in [
        (json!({ "customer": { "id": "c-1" } }), "customer.id"),
        (json!({ "metadata": { "a": "b" } }), "metadata"),
    ] {
        page.start(body).send().refused(403, "publishable_key").naming(param);
    }
    for (method, path) in [
        ("GET", "/v1/conversations"),
        ("GET", "/v1/keys"),
        ("POST", "/v1/knowledge"),
        ("GET", "/v1/models"),
        ("GET", "/v1/organization"),
    ] {
        let asked = page.key.request(method, path).header("Origin", SHOP).json(&json!({}));
        asked.send().refused(403, "publishable_key");
    }
    let (begun, customer) = page.begin(json!({ "message": "Hello", "customer": { "name": "Ada" } }));
    assert_eq!(begun["conversation"]["channel"], "web");
    assert_eq!(begun["turn"]["status"], "completed");
    page.key.request("GET", &customer.path).header("Origin", SHOP).send().refused(403, "publishable_key");
}

#[test]
fn a_streamed_start_hands_over_the_token_before_everything_else_and_stores_it_nowhere() {
    let page = Page::open(&[]);
    let events: Vec<_> = page.start(json!({ "message": "Hello", "stream": true })).stream().collect();
    assert_eq!((events[0].kind.as_str(), &events[0].id), ("client_token", &None));
    assert_eq!(events[1].kind, "conversation.started");
    assert_eq!(events.last().unwrap().kind, "turn.completed");
    let token = events[0].data["token"].as_str().unwrap();
    let id = events[1].data["conversation_id"].as_str().unwrap();
    let path = format!("/v1/conversations/{id}");
    let customer = page.server.client_with(token);
    assert_eq!(customer.request("GET", &path).header("Origin", SHOP).send().status(200)["id"], id);
    let all = page.org.get(&format!("{path}/events")).status(200).text();
    assert!(!all.contains("oc_ct_") && !all.contains("client_token"), "{all}");
}

#[test]
fn a_start_that_is_sent_again_begins_one_conversation_and_gets_a_token_of_its_own() {
    let page = Page::open(&[]);
    let named = |name: &str| page.start(json!({ "message": "Hello" })).header("Idempotency-Key", name).send();
    named("short").refused(400, "invalid_header");
    let name = "8e03978e-40d5-43dd-bc93-6894a57f9324";
    let (first, again) = (named(name).status(201), named(name).status(201));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(first["conversation"]["id"], again["conversation"]["id"]);
    let path = format!("/v1/conversations/{}", first["conversation"]["id"].as_str().unwrap());
    for begun in [&first, &again] {
        let customer = page.server.client_with(begun["client_token"]["token"].as_str().unwrap());
        customer.request("GET", &path).header("Origin", SHOP).send().status(200);
    }
}

#[test]
fn an_address_starts_only_so_many_conversations_whatever_it_says_of_itself() {
    let page = Page::open(&[("limits.starts_per_address", "2")]);
    let from = |forwarded: &str| page.start(json!({})).header("X-Forwarded-For", forwarded).send();
    from("192.0.2.1").status(201);
    from("192.0.2.2").status(201);
    let refused = from("192.0.2.3").refused(429, "too_many_starts");
    assert!(refused.retry_after().is_some());
    // A server starts as many as it likes.
    page.org.post("/v1/conversations", json!({})).status(201);
}

#[test]
fn proxies_that_are_trusted_say_for_whom_they_ask() {
    let page = Page::open(&[
        ("limits.starts_per_address", "1"),
        ("server.trusted_proxies", "127.0.0.0/8,10.0.0.0/8"),
    ]);
    let from = |forwarded: &str| page.start(json!({})).header("X-Forwarded-For", forwarded).send().code();
    assert_eq!(from("192.0.2.1"), 201);
    assert_eq!(from("192.0.2.2, 10.1.1.1"), 201);
    // What stands before the nearest untrusted address is the client's own invention.
    assert_eq!(from("203.0.113.9, 192.0.2.2"), 429);
    assert_eq!(from("2001:db8::1"), 201);
    assert_eq!(from("2001:db8::ffff"), 429);
    let with = |header: &str| page.start(json!({})).header("Forwarded", header).send().code();
    assert_eq!(with("for=192.0.2.1;proto=https"), 429);
    assert_eq!(with("for=\"[2001:db8:1::1]:9\", for=10.0.0.1"), 201);
}

#[test]
fn a_client_token_opens_its_own_conversation_and_nothing_else() {
    let page = Page::open(&[]);
    let (_, customer) = page.begin(json!({ "message": "Hello" }));
    let (_, other) = page.begin(json!({ "message": "Hello" }));
    let turn = customer.get("/messages").status(200)["data"][0]["turn_id"].as_str().unwrap().to_owned();
    let message = customer.get("/messages").status(200)["data"][0]["id"].as_str().unwrap().to_owned();

    customer.get("").status(200);
    customer.get(&format!("/messages/{message}")).status(200);
    customer.get(&format!("/turns/{turn}")).status(200);
    customer.get("/events").status(200);
    assert_eq!(
        customer.request("GET", &format!("/turns/{turn}/stream")).stream().last().unwrap().kind,
        "turn.completed"
    );
    customer.post("/messages", json!({ "content": "And?" })).status(200);
    customer.post("/stop", json!({})).status(200);
    customer.post(&format!("/turns/{turn}/stop"), json!({})).status(200);
    customer.post("/typing", json!({})).status(204);
    customer.post("/rating", json!({ "score": 5 })).status(200);
    let patch = |body: Value| customer.request("PATCH", "").json(&body).send();
    patch(json!({ "language": "nl", "customer": { "name": "Ada", "email": "ada@example.com" } })).status(200);
    for (body, param) in [
        (json!({ "topic": "x" }), "topic"),
        (json!({ "metadata": { "a": "b" } }), "metadata"),
        (json!({ "customer": { "id": "c-2" } }), "customer.id"),
        (json!({ "customer": null }), "customer.id"),
    ] {
        patch(body).refused(403, "client_token").naming(param);
    }

    customer.post("/handover", json!({ "reason": "policy" })).refused(403, "client_token").naming("reason");
    let agent = json!({ "accept": { "agent": { "id": "a-1", "name": "Bo" } } });
    customer.post("/handover", agent).status(403);
    let asked = customer.post("/handover", json!({})).status(201);
    assert_eq!(asked["state"], "requested");
    for hidden in ["note", "summary", "confidence", "accept_url", "conversation_url", "console_url"] {
        assert!(asked.json().get(hidden).is_some_and(Value::is_null), "{hidden}: {}", asked.text());
    }
    let handover = format!("/v1/handovers/{}", asked["id"].as_str().unwrap());
    let agent = json!({ "agent": { "id": "a-1", "name": "Bo" } });
    assert!(page.org.post(&format!("{handover}/accept"), agent).status(200)["summary"].is_string());
    let owned = customer.get("").status(200).text();
    assert!(owned.contains("with_human") && owned.contains("Bo") && !owned.contains("a-1"), "{owned}");
    customer.request("POST", "").send().status(405);
    let back = customer.client.request("POST", &format!("{handover}/return")).header("Origin", SHOP);
    back.send().refused(403, "client_token");

    // The AI SDK's chat is the same conversation, under its own id alone.
    let chat = |id: &str| {
        let message = json!({ "id": "m-9", "role": "user", "parts": [{ "type": "text", "text": "Hello" }] });
        let body = json!({ "id": id, "messages": [message], "trigger": "submit-message" });
        customer.client.request("POST", "/v1/ai-sdk").header("Origin", SHOP).json(&body)
    };
    assert_eq!(chat(customer.path.rsplit('/').next().unwrap()).send().code(), 200);
    chat(other.path.rsplit('/').next().unwrap()).send().refused(403, "client_token");
    chat("my own name").send().refused(403, "client_token");

    customer.post("/complete", json!({})).refused(403, "client_token");
    customer.request("DELETE", "").send().refused(403, "client_token");
    customer.post("/messages", json!({ "content": "I am an agent", "role": "agent" })).status(403);
    for (method, path) in [
        ("GET", "/v1/conversations".to_owned()),
        ("POST", "/v1/conversations".to_owned()),
        ("GET", other.path.clone()),
        ("GET", format!("{}/messages", other.path)),
        ("GET", format!("{}/stream", other.path)),
        ("POST", format!("{}/client_tokens", other.path)),
        ("GET", "/v1/keys".to_owned()),
        ("GET", "/v1/knowledge/search?q=a".to_owned()),
        ("GET", "/v1/organization".to_owned()),
    ] {
        let asked = customer.client.request(method, &path).header("Origin", SHOP).json(&json!({}));
        asked.send().refused(403, "client_token");
    }
    // The page's token is for the page's origin; one that a server asked for is bound to none.
    customer.client.get(&customer.path).refused(403, "origin_not_allowed");
    let elsewhere = customer.client.request("GET", &customer.path).header("Origin", "https://evil.test");
    elsewhere.send().refused(403, "origin_not_allowed");
    let made = page.org.post(&format!("{}/client_tokens", customer.path), json!({})).status(201);
    let unbound = page.server.client_with(made["token"].as_str().unwrap());
    unbound.get(&customer.path).status(200);
    unbound.request("GET", &customer.path).header("Origin", "https://any.example").send().status(200);
    unbound.get("/v1/conversations").refused(403, "client_token");
}

#[test]
fn a_client_token_never_sees_what_is_not_the_customers() {
    let page = Page::open(&[]);
    let body = json!({ "customer": { "id": "c-1", "name": "Ada" }, "metadata": { "order": "hidden-1" } });
    let begun = page.org.post("/v1/conversations", body).status(201);
    assert_eq!(begun["client_token"], Value::Null);
    let path = format!("/v1/conversations/{}", begun["conversation"]["id"].as_str().unwrap());
    let made = page.org.post(&format!("{path}/client_tokens"), json!({ "ttl_seconds": 60 })).status(201);
    let customer = page.server.client_with(made["token"].as_str().unwrap());
    let said = json!({ "content": "Where is \"metadata\":{\"a\":1}?", "metadata": { "order": "hidden-2" } });
    page.org.post(&format!("{path}/messages"), said).status(200);
    page.org.patch(&path, json!({ "metadata": { "note": "hidden-3" } })).status(200);

    let conversation = customer.get(&path).status(200);
    assert_eq!((&conversation["metadata"], &conversation["customer"]["name"]), (&Value::Null, &json!("Ada")));
    let messages = customer.get(&format!("{path}/messages")).status(200);
    assert_eq!(messages["data"][0]["metadata"], Value::Null);
    assert_eq!(messages["data"][0]["content"], "Where is \"metadata\":{\"a\":1}?");
    let answered = customer
        .post(&format!("{path}/messages"), json!({ "content": "And?", "metadata": { "x": "hidden-4" } }));
    let events = customer.get(&format!("{path}/events")).status(200);
    let mut stream = customer.stream(&format!("{path}/stream?after=0"));
    let seen: Vec<_> = (0..9).map(|_| stream.expect().text).collect();
    let streamed = customer
        .request("POST", &format!("{path}/messages"))
        .json(&json!({ "content": "Go on", "stream": true, "metadata": { "x": "hidden-5" } }));
    let streamed: String = streamed.stream().map(|event| event.text).collect();
    for text in [
        conversation.text(),
        messages.text(),
        answered.status(200).text(),
        events.text(),
        seen.concat(),
        streamed,
    ] {
        assert!(text.contains("\"metadata\":null") && !text.contains("hidden-"), "{text}");
    }
    // Those who may see it still do.
    assert!(page.org.get(&format!("{path}/events")).status(200).text().contains("hidden-3"));
}

#[test]
fn a_client_token_renews_itself_without_more_requests_and_ends_with_its_key() {
    let page = Page::open(&[]);
    let (_, customer) = page.begin(json!({ "message": "Hello" }));
    let renewed = customer.post("/client_tokens", json!({ "ttl_seconds": 600 })).status(201);
    let fresh = page.server.client_with(renewed["token"].as_str().unwrap());
    let limit = |reply: &Reply| reply.header("x-ratelimit-remaining").unwrap().parse::<u32>().unwrap();
    let by_fresh = fresh.request("GET", &customer.path).header("Origin", SHOP).send().status(200);
    assert_eq!(by_fresh.header("x-ratelimit-limit"), Some("30"));
    assert_eq!(limit(&by_fresh), 28);
    assert_eq!(limit(&customer.get("").status(200)), 27);
    customer
        .post("/client_tokens", json!({ "ttl_seconds": 2_592_001 }))
        .refused(400, "invalid_field")
        .naming("ttl_seconds");
    customer
        .post("/client_tokens", json!({ "ttl_seconds": 0 }))
        .refused(400, "invalid_field")
        .naming("ttl_seconds");

    let mut open = customer.request("GET", "/stream").stream();
    page.org.delete(&format!("/v1/keys/{}", page.key_id)).status(204);
    let goodbye = open.until("stream.closing");
    assert_eq!(goodbye.data["reason"], "revoked");
    eventually("the token has ended", || (customer.get("").code() == 401).then_some(()));
}

#[test]
fn a_customer_holds_eight_streams_and_a_ticket_is_refused_so_that_it_comes_back() {
    let page = Page::open(&[]);
    let (_, customer) = page.begin(json!({ "message": "Hello" }));
    let ticket = customer.ticket();
    let held: Vec<_> = (0..8).map(|_| customer.request("GET", "/stream").stream()).collect();
    customer.get("/stream").refused(429, "too_many_streams");
    let by_ticket = page.server.client().request("GET", &format!("{}/stream?ticket={ticket}", customer.path));
    let by_ticket = by_ticket.header("Origin", SHOP);
    let refused: Vec<_> = by_ticket.stream().collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].kind, "stream.closing");
    assert_eq!(refused[0].data["reason"], "too_many_streams");
    assert_eq!(refused[0].data["retry_after_ms"], 1_000);
    assert_eq!(refused[0].retry, Some(1_000));
    drop(held);
    // It was not used up by the refusal.
    eventually("there is room again", || {
        let mut stream = by_ticket.stream();
        customer.post("/typing", json!({}));
        (stream.expect().kind == "typing").then_some(())
    });
}

#[test]
fn a_ticket_opens_the_streams_of_its_conversation_from_its_page_alone() {
    let page = Page::open(&[]);
    let (_, customer) = page.begin(json!({ "message": "Hello" }));
    let (_, other) = page.begin(json!({ "message": "Hello" }));
    let ticket = customer.ticket();
    let open = |path: &str, origin: Option<&str>| {
        let request = page.server.client().request("GET", &format!("{path}?after=0&ticket={ticket}"));
        origin.map_or(request.clone(), |origin| request.header("Origin", origin))
    };
    let stream = format!("{}/stream", customer.path);
    assert_eq!(open(&stream, Some(SHOP)).stream().expect().kind, "conversation.started");
    open(&stream, None).send().refused(403, "origin_not_allowed");
    open(&stream, Some("https://evil.test")).send().refused(403, "origin_not_allowed");
    open(&format!("{}/stream", other.path), Some(SHOP)).send().refused(403, "stream_ticket");
    // Nothing but streams, and no key or token in a URL.
    open(&customer.path, Some(SHOP)).send().refused(401, "invalid_key");
    open(&format!("{}/messages", customer.path), Some(SHOP)).send().refused(401, "invalid_key");
    for key in [&page.org.primary_key, "oc_st_none", ""] {
        let asked = page.server.client().request("GET", &format!("{stream}?ticket={key}"));
        asked.header("Origin", SHOP).send().refused(401, "invalid_key");
    }
    // A page that is told nothing of what it may not see.
    page.org.patch(&customer.path, json!({ "metadata": { "a": "hidden" } })).status(200);
    let text: String = {
        let mut events = open(&stream, Some(SHOP)).stream();
        let mut text = String::new();
        while !text.contains("conversation.updated") {
            text.push_str(&events.expect().text);
        }
        text
    };
    assert!(!text.contains("hidden"), "{text}");
    let log = page.server.log();
    assert!(!log.contains(&ticket), "{log}");
}

#[test]
fn a_ticket_has_one_connection_which_comes_back_also_after_a_restart() {
    let mut page = Page::open(&[]);
    let (_, customer) = page.begin(json!({ "message": "Hello" }));
    let nobody = page.server.client();
    let by = |ticket: &str| {
        let url = format!("{}/stream?after=0&ticket={ticket}", customer.path);
        nobody.request("GET", &url).header("Origin", SHOP)
    };
    let ticket = customer.ticket();
    let mut first = by(&ticket).stream();
    assert_eq!(first.expect().kind, "conversation.started");
    let mut second = by(&ticket).stream();
    assert_eq!(first.until("stream.closing").data["reason"], "replaced");
    assert_eq!(second.expect().kind, "conversation.started");
    // Another ticket is another connection.
    let mut third = by(&customer.ticket()).stream();
    third.expect();
    customer.post("/typing", json!({})).status(204);
    second.until("typing");
    third.until("typing");
    page.server.restart();
    let again = by(&ticket).header("Last-Event-ID", "1");
    assert_eq!(again.stream().expect().kind, "message.received");
    let told = json!({ "content": "Tell me", "stream": true, "synthetic": endless() });
    let begun = customer.request("POST", "/messages").json(&told).stream().until("turn.delta");
    let mut live = by(&ticket).stream();
    assert!(live.any(|event| event.kind == "turn.delta" && event.data["turn_id"] == begun.data["turn_id"]));
    page.org.delete(&customer.path).status(204);
    assert_eq!(live.until("stream.closing").data["reason"], "deleted");
    by(&ticket).send().status(404);
}
