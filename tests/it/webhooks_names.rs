//! A name may change what it stands for at any moment: what is connected to is what was looked at.

use std::net::IpAddr;

use serde_json::json;

use crate::harness::{
    nameserver::Nameserver,
    upstream::Upstream,
    webhook::{counted, deliveries, server, settled, takes},
};

/// How often the name changes its mind.
const FLIPS: usize = 20;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A receiver at an address that is allowed and, at the same port, a canary at one that is not.
fn receiver_and_canary() -> (Upstream, Upstream) {
    loop {
        let receiver = Upstream::at("127.0.0.2:0", takes()).unwrap();
        let beside = format!("127.0.0.1:{}", receiver.address().port());
        if let Ok(canary) = Upstream::at(&beside, takes()) {
            return (receiver, canary);
        }
    }
}

#[test]
fn a_name_that_flips_between_two_addresses_leads_nowhere_but_where_it_may() {
    let (receiver, canary) = receiver_and_canary();
    let nameserver = Nameserver::by(|name, before| {
        assert_eq!(name, "flips.example");
        Some(vec![if before % 2 == 0 { ip("127.0.0.2") } else { ip("127.0.0.1") }])
    });
    let server = server(&[
        ("webhooks.allow_cidrs", "127.0.0.2/32"),
        ("webhooks.nameservers", &nameserver.address()),
        ("webhooks.waits_ms", "1"),
    ]);
    let org = server.organization();
    let url = format!("http://flips.example:{}/", receiver.address().port());
    let made = org.post("/v1/webhooks", json!({"url": url, "events": ["conversation.started"]})).status(201);
    let path = format!("/v1/webhooks/{}", made["webhook"]["id"].as_str().unwrap());
    // One look each: to change its mind between a look and a connection, it would have to be asked again.
    let mut errors = Vec::new();
    for _ in 0..FLIPS {
        let before = nameserver.times();
        let tested = org.post(&format!("{path}/test"), json!({})).status(200);
        assert_eq!(nameserver.times(), before + 1, "it is looked up once for an attempt");
        errors.push(tested["error"].clone());
    }
    let expected: Vec<_> = (0..FLIPS)
        .map(|number| if number % 2 == 0 { json!("address_not_allowed") } else { json!(null) })
        .collect();
    assert_eq!(errors, expected, "saving it asked for the first time");
    // The same through the queue, where connections are kept.
    let hook = crate::harness::webhook::Hook {
        id: path.rsplit('/').next().unwrap().to_owned(),
        path: path.clone(),
        secret: made["secret"].as_str().unwrap().to_owned(),
    };
    for number in 1..=FLIPS {
        org.post("/v1/conversations", json!({})).status(201);
        settled(&org, &hook, "delivered", number);
    }
    let tried =
        deliveries(&org, &hook, "").iter().map(|one| one["attempt_count"].as_u64().unwrap()).sum::<u64>();
    assert!(tried > FLIPS as u64, "some attempts met the address that is not allowed: {tried}");
    assert_eq!(counted(&receiver).values().sum::<usize>(), FLIPS + FLIPS / 2);
    assert_eq!(canary.connections(), 0);
}

#[test]
fn of_many_addresses_only_those_that_are_allowed_are_connected_to() {
    let (receiver, canary) = receiver_and_canary();
    let nameserver = Nameserver::by_tcp(|_, _| {
        Some(["127.0.0.1", "::1", "10.0.0.1", "127.0.0.2", "fd00::1"].map(ip).to_vec())
    });
    let server =
        server(&[("webhooks.allow_cidrs", "127.0.0.2/32"), ("webhooks.nameservers", &nameserver.address())]);
    let org = server.organization();
    let url = format!("http://many.example:{}/", receiver.address().port());
    let made = org.post("/v1/webhooks", json!({"url": url})).status(201);
    let path = format!("/v1/webhooks/{}/test", made["webhook"]["id"].as_str().unwrap());
    assert_eq!(org.post(&path, json!({})).status(200)["delivered"], true);
    assert!(nameserver.times_over_tcp() > 0, "an answer that was cut off is asked for over TCP");
    assert_eq!(receiver.asked()[0].header("host"), Some(&url["http://".len()..url.len() - 1]));
    assert_eq!(canary.connections(), 0);
}

#[test]
fn a_name_that_leads_only_to_what_is_not_public_is_refused_and_one_that_does_not_exist_fails_attempts() {
    let inside = ["10.0.0.1", "169.254.169.254", "fd00::1", "::1"].map(ip);
    let nameserver = Nameserver::by(move |name, _| match name.split('.').next().unwrap().parse::<usize>() {
        Ok(number) => Some(vec![inside[number]]),
        Err(_) => None,
    });
    // The first does not answer at all: nobody is there.
    let nameservers = format!("127.0.0.3:9,{}", nameserver.address());
    let server = server(&[("webhooks.allow_cidrs", "127.0.0.2/32"), ("webhooks.nameservers", &nameservers)]);
    let org = server.organization();
    for (number, address) in ["10.0.0.1", "169.254.169.254", "fd00::1", "::1"].iter().enumerate() {
        let url = format!("http://{number}.inside.example/");
        let refused = org.post("/v1/webhooks", json!({"url": url})).refused(400, "address_not_allowed");
        assert!(!refused.text().contains(*address), "{}", refused.text());
    }
    let made = org.post("/v1/webhooks", json!({"url": "http://nowhere.example/"})).status(201);
    let path = format!("/v1/webhooks/{}/test", made["webhook"]["id"].as_str().unwrap());
    assert_eq!(org.post(&path, json!({})).status(200)["error"], "name_not_resolved");
}
