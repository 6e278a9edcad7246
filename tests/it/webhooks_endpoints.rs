//! Endpoints: what can be said of one, who may say it, and what one that misbehaves costs the others.

use serde_json::{Value, json};

use crate::harness::{
    Program, Server, eventually, times,
    upstream::{Act, Upstream, answers, head},
    webhook::{counted, hook, is_signed, receiver, refuses, server, settled, takes, talk},
};

#[test]
fn a_webhook_is_made_read_changed_listed_and_deleted() {
    let server = server(&[]);
    let org = server.organization();
    let body = json!({
        "url": "http://127.0.0.1:9/hook", "events": ["handover.*", "message.sent"], "channels": ["web"],
        "topics": ["returns"], "description": "the CRM", "ordered": true, "headers": {"Authorization": "Bearer s3cret"},
    });
    let request =
        org.request("POST", "/v1/webhooks").header("Idempotency-Key", "the-first-webhook").json(&body);
    let made = request.send().status(201);
    let webhook = made["webhook"].clone();
    let path = format!("/v1/webhooks/{}", webhook["id"].as_str().unwrap());
    assert_eq!(made.header("location"), Some(&*path));
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    let again = request.send().status(201);
    assert_eq!((&again["secret"], &again["webhook"]["id"]), (&Value::Null, &webhook["id"]));
    let read = org.get(&path).status(200);
    for field in ["url", "events", "channels", "topics", "description", "ordered"] {
        assert_eq!(read[field], body[field], "{field}");
    }
    assert_eq!((&read["enabled"], &read["disabled_reason"]), (&json!(true), &Value::Null));
    assert_eq!(read["headers"], json!({"Authorization": null}), "what they say is shown to nobody");
    assert_eq!(server.number("SELECT COUNT(*) FROM webhooks WHERE headers LIKE '%s3cret%'"), 0);
    let changed = org
        .patch(&path, json!({"events": null, "topics": [], "enabled": false, "headers": null}))
        .status(200);
    assert_eq!((&changed["events"], &changed["topics"]), (&json!([]), &json!([])));
    assert_eq!((&changed["enabled"], &changed["headers"]), (&json!(false), &json!({})));
    assert_eq!(changed["description"], "the CRM");
    let listed = org.get("/v1/webhooks").status(200);
    assert_eq!(listed["data"], json!([org.get(&path).status(200).json().clone()]));
    // Nobody else's, and by nobody who may not.
    let other = server.organization();
    other.get(&path).refused(404, "not_found");
    other.patch(&path, json!({"enabled": true})).refused(404, "not_found");
    other.delete(&path).refused(404, "not_found");
    let reader = org.restricted(&server, "webhooks:read");
    reader.get(&path).status(200);
    reader.delete(&path).refused(403, "missing_scope");
    org.restricted(&server, "webhooks:write").get(&path).refused(403, "missing_scope");
    org.delete(&path).status(204);
    org.delete(&path).refused(404, "not_found");
    org.get(&path).refused(404, "not_found");
}

#[test]
fn nonsense_is_refused_and_says_where() {
    let server = server(&[]);
    let org = server.organization();
    let good = "http://127.0.0.1:9/";
    for (body, code, param) in [
        (json!({}), "invalid_field", "url"),
        (json!({"url": "example.com"}), "invalid_field", "url"),
        (json!({"url": "http://me:pw@127.0.0.1:9/"}), "invalid_field", "url"),
        (json!({"url": good, "events": ["turn.completed"]}), "invalid_field", "events"),
        (json!({"url": good, "events": ["nonsense.*"]}), "invalid_field", "events"),
        (json!({"url": good, "events": "message.sent"}), "invalid_field", "events"),
        (json!({"url": good, "headers": {"webhook-id": "x"}}), "invalid_field", "headers"),
        (json!({"url": good, "headers": {"Host": "x"}}), "invalid_field", "headers"),
        (json!({"url": good, "secret": "x"}), "unknown_field", "secret"),
    ] {
        let refused = org.post("/v1/webhooks", body.clone()).refused(400, code);
        assert_eq!(refused["error"]["param"], param, "{body}: {}", refused.text());
    }
    org.get("/v1/webhooks/whk_nonsense").refused(404, "not_found");
    org.get("/v1/deliveries/dlv_nonsense").refused(404, "not_found");
    let receiver = receiver();
    let hook = hook(&org, &receiver, json!({}));
    org.patch(&hook.path, json!({"url": null})).refused(400, "invalid_field");
    org.get(&format!("{}/deliveries?state=lost", hook.path)).refused(400, "invalid_field");
    org.get(&format!("{}/deliveries?event=nonsense", hook.path)).refused(400, "invalid_field");
    org.post(&format!("{}/rotate_secret", hook.path), json!({"grace_seconds": 604_801}))
        .refused(400, "invalid_field");
    org.post(&format!("{}/test", hook.path), json!({"event": "message.*"})).refused(400, "invalid_field");
}

