//! Nothing is sent to where it may not go: not by odd spellings, not by redirects, not by a setting that was changed.

use serde_json::json;

use crate::harness::{
    Organization, Server, eventually,
    upstream::{Upstream, answers},
    webhook::{hook, receiver, server, settled, takes, talk},
};

/// Loopback, private and other addresses that are not public, as they can be written: decimal, octal, hexadecimal, with
/// parts left out, as what carries them, with zones, escapes, other alphabets' digits, and behind a name and password.
const SPELLINGS: [&str; 120] = [
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
    "127.000.000.001",
    "127.0.0.01",
    "127.65535",
    "127.0x1",
    "0X7F000001",
    "0x7f.0x0.0x0.0x1",
    "0x7f.0.1",
    "0177.1",
    "0177.0x0.0.1",
    "00177.0.0.1",
    "0x0000007f.0.0.1",
    "2130706433.",
    "4294967295",
    "3232235777",
    "0300.0250.1.1",
    "0xc0a80101",
    "169.254.43518",
    "0251.0376.0251.0376",
    "0xa9.0xfe.0xa9.0xfe",
    "127.0.0.1..",
    "LocalHost",
    "localhost.localdomain",
    "ip6-localhost",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::FFFF:7F00:1]",
    "[0:0:0:0:0:ffff:7f00:0001]",
    "[::ffff:a9fe:a9fe]",
    "[::ffff:192.168.0.1]",
    "[::10.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b::10.0.0.1]",
    "[2002:c0a8:101::1]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:0:0:0:0:80ff:fffe]",
    "[fe80::5efe:127.0.0.1]",
    "[2001:db8::5efe:7f00:1]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
    "[::1%251]",
    "127%2e0%2e0%2e1",
    "%31%32%37.0.0.1",
    "%6cocalhost",
    "127.0.0.1%00.example.com",
    "127.0.0.1%20",
    "１２７.０.０.１",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "xn--localhost-",
    "user:pw@127.0.0.1",
    "1.1.1.1@127.0.0.1",
    "1.1.1.1:80@127.0.0.1",
    "1.1.1.1\\@127.0.0.1",
    "127.0.0.1\t",
    " 127.0.0.1",
    "127.0.0.1:80@1.1.1.1",
    "127.0.0.1#@1.1.1.1",
    "1.1.1.1 @127.0.0.1",
    "/127.0.0.1",
    "[127.0.0.1]",
];

/// Ports, schemes and separators as nobody should write them; `{port}` is the canary's.
const ODD: [&str; 22] = [
    "HTTP://127.0.0.1:{port}/",
    "hTTps://127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}",
    "http://127.0.0.1:0{port}/",
    "http://127.0.0.1:{port}0/",
    "http://127.0.0.1:+{port}/",
    "http://127.0.0.1:{port}:{port}/",
    "http://127.0.0.1:/",
    "http://127.0.0.1:0/",
    "http://:{port}/",
    "http://127.0.0.1:{port}?@example.com/",
    "http://127.0.0.1:{port}#.example.com/",
    "http://example.com#@127.0.0.1:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_POST",
    "ws://127.0.0.1:{port}/",
    "data:text/plain,hello",
];

/// Refuses it when it is saved, or says each time that it is tested that nothing was sent there. Says which.
fn is_refused(org: &Organization, url: &str) -> bool {
    let answer = org.post("/v1/webhooks", json!({"url": url}));
    if answer.code() != 201 {
        let code = answer["error"]["code"].as_str().unwrap().to_owned();
        assert!(["address_not_allowed", "invalid_field"].contains(&&*code), "{url}: {}", answer.text());
        assert_eq!(answer.refused(400, &code)["error"]["param"], "url", "{url}");
        return true;
    }
    // A name that this machine's resolver makes nothing of: each attempt looks again.
    let path = format!("/v1/webhooks/{}", answer["webhook"]["id"].as_str().unwrap());
    let tested = org.post(&format!("{path}/test"), json!({})).status(200);
    assert_eq!(tested["delivered"], false, "{url}: {}", tested.text());
    let error = tested["error"].as_str().unwrap();
    assert!(["name_not_resolved", "address_not_allowed"].contains(&error), "{url}: {error}");
    org.delete(&path).status(204);
    false
}

#[test]
fn no_spelling_of_an_address_that_is_not_public_is_taken_or_connected_to() {
    let canary = receiver();
    let port = canary.address().port();
    // On a machine without IPv6 nobody could sing there.
    let six = Upstream::at(&format!("[::1]:{port}"), takes());
    let server = Server::with(&[("webhooks.allow_http", "true")]);
    let org = server.organization();
    let mut saved = Vec::new();
    for spelling in SPELLINGS {
        for url in [format!("http://{spelling}:{port}/"), format!("https://{spelling}:{port}/")] {
            if !is_refused(&org, &url) {
                saved.push(url);
            }
        }
    }
    for odd in ODD {
        let url = odd.replace("{port}", &port.to_string());
        if !is_refused(&org, &url) {
            saved.push(url);
        }
    }
    assert!(saved.len() <= 30, "these are no addresses to this machine: {saved:?}");
    assert_eq!(canary.connections(), 0);
    assert_eq!(six.map_or(0, |six| six.connections()), 0);
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
fn plain_http_and_our_own_listeners_are_refused_when_saved() {
    // A port that was free a moment ago, at an address that nobody else uses.
    let ops = std::net::TcpListener::bind("127.0.0.4:0").unwrap().local_addr().unwrap().to_string();
    let server = Server::with(&[("webhooks.allow_cidrs", "127.0.0.0/8"), ("server.ops_listen", &ops)]);
    let org = server.organization();
    let refused =
        org.post("/v1/webhooks", json!({"url": "http://example.com/"})).refused(400, "address_not_allowed");
    assert_eq!(refused["error"]["param"], "url");
    let port = server.address().port();
    let own = [
        server.address().to_string(),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("2130706433:{port}"),
        ops,
    ];
    for own in own {
        let url = format!("https://{own}/v1/conversations");
        let refused = org.post("/v1/webhooks", json!({"url": url})).refused(400, "address_not_allowed");
        assert!(refused.text().contains("this server's own"), "{url}: {}", refused.text());
    }
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
    let there = canary.address();
    let location = |to: &str| format!("Location: {to}");
    let shapes: Vec<(&str, String)> = [
        "300 Choices",
        "301 Moved",
        "302 Found",
        "303 See Other",
        "304 Not Modified",
        "305 Use Proxy",
        "307 Temporary",
        "308 Permanent",
    ]
    .into_iter()
    .map(|status| (status, location(&format!("http://{there}/"))))
    .chain([
        ("301 Moved", location("/elsewhere")),
        ("302 Found", location("elsewhere?once=more")),
        ("307 Temporary", location(&format!("//{there}/"))),
        ("308 Permanent", location(&format!("http://user:pw@{there}/"))),
        ("307 Temporary", location(&format!("https://{there}/"))),
        ("303 See Other", location("data:text/plain,hello")),
        ("302 Found", location("file:///etc/passwd")),
        ("302 Found", location("")),
        ("301 Moved", format!("Location: http://{there}/\r\nLocation: http://{there}/again")),
        ("302 Found", format!("Refresh: 0; url=http://{there}/")),
        ("308 Permanent", "X-No: location".to_owned()),
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
