//! The audit log: every deed once, with who did it, and nothing of what was refused.

use serde_json::{Value, json};

use super::harness::{
    Client, Server, eventually,
    upstream::{Upstream, answers},
    webhook,
};

/// The log as its reader sees it, oldest first: `(action, actor, target)`.
fn log(client: &Client, filter: &str) -> Vec<(String, String, String)> {
    let reply = client.get(&format!("/v1/audit?order=asc&limit=100{filter}")).status(200);
    let text = |entry: &Value, path: &str| entry.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let who = |entry: &Value, whom: &str| {
        text(entry, &format!("/{whom}/id")).or_else(|| text(entry, &format!("/{whom}/type"))).unwrap()
    };
    let entries = reply["data"].as_array().unwrap();
    entries
        .iter()
        .map(|entry| (text(entry, "/action").unwrap(), who(entry, "actor"), who(entry, "target")))
        .collect()
}

fn entry(action: &str, actor: &str, target: &str) -> (String, String, String) {
    (action.to_owned(), actor.to_owned(), target.to_owned())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

#[test]
fn every_deed_on_a_key_stands_in_the_log_with_who_did_it() {
    let server = Server::start();
    let org = server.organization();
    let slots = org.get("/v1/keys?order=asc").status(200);
    let (primary, secondary) = (text(&slots["data"][0]["id"]), text(&slots["data"][1]["id"]));
    let made = org.post("/v1/keys", json!({"name": "Deploy", "scopes": ["keys:write"]})).status(201);
    let (key, path) = (text(&made["key"]["id"]), format!("/v1/keys/{}", text(&made["key"]["id"])));
    org.patch(&path, json!({"name": "Deploy bot"})).status(200);
    // By itself.
    let bot = server.client_with(&text(&made["secret"]));
    let rotated = bot.post(&format!("{path}/rotate"), json!({"grace_seconds": 600})).status(200);
    org.delete(&format!("{path}/previous")).status(204);
    for arguments in [["keys", "rotate", &key], ["keys", "revoke", &key]] {
        let done = server.run(&arguments);
        assert!(done.status.success(), "{done:?}");
    }
    let expected = [
        entry("key.created", "operator", &primary),
        entry("key.created", "operator", &secondary),
        entry("key.created", &primary, &key),
        entry("key.changed", &primary, &key),
        entry("key.rotated", &key, &key),
        entry("key.previous_ended", &primary, &key),
        entry("key.rotated", "operator", &key),
        entry("key.revoked", "operator", &key),
    ];
    assert_eq!(log(&org, ""), expected);
    let whole = org.get("/v1/audit?limit=100").status(200);
    for secret in [&made["secret"], &rotated["secret"]] {
        assert!(!whole.text().contains(secret.as_str().unwrap()));
    }
    // Whoever it was stays known by name.
    let by_itself = &org.get("/v1/audit?action=key.rotated&order=asc").status(200)["data"][0];
    assert_eq!(by_itself["actor"], json!({"type": "key", "id": key, "name": "Deploy bot"}));
    assert_eq!(by_itself["target"], json!({"type": "key", "id": key, "count": null}));
    let by_a_slot = &org.get("/v1/audit?action=key.changed").status(200)["data"][0];
    assert_eq!(by_a_slot["actor"]["name"], "primary");
}

#[test]
fn every_deed_on_a_webhook_stands_in_the_log_also_when_nobody_did_it() {
    let server = webhook::server(&[]);
    let org = server.organization();
    let primary = text(&org.get("/v1/keys?order=asc").status(200)["data"][0]["id"]);
    let gone = Upstream::that(answers("410 Gone", &[], "gone"));
    let hook = webhook::hook(&org, &gone, json!({"enabled": false}));
    org.patch(&hook.path, json!({"description": "CRM"})).status(200);
    org.post(&format!("{}/rotate_secret", hook.path), json!({})).status(200);
    org.patch(&hook.path, json!({"enabled": true})).status(200);
    webhook::talk(&org, "is anybody there?");
    eventually("the endpoint that is gone is disabled", || {
        (org.get(&hook.path).status(200)["enabled"] == false).then_some(())
    });
    org.patch(&hook.path, json!({"enabled": true, "description": "CRM again"})).status(200);
    org.delete(&hook.path).status(204);
    let by = |action: &str, actor: &str| entry(action, actor, &hook.id);
    let expected = [
        by("webhook.created", &primary),
        by("webhook.changed", &primary),
        by("webhook.secret_rotated", &primary),
        by("webhook.enabled", &primary),
        by("webhook.disabled", "system"),
        by("webhook.changed", &primary),
        by("webhook.enabled", &primary),
        by("webhook.deleted", &primary),
    ];
    let seen: Vec<_> = log(&org, "&action=webhook.*");
    // It may have been disabled once more in between.
    assert_eq!(seen[..7], expected[..7]);
    assert_eq!(seen.last(), expected.last());
    assert!(!org.get("/v1/audit?limit=100").status(200).text().contains("whsec_"));
}

#[test]
fn every_step_of_a_handover_stands_in_the_log_with_the_person_who_took_it() {
    let server = Server::with(&[("model.providers", "builtin")]);
    let org = server.organization();
    let primary = text(&org.get("/v1/keys?order=asc").status(200)["data"][0]["id"]);
    let started = org.post("/v1/conversations", json!({})).status(201);
    let path = format!("/v1/conversations/{}", text(&started["conversation"]["id"]));
    let agent = json!({"agent": {"id": "a-7", "name": "Bo"}});
    let request =
        || text(&org.post(&format!("{path}/handover"), json!({"note": "vermilion"})).status(201)["id"]);
    let first = request();
    let handle = |id: &str, verb: &str, body: &Value| {
        org.post(&format!("/v1/handovers/{id}/{verb}"), body.clone()).status(200);
    };
    handle(&first, "accept", &agent);
    // What holds already is no deed.
    handle(&first, "accept", &agent);
    let other = json!({"agent": {"id": "a-8"}});
    org.post(&format!("/v1/handovers/{first}/accept"), other).refused(409, "handover_state");
    handle(&first, "return", &json!({}));
    let second = request();
    handle(&second, "cancel", &json!({}));
    let asked = json!({"content": "Can I speak to a human please?"});
    org.post(&format!("{path}/messages"), asked).status(200);
    let third = text(&org.get("/v1/handovers?state=requested").status(200)["data"][0]["id"]);
    handle(&third, "accept", &agent);
    org.post(&format!("{path}/complete"), json!({})).status(200);
    let expected = [
        entry("handover.requested", &primary, &first),
        entry("handover.accepted", "a-7", &first),
        entry("handover.returned", "a-7", &first),
        entry("handover.requested", &primary, &second),
        entry("handover.cancelled", &primary, &second),
        entry("handover.requested", "customer", &third),
        entry("handover.accepted", "a-7", &third),
        entry("handover.closed", &primary, &third),
    ];
    assert_eq!(log(&org, "&action=handover.*"), expected);
    let accepted = org.get("/v1/audit?action=handover.accepted").status(200);
    assert_eq!(accepted["data"][0]["actor"], json!({"type": "agent", "id": "a-7", "name": "Bo"}));
    assert!(!org.get("/v1/audit?limit=100").status(200).text().contains("vermilion"));
}

#[test]
fn what_was_refused_or_repeated_leaves_no_entry() {
    let server = Server::start();
    let org = server.organization();
    let before = log(&org, "").len();
    org.post("/v1/keys", json!({"scopes": ["no:such"]})).refused(400, "invalid_field");
    org.patch("/v1/keys/key_00000000000000000000000000", json!({"name": "x"})).refused(404, "not_found");
    let weak = org.restricted(&server, "keys:write");
    weak.post("/v1/keys", json!({"scopes": ["knowledge:read"]})).refused(403, "missing_scope");
    org.delete("/v1/webhooks/whk_00000000000000000000000000").refused(404, "not_found");
    let create = || {
        let request = org.request("POST", "/v1/keys").header("Idempotency-Key", "one-key");
        request.json(&json!({"name": "once"})).send().status(201)
    };
    assert_eq!(create()["key"]["id"], create()["key"]["id"]);
    // The restricted key of above, made by a command, and this one.
    assert_eq!(log(&org, "").len(), before + 2);
}

#[test]
fn the_log_is_read_with_its_scope_by_its_organization_a_page_at_a_time() {
    let server = Server::start();
    let (org, other) = (server.organization(), server.organization());
    for number in 0..5 {
        org.post("/v1/keys", json!({"name": format!("key {number}")})).status(201);
    }
    let all = log(&org, "");
    assert_eq!((all.len(), log(&other, "").len()), (7, 2));
    let mut read = Vec::new();
    let mut path = "/v1/audit?limit=2".to_owned();
    loop {
        let page = org.get(&path).status(200);
        read.extend(page["data"].as_array().unwrap().iter().map(|entry| text(&entry["target"]["id"])));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/audit?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    read.reverse();
    assert_eq!(read, all.iter().map(|(.., target)| target.clone()).collect::<Vec<_>>());
    let one = &all[3].2;
    assert_eq!(log(&org, &format!("&target={one}")), [all[3].clone()]);
    assert_eq!(log(&other, &format!("&target={one}")), []);
    org.get("/v1/audit?action=key.invented").refused(400, "invalid_field").naming("action");
    org.get("/v1/audit?colour=red").refused(400, "unknown_field").naming("colour");
    org.get("/v1/audit?cursor=x").refused(400, "invalid_cursor");
    org.restricted(&server, "keys:read,organization:write").get("/v1/audit").refused(403, "missing_scope");
    org.restricted(&server, "organization:read").get("/v1/audit").status(200);
    server.client().get("/v1/audit").status(401);
}

#[test]
fn the_log_is_kept_for_thirteen_months_and_goes_with_its_organization() {
    let mut server = Server::with(&[("server.admin_token", "correct horse battery")]);
    let (org, other) = (server.organization(), server.organization());
    // The time of an id stands at its beginning.
    server.execute("UPDATE audit_log SET id = 'aud_00' || substr(id, 7)");
    org.post("/v1/keys", json!({"name": "new"})).status(201);
    server.restart();
    eventually("what is old is gone, and nothing else", || {
        (server.number("SELECT COUNT(*) FROM audit_log") == 1).then_some(())
    });
    other.post("/v1/keys", json!({})).status(201);
    server.client_with("correct horse battery").delete(&format!("/v1/organizations/{}", org.id)).status(204);
    let of = |id: &str| server.number(&format!("SELECT COUNT(*) FROM audit_log WHERE org_id = '{id}'"));
    assert_eq!((of(&org.id), of(&other.id)), (0, 1));
    assert!(server.log().contains(&org.id), "the operator's own log says so");
}