#[test]
fn a_test_says_what_was_sent_what_came_back_and_how_long_it_took() {
    let server = server(&[]);
    let org = server.organization();
    let receiver = receiver();
    let hook = hook(&org, &receiver, json!({"enabled": false}));
    let tested = org.post(&format!("{}/test", hook.path), json!({})).status(200);
    assert_eq!((&tested["delivered"], &tested["error"]), (&json!(true), &Value::Null));
    assert_eq!(tested["response"], json!({"status": 200, "body": "thanks"}));
    let asked = receiver.asked().remove(0);
    assert!(is_signed(&asked, &hook.secret));
    assert_eq!(asked.body["type"], "webhook.test");
    assert_eq!(tested["request"]["body"], String::from_utf8(asked.bytes.clone()).unwrap());
    assert_eq!(tested["request"]["headers"]["webhook-signature"], asked.header("webhook-signature").unwrap());
    for part in ["resolve_ms", "connect_ms", "first_byte_ms", "total_ms"] {
        assert!(tested["timings"][part].is_number(), "{part}: {}", tested.text());
    }
    assert_eq!(tested["timings"]["tls_ms"], Value::Null);
    receiver.now(refuses());
    let tested = org.post(&format!("{}/test", hook.path), json!({"event": "message.sent"})).status(200);
    assert_eq!((&tested["delivered"], &tested["response"]["status"]), (&json!(false), &json!(500)));
    assert_eq!(receiver.asked()[1].body["type"], "message.sent");
}

#[test]
fn one_endpoint_that_hangs_and_one_with_a_long_queue_delay_no_other() {
    const EVENTS: usize = 40;
    // An hour: whatever hangs is hanging still when the test ends.
    let server = server(&[("webhooks.timeout_ms", "30000"), ("webhooks.waits_ms", "600000")]);
    let org = server.organization();
    let filter = json!({"events": ["conversation.started"]});
    let hanging = Upstream::that(vec![Act::Hang]);
    let (failing, healthy) = (Upstream::that(refuses()), receiver());
    hook(&org, &hanging, filter.clone());
    hook(&org, &failing, filter.clone());
    let taken = hook(&org, &healthy, filter);
    for number in 0..EVENTS {
        org.post("/v1/conversations", json!({"metadata": {"number": number.to_string()}})).status(201);
    }
    settled(&org, &taken, "delivered", EVENTS);
    assert_eq!(counted(&healthy).len(), EVENTS);
    assert!(hanging.times() <= 8, "an endpoint has few attempts under way: {}", hanging.times());
    assert_eq!(hanging.hung_up(), 0, "and they are under way still");
}

#[test]
fn a_breaker_leaves_a_failing_endpoint_alone_and_spends_no_attempts() {
    let server = server(&[
        ("webhooks.breaker_failures", "3"),
        ("webhooks.breaker_probe_ms", "600000"),
        ("webhooks.waits_ms", "600000"),
    ]);
    let org = server.organization();
    let receiver = Upstream::that(refuses());
    let hook = hook(&org, &receiver, json!({"events": ["conversation.started"]}));
    // One at a time, so that each failure is known before the next event.
    for number in 1..=6 {
        org.post("/v1/conversations", json!({})).status(201);
        eventually("what may be tried is", || (receiver.times() == number.min(3)).then_some(()));
        if number <= 3 {
            eventually("and is written down", || {
                let sql = "SELECT COUNT(*) FROM webhook_attempts WHERE status = 500";
                (server.number(sql) == number as i64).then_some(())
            });
        }
    }
    let untried = "SELECT COUNT(*) FROM webhook_deliveries WHERE attempt_count = 0 AND state = 'pending'";
    assert_eq!(server.number(untried), 3);
    // Test and redelivery go past it.
    org.post(&format!("{}/test", hook.path), json!({})).status(200);
    receiver.now(takes());
    let failed = settled(&org, &hook, "pending", 6);
    org.post(&format!("/v1/deliveries/{}/redeliver", failed[0]["id"].as_str().unwrap()), json!({}))
        .status(202);
    // A success closes it.
    settled(&org, &hook, "delivered", 4);
}

