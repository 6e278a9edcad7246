//! Nothing is sent to where it may not go: not by odd spellings, not by redirects, not by a setting that was changed.

use serde_json::json;

use crate::harness::{
    Server, eventually,
    upstream::{Upstream, answers},
    webhook::{hook, receiver, server, settled, takes, talk},
};

/// Loopback, private and other addresses that are not public, as they can be written.
const SPELLINGS: [&str; 60] = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "127.0.0.1.",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "0",
    "0.0.0.0",
    "00.00.00.00",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:7f00:1::1]",
    "[2001:0:7f00:1::]",
    "[2001::1]",
    "[fe80::1]",
    "[fec0::1]",
    "[fc00::1]",
    "[fd00::1]",
    "[ff02::1]",
    "[100::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[4000::1]",
    "10.0.0.1",
    "10.255.255.255",
    "0x0a000001",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.257",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "100.64.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
];

#[test]
fn no_spelling_of_an_address_that_is_not_public_is_taken_or_connected_to() {
    let canary = receiver();
    let port = canary.address().port();
    let server = Server::with(&[
        ("webhooks.allow_http", "true"),
        ("webhooks.waits_ms", "1"),
        ("webhooks.jitter", "0"),
    ]);
    let org = server.organization();
    let mut refused = 0;
    for spelling in SPELLINGS {
        for url in [format!("http://{spelling}:{port}/"), format!("https://{spelling}:{port}/")] {
            let answer = org.post("/v1/webhooks", json!({"url": url}));
            match answer.code() {
                // Whatever the system's resolver makes of it: each attempt looks again.
                201 => {}
                _ => {
                    let code = answer["error"]["code"].as_str().unwrap().to_owned();
                    assert!(
                        ["address_not_allowed", "invalid_field"].contains(&&*code),
                        "{url}: {}",
                        answer.text()
                    );
                    assert_eq!(answer.refused(400, &code)["error"]["param"], "url", "{url}");
                    refused += 1;
                }
            }
        }
        for webhook in org.get("/v1/webhooks").status(200)["data"].as_array().unwrap() {
            let path = format!("/v1/webhooks/{}", webhook["id"].as_str().unwrap());
            let tested = org.post(&format!("{path}/test"), json!({})).status(200);
            assert_eq!(tested["delivered"], false, "{}", tested.text());
            org.delete(&path).status(204);
        }
    }
    assert!(refused > 2 * SPELLINGS.len() - 20, "only {refused} were refused when saved");
    assert_eq!(canary.connections(), 0);
}

#[test]
fn an_address_that_is_not_allowed_any_more_is_a_failed_attempt_without_a_connection() {
    let canary = receiver();
    let mut server = server(&[("webhooks.allow_cidrs", "127.0.0.0/8")]);
    let org = server.organization();
    let hook = hook(&org, &canary, json!({"events": ["conversation.started"]}));
    server.execute(&format!(
        "UPDATE webhooks SET url = 'http://[::ffff:127.0.0.1]:{}/' WHERE id = '{}'",
        canary.address().port(),
        hook.id
    ));
    server.restart_with(&[("webhooks.allow_cidrs", "10.0.0.0/8")]);
    talk(&org, "hello");
    let exhausted = settled(&org, &hook, "exhausted", 1);
    let detail = org.get(&format!("/v1/deliveries/{}", exhausted[0]["id"].as_str().unwrap())).status(200);
    let errors: Vec<_> =
        detail["attempts"].as_array().unwrap().iter().map(|attempt| attempt["error"].clone()).collect();
    assert_eq!(errors, vec![json!("address_not_allowed"); 5]);
    assert_eq!(canary.connections(), 0);
}

#[test]
fn plain_http_and_our_own_listener_are_refused_when_saved() {
    let server = Server::with(&[("webhooks.allow_cidrs", "127.0.0.0/8")]);
    let org = server.organization();
    let refused =
        org.post("/v1/webhooks", json!({"url": "http://example.com/"})).refused(400, "address_not_allowed");
    assert_eq!(refused["error"]["param"], "url");
    let own = format!("https://{}/v1/conversations", server.address());
    org.post("/v1/webhooks", json!({"url": own})).refused(400, "address_not_allowed");
    // A name that does not resolve yet is taken: each attempt looks.
    let unknown = org.post("/v1/webhooks", json!({"url": "https://nowhere.invalid/"})).status(201);
    let path = format!("/v1/webhooks/{}/test", unknown["webhook"]["id"].as_str().unwrap());
    assert_eq!(org.post(&path, json!({})).status(200)["error"], "name_not_resolved");
    for port in ["22", "25", "8"] {
        let url = format!("https://1.1.1.1:{port}/");
        org.post("/v1/webhooks", json!({"url": url})).refused(400, "address_not_allowed");
    }
}

#[test]
fn no_redirect_of_any_shape_is_followed() {
    let canary = receiver();
    let server = server(&[]);
    let org = server.organization();
    let to = format!("Location: http://{}/", canary.address());
    let relative = "Location: /elsewhere".to_owned();
    let refresh = format!("Refresh: 0; url=http://{}/", canary.address());
    let shapes: Vec<_> =
        ["301 Moved", "302 Found", "303 See Other", "305 Use Proxy", "307 Temporary", "308 Permanent"]
            .into_iter()
            .map(|status| (status, to.as_str()))
            .chain([
                ("300 Choices", to.as_str()),
                ("304 Not Modified", &to),
                ("307 Temporary", &relative),
                ("302 Found", &refresh),
            ])
            .collect();
    for (status, header) in &shapes {
        let receiver = Upstream::that(answers(status, &[header], ""));
        let hook = hook(&org, &receiver, json!({"events": ["conversation.started"]}));
        let tested = org.post(&format!("{}/test", hook.path), json!({})).status(200);
        assert_eq!((&tested["delivered"], receiver.times()), (&json!(false), 1), "{status} {header}");
        talk(&org, "hello");
        settled(&org, &hook, "exhausted", 1);
        assert_eq!(receiver.times(), 6, "{status} {header}");
        org.delete(&hook.path).status(204);
    }
    assert_eq!(canary.connections(), 0);
    // The canary itself sings.
    hook(&org, &canary, json!({"events": ["conversation.started"]}));
    canary.now(takes());
    talk(&org, "hello");
    eventually("the canary is reached when it may be", || (canary.times() == 1).then_some(()));
}
