//! Lists: filters, orders, pages that stay true.

use serde_json::{Value, json};

use crate::{
    harness::{Client, Server},
    talk::{Talk, words},
};

/// The values of `field` in all pages of a list.
#[track_caller]
fn all(client: &Client, path: &str, field: &str) -> Vec<Value> {
    let mut values = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("{path}{cursor}")).status(200);
        values.extend(page["data"].as_array().unwrap().iter().map(|row| row[field].clone()));
        assert_eq!(page["has_more"], json!(page["next_cursor"].is_string()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return values,
        }
    }
}

#[test]
fn filters_select_and_combine() {
    let server = Server::start();
    let org = server.organization();
    let start = |body: Value| json!(Talk::with(&org, body).id);
    let web = start(json!({
        "channel": "web", "topic": "delivery", "customer": {"id": "C-1", "name": "Åsa Öberg", "email": "asa@example.com"},
        "metadata": {"order": "8812", "tier": "gold"}
    }));
    let app = start(json!({
        "channel": "app", "customer": {"id": "c_2", "name": "100% Ben", "email": "BEN@example.com"},
        "metadata": {"order": "8813", "note": "\"order\":\"8812\""}
    }));
    let plain = start(json!({}));
    org.post(&format!("/v1/conversations/{}/complete", plain.as_str().unwrap()), json!({})).status(200);
    let started: String = org.get("/v1/conversations?limit=1&order=asc").status(200)["data"][0]["started_at"]
        .as_str()
        .unwrap()
        .replace(':', "%3A");

    for (query, expected) in [
        ("", vec![&plain, &app, &web]),
        ("status=completed", vec![&plain]),
        ("status=active", vec![&app, &web]),
        ("channel=web", vec![&web]),
        ("topic=delivery", vec![&web]),
        ("topic=returns", vec![]),
        ("customer_id=C-1", vec![&web]),
        ("customer_id=c-1", vec![]),
        ("metadata[order]=8812", vec![&web]),
        ("metadata[order]=8812&metadata[tier]=gold", vec![&web]),
        ("metadata[order]=8812&metadata[tier]=silver", vec![]),
        ("metadata%5Border%5D=8813&channel=app", vec![&app]),
        ("metadata[x]=", vec![]),
        ("q=ben", vec![&app]),
        ("q=BEN%40", vec![&app]),
        ("q=%C3%85sa", vec![&web]),
        ("q=c", vec![&plain, &app, &web]),
        ("q=C-", vec![&web]),
        ("q=c_", vec![&app]),
        ("q=100%25", vec![&app]),
        ("q=%25", vec![]),
        ("q=erg", vec![]),
        ("q=", vec![&plain, &app, &web]),
        (&format!("q={}", app.as_str().unwrap()), vec![&app]),
        (&format!("started_before={started}"), vec![]),
        ("started_after=2020-01-01T00:00:00Z&started_before=2021-01-01T00:00:00Z", vec![]),
        ("started_after=2020-01-01T01:00:00%2B01:00", vec![&plain, &app, &web]),
        ("order=asc", vec![&web, &app, &plain]),
    ] {
        let expected: Vec<Value> = expected.into_iter().cloned().collect();
        assert_eq!(all(&org, &format!("/v1/conversations?{query}"), "id"), expected, "{query}");
    }
    for (query, code, param) in [
        ("status=open", "invalid_field", "status"),
        ("sort=rating", "invalid_field", "sort"),
        ("started_after=yesterday", "invalid_field", "started_after"),
        ("limit=0", "invalid_field", "limit"),
        ("limit=101", "invalid_field", "limit"),
        ("order=down", "invalid_field", "order"),
        ("color=red", "unknown_field", "color"),
        ("cursor=x", "invalid_cursor", "cursor"),
        ("metadata=5", "invalid_field", "metadata"),
    ] {
        org.get(&format!("/v1/conversations?{query}")).refused(400, code).naming(param);
    }
}

#[test]
fn pages_stay_true_while_rows_are_added() {
    let server = Server::start();
    let org = server.organization();
    let talks: Vec<_> = (0..7).map(|_| Talk::start(&org)).collect();
    let ids: Vec<_> = talks.iter().map(|talk| json!(talk.id)).collect();
    let newest_first: Vec<_> = ids.iter().rev().cloned().collect();
    assert_eq!(all(&org, "/v1/conversations?limit=3", "id"), newest_first);
    assert_eq!(all(&org, "/v1/conversations?limit=3&order=asc", "id"), ids);

    let first = org.get("/v1/conversations?limit=3").status(200);
    Talk::start(&org);
    let rest = format!("/v1/conversations?limit=3&cursor={}", first["next_cursor"].as_str().unwrap());
    let rest = org.get(&rest).status(200);
    assert_eq!(
        rest["data"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect::<Vec<_>>(),
        newest_first[3..6]
    );

    // By what was said last: those in which nothing was said count from their start.
    talks[2].send(json!({"content": "hi"})).status(200);
    talks[0].send(json!({"content": "hi"})).status(200);
    let by_last = all(&org, "/v1/conversations?limit=2&sort=last_message_at", "id");
    assert_eq!(by_last[..2], [ids[0].clone(), ids[2].clone()]);
    assert_eq!(by_last.len(), 8);
    let cursor = first["next_cursor"].as_str().unwrap();
    // A place in one order is none in another.
    for other in ["order=asc", "sort=last_message_at"] {
        org.get(&format!("/v1/conversations?{other}&cursor={cursor}")).refused(400, "invalid_cursor");
    }
    org.get(&format!("/v1/conversations?sort=started_at&cursor={cursor}")).status(200);
    let by_last = org.get("/v1/conversations?limit=2&sort=last_message_at").status(200);
    let cursor = by_last["next_cursor"].as_str().unwrap();
    org.get(&format!("/v1/conversations?cursor={cursor}")).refused(400, "invalid_cursor").naming("cursor");
}

#[test]
fn messages_and_events_are_listed_oldest_first_and_page_by_page() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    for _ in 0..3 {
        talk.send(json!({"content": "hi", "synthetic": words(2)})).status(200);
    }
    let sequences = |path: &str| all(&org, &talk.path(path), "sequence");
    assert_eq!(sequences("/messages?limit=4"), [2, 4, 6, 8, 10, 12].map(Value::from));
    assert_eq!(sequences("/messages?limit=5&order=desc"), [12, 10, 8, 6, 4, 2].map(Value::from));
    assert_eq!(sequences("/events?limit=6"), (1..=13).map(Value::from).collect::<Vec<_>>());
    assert_eq!(sequences("/events?limit=4&order=desc"), (1..=13).rev().map(Value::from).collect::<Vec<_>>());
    for message in talk.messages() {
        let id = message["id"].as_str().unwrap();
        assert_eq!(talk.get(&format!("/messages/{id}")).status(200).json(), &message);
    }
    talk.get("/messages?status=complete").refused(400, "unknown_field").naming("status");
    talk.get("/messages/x").refused(404, "not_found");
    talk.get("/events?cursor=x").refused(400, "invalid_cursor");
}