/// Short where nobody waits for minutes; the promised five seconds in the long mode.
fn deadline_ms() -> usize {
    times(1_000, 5_000)
}

#[test]
fn a_drip_ends_at_the_deadline_which_is_five_seconds_unless_told_otherwise() {
    let printed = Program::start(&["config"], &[]).ended();
    assert!(printed.out.contains("timeout_ms = 5000"), "{printed:?}");
    let server = server(&[("webhooks.timeout_ms", &deadline_ms().to_string()), ("webhooks.waits_ms", "1")]);
    let org = server.organization();
    let events = json!({"events": ["conversation.started"]});
    // One drips its answer's body, the other its head.
    let body = [head("200 OK", &["Content-Length: 100000"]), Act::Drip(b".".to_vec())];
    let head = [Act::Send(b"HTTP/1.1 200 OK\r\nX: ".to_vec()), Act::Drip(b".".to_vec())];
    for acts in [body, head] {
        let dripping = Upstream::that(acts.to_vec());
        let drip = hook(&org, &dripping, events.clone());
        talk(&org, "hello");
        let given_up = settled(&org, &drip, "exhausted", 1);
        let path = format!("/v1/deliveries/{}", given_up[0]["id"].as_str().unwrap());
        let attempts = org.get(&path).status(200)["attempts"].clone();
        for attempt in attempts.as_array().unwrap() {
            assert_eq!(attempt["error"], "timed_out");
            assert!(attempt["duration_ms"].as_i64().unwrap() >= deadline_ms() as i64);
        }
        eventually("the connections are closed", || (dripping.hung_up() == 5).then_some(()));
        org.delete(&drip.path).status(204);
    }
}

#[test]
fn a_huge_answer_is_not_read_and_costs_no_memory() {
    /// Sent at once, so that what one costs shows beside what a server's memory does anyhow.
    const FLOODS: usize = 32;
    let server = server(&[]);
    let org = server.organization();
    let flooding =
        Upstream::that(vec![head("200 OK", &["Content-Length: 400000000"]), Act::Flood(vec![b'x'; 1 << 16])]);
    let hooks: Vec<_> =
        (0..FLOODS).map(|_| hook(&org, &flooding, json!({"events": ["message.received"]}))).collect();
    let flood = || {
        let before = flooding.hung_up();
        talk(&org, "hello");
        eventually("what was not read is cut off", || (flooding.hung_up() >= before + FLOODS).then_some(()));
    };
    // Threads, connections and caches are there from then on.
    flood();
    let before = peak_mib(&server);
    flood();
    let grown = peak_mib(&server) - before;
    assert!(grown <= FLOODS as f64, "{grown} MiB for {FLOODS} answers of 400 MB");
    for hook in &hooks {
        // 2xx counts once so much was read.
        let taken = settled(&org, hook, "delivered", 2);
        let detail = org.get(&format!("/v1/deliveries/{}", taken[0]["id"].as_str().unwrap())).status(200);
        assert_eq!(detail["attempts"][0]["response_body"].as_str().unwrap().len(), 1_024);
    }
}

/// The most memory that the server had at once.
fn peak_mib(server: &Server) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

#[test]
fn an_endpoint_that_asks_to_be_left_alone_is() {
    let server = server(&[]);
    let org = server.organization();
    let receiver = Upstream::that(answers("429 Too Many Requests", &["Retry-After: 3600"], ""));
    let hook = hook(&org, &receiver, json!({"events": ["conversation.started"]}));
    talk(&org, "one");
    let waiting = eventually("it was tried", || {
        let pending = settled(&org, &hook, "pending", 1);
        (pending[0]["attempt_count"] == 1 && pending[0]["next_attempt_at"].is_string())
            .then(|| pending[0].clone())
    });
    let wait = server.number("SELECT MAX(next_at) - MAX(created_at) FROM webhook_deliveries");
    assert!((3_600_000..3_700_000).contains(&wait), "{wait}: {waiting}");
    assert_eq!(receiver.times(), 1);
}
