//! Keys and organizations: who is let in, who may give what, and what is never shown twice.

use std::{
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::harness::{Client, Organization, Reply, Server, eventually, is_postgres};

/// A revocation holds on every connection by then.
const REVOKED_WITHIN: Duration = Duration::from_secs(2);

const ADMIN_TOKEN: &str = "the-operator-of-this-test";

/// A key made by the organization's primary: its id and its text.
#[track_caller]
fn create(org: &Client, body: Value) -> (String, String) {
    let made = org.post("/v1/keys", body).status(201);
    assert_eq!(made.header("location"), Some(&*format!("/v1/keys/{}", text(&made["key"]["id"]))));
    assert_eq!(made.header("cache-control"), Some("no-store"));
    (text(&made["key"]["id"]), text(&made["secret"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

/// The primary or secondary key, as it is listed.
#[track_caller]
fn slot(org: &Organization, kind: &str) -> Value {
    let listed = org.get("/v1/keys").status(200);
    let found = listed["data"].as_array().unwrap().iter().find(|key| key["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} key")).clone()
}

/// Any request that a key with `organization:read` may make.
fn ask(server: &Server, key: &str) -> Reply {
    server.client_with(key).get("/v1/organization")
}

#[test]
fn a_refused_key_learns_nothing_about_why() {
    let server = Server::start();
    let org = server.organization();
    let (revoked_id, revoked) = create(&org, json!({"scopes": ["organization:read"]}));
    ask(&server, &revoked).status(200);
    org.delete(&format!("/v1/keys/{revoked_id}")).status(204);

    let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() + 1_500;
    let soon = openclaw_actors::clock::Timestamp(soon as i64);
    let (_, expired) = create(&org, json!({"scopes": ["organization:read"], "expires_at": soon.to_string()}));
    eventually("the key expires", || (ask(&server, &expired).code() == 401).then_some(()));

    let primary = &org.primary_key;
    let last = if primary.ends_with('a') { 'b' } else { 'a' };
    let mistyped = format!("{}{last}", &primary[..primary.len() - 1]);
    let other = server.organization();
    // Whole and well formed, but the secret of another key: its checksum is right.
    let foreign_id = &other.primary_key["oc_live_".len()..][..26];
    let wrong_secret = sealed(&format!("oc_live_{foreign_id}_{}", &primary[35..78]));
    let unknown = sealed(&format!("oc_live_01h00000000000000000000000_{}", &primary[35..78]));

    let named = |request: crate::harness::Request| request.header("X-Request-Id", "same-for-all").send();
    let get = |client: &Client| named(client.request("GET", "/v1/organization"));
    let nobody = server.client();
    let with_header =
        |value: &str| named(nobody.request("GET", "/v1/organization").header("Authorization", value));
    let replies = [
        ("no header", get(&nobody)),
        ("another scheme", with_header("Basic dXNlcjpwYXNz")),
        ("no token", with_header("Bearer ")),
        ("garbage", with_header("Bearer \u{fffd}\u{fffd}")),
        ("a bad checksum", get(&server.client_with(&mistyped))),
        ("a wrong secret", get(&server.client_with(&wrong_secret))),
        ("an unknown id", get(&server.client_with(&unknown))),
        ("a revoked key", get(&server.client_with(&revoked))),
        ("an expired key", get(&server.client_with(&expired))),
        ("a client token", get(&server.client_with(&primary.replace("oc_live_", "oc_ct_")))),
    ];
    let expected = replies[0].1.body().to_vec();
    for (cause, reply) in replies {
        let reply = reply.refused(401, "invalid_key");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{cause}");
        assert_eq!(reply.body(), expected, "{cause}");
        assert_eq!(reply.header("ratelimit"), None, "{cause}");
    }
}

/// The text with the checksum that belongs to it.
fn sealed(text: &str) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut crc = !0u32;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    let mut rest = !crc as usize;
    let mut letters = [0; 6];
    for letter in letters.iter_mut().rev() {
        *letter = ALPHABET[rest % 62];
        rest /= 62;
    }
    format!("{text}{}", String::from_utf8_lossy(&letters))
}

#[test]
fn a_key_without_the_scope_is_told_which_one() {
    let server = Server::start();
    let org = server.organization();
    let client = org.restricted(&server, "keys:write,organization:write");
    // Write does not imply read.
    client.get("/v1/organization").refused(403, "missing_scope").naming("organization:read");
    client.get("/v1/keys").refused(403, "missing_scope").naming("keys:read");
    client.patch("/v1/organization", json!({"name": "Bolt"})).status(200);
    let nothing = org.restricted(&server, "analytics:read");
    nothing.post("/v1/keys", json!({})).refused(403, "missing_scope").naming("keys:write");
}

#[test]
fn a_key_of_another_organization_is_as_absent_as_none() {
    let server = Server::start();
    let (org, other) = (server.organization(), server.organization());
    let theirs = text(&slot(&other, "primary")["id"]);
    let none = "key_01h00000000000000000000000";
    let body = |reply: Reply| {
        let mut body = reply.refused(404, "not_found").json().clone();
        body["error"]["request_id"] = Value::Null;
        body
    };
    for (method, rest) in
        [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate"), ("DELETE", "/previous")]
    {
        let send = |id: &str| {
            let request = org.request(method, &format!("/v1/keys/{id}{rest}"));
            body(if method == "GET" || method == "DELETE" {
                request.send()
            } else {
                request.json(&json!({})).send()
            })
        };
        assert_eq!(send(&theirs), send(none), "{method} {rest}");
        assert_eq!(send(&theirs), send("nonsense"), "{method} {rest}");
    }
    ask(&server, &other.primary_key).status(200);
}

#[test]
fn a_rotation_gives_time_to_deploy_and_shows_whether_the_old_secret_is_in_use() {
    let server = Server::start();
    let org = server.organization();
    let primary = text(&slot(&org, "primary")["id"]);
    let rotate = |grace: u64| {
        let secondary = server.client_with(&org.secondary_key);
        let path = format!("/v1/keys/{primary}/rotate");
        text(&secondary.post(&path, json!({"grace_seconds": grace})).status(200)["secret"])
    };
    let second = rotate(604_800);
    ask(&server, &org.primary_key).status(200);
    ask(&server, &second).status(200);
    let key = slot(&org, "primary");
    assert_eq!(key["id"], primary);
    assert_eq!(key["masked"], masked(&second));
    assert_eq!(key["previous"]["masked"], masked(&org.primary_key));
    assert!(
        key["previous"]["last_used_at"].is_string() && key["previous"]["expires_at"].is_string(),
        "{key}"
    );

    let third = rotate(604_800);
    ask(&server, &org.primary_key).status(401);
    ask(&server, &second).status(200);
    let client = server.client_with(&third);
    client.delete(&format!("/v1/keys/{primary}/previous")).status(204);
    client.delete(&format!("/v1/keys/{primary}/previous")).refused(404, "not_found");
    ask(&server, &second).status(401);

    let fourth = rotate(0);
    ask(&server, &third).status(401);
    let fourth = server.client_with(&fourth);
    assert_eq!(fourth.get(&format!("/v1/keys/{primary}")).status(200)["previous"], Value::Null);
    for (body, param) in [
        (json!({"grace_seconds": 604_801}), "grace_seconds"),
        (json!({"grace_seconds": -1}), "grace_seconds"),
        (json!({"grace_seconds": "1"}), "grace_seconds"),
    ] {
        fourth.post(&format!("/v1/keys/{primary}/rotate"), body).refused(400, "invalid_field").naming(param);
    }
}

fn masked(key: &str) -> String {
    format!("{}…{}", &key[..35], &key[key.len() - 4..])
}

#[test]
fn a_whole_rotation_under_load_refuses_nobody() {
    let server = Server::start();
    let org = server.organization();
    let primary = text(&slot(&org, "primary")["id"]);
    let deployed = std::sync::Mutex::new(org.primary_key.clone());
    let done = std::sync::atomic::AtomicBool::new(false);
    let (asked, refused) = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut asked, mut refused) = (0, 0);
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        // The lock is the deployment: no caller has the old key once it is replaced.
                        let key = deployed.lock().unwrap();
                        refused += u32::from(ask(&server, &key).code() != 200);
                        asked += 1;
                    }
                    (asked, refused)
                })
            })
            .collect();
        for round in 0..10 {
            let secondary = server.client_with(&org.secondary_key);
            let path = format!("/v1/keys/{primary}/rotate");
            let next = text(&secondary.post(&path, json!({"grace_seconds": 60})).status(200)["secret"]);
            *deployed.lock().unwrap() = next;
            if round % 2 == 0 {
                secondary.delete(&format!("/v1/keys/{primary}/previous")).status(204);
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let counts = callers.into_iter().map(|caller| caller.join().unwrap());
        counts.fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1))
    });
    assert!(asked > 0);
    assert_eq!(refused, 0, "of {asked}");
}

#[test]
fn what_a_command_beside_the_server_revokes_is_refused_within_two_seconds() {
    let server = Server::start();
    let org = server.organization();
    let (id, key) = create(&org, json!({"scopes": ["organization:read"]}));
    ask(&server, &key).status(200);
    let revoked = server.run(&["keys", "revoke", &id]);
    assert!(revoked.status.success(), "{revoked:?}");
    let since = Instant::now();
    while ask(&server, &key).code() != 401 {
        assert!(since.elapsed() < REVOKED_WITHIN, "still let in");
    }
    org.get(&format!("/v1/keys/{id}")).refused(404, "not_found");

    let rotated = server.run(&["keys", "rotate", &text(&slot(&org, "secondary")["id"]), "--json"]);
    assert!(rotated.status.success(), "{rotated:?}");
    let rotated: Value = serde_json::from_str(&rotated.out).unwrap();
    ask(&server, &text(&rotated["secret"])).status(200);
    let since = Instant::now();
    while ask(&server, &org.secondary_key).code() != 401 {
        assert!(since.elapsed() < REVOKED_WITHIN, "still let in");
    }
}

#[test]
fn a_key_grants_only_what_it_holds() {
    let server = Server::start();
    let org = server.organization();
    let (id, key) =
        create(&org, json!({"scopes": ["keys:write", "knowledge:read"], "rate_limit_per_minute": 50}));
    let client = server.client_with(&key);
    let made = client.post("/v1/keys", json!({"scopes": ["knowledge:read"], "rate_limit_per_minute": 50}));
    let weaker = text(&made.status(201)["key"]["id"]);

    let refuse = |body: Value, code: &str, param: &str| {
        client.post("/v1/keys", body).refused(403, code).naming(param);
    };
    refuse(
        json!({"scopes": ["knowledge:write"], "rate_limit_per_minute": 1}),
        "missing_scope",
        "knowledge:write",
    );
    refuse(json!({"rate_limit_per_minute": 51}), "grant_exceeds_key", "rate_limit_per_minute");
    // The server's default, which is above the key's own number.
    refuse(json!({}), "grant_exceeds_key", "rate_limit_per_minute");
    refuse(json!({"rate_limit_per_minute": "unlimited"}), "grant_exceeds_key", "rate_limit_per_minute");
    refuse(json!({"kind": "publishable"}), "grant_exceeds_key", "kind");
    refuse(json!({"kind": "primary"}), "grant_exceeds_key", "kind");
    // Not even full access grants what only an operator may.
    let unlimited = json!({"rate_limit_per_minute": "unlimited"});
    org.post("/v1/keys", unlimited.clone()).refused(403, "grant_exceeds_key").naming("rate_limit_per_minute");
    org.post("/v1/keys", json!({"kind": "secondary"})).refused(409, "key_slot_taken");

    // Changing and rotating another key is granting too.
    let path = format!("/v1/keys/{weaker}");
    client.patch(&path, json!({"name": "mine"})).status(200);
    client
        .patch(&path, json!({"scopes": ["analytics:read"]}))
        .refused(403, "missing_scope")
        .naming("analytics:read");
    client.patch(&path, unlimited).refused(403, "grant_exceeds_key").naming("rate_limit_per_minute");
    client.post(&format!("{path}/rotate"), json!({})).status(200);
    let (stronger, _) = create(&org, json!({"scopes": ["analytics:read"]}));
    let rotated = client.post(&format!("/v1/keys/{stronger}/rotate"), json!({}));
    rotated.refused(403, "missing_scope").naming("analytics:read");
    for kind in ["primary", "secondary"] {
        let path = format!("/v1/keys/{}", text(&slot(&org, kind)["id"]));
        client.post(&format!("{path}/rotate"), json!({})).refused(403, "grant_exceeds_key").naming("kind");
        client.patch(&path, json!({"name": "x"})).refused(403, "grant_exceeds_key").naming("kind");
        client.delete(&path).refused(403, "grant_exceeds_key").naming("kind");
    }
    ask(&server, &org.primary_key).status(200);
    assert_eq!(client.delete(&format!("/v1/keys/{id}")).code(), 204, "its own end is its to choose");
}

#[test]
fn any_secret_key_may_rotate_itself() {
    let server = Server::start();
    let org = server.organization();
    let (id, key) = create(&org, json!({"scopes": ["organization:read"]}));
    let rotated =
        server.client_with(&key).request("POST", &format!("/v1/keys/{id}/rotate")).send().status(200);
    ask(&server, &key).status(401);
    ask(&server, &text(&rotated["secret"])).status(200);
}

#[test]
fn a_deleted_primary_key_leaves_its_slot_for_a_rotation() {
    let server = Server::start();
    let org = server.organization();
    let primary = format!("/v1/keys/{}", text(&slot(&org, "primary")["id"]));
    let secondary = server.client_with(&org.secondary_key);
    secondary.delete(&primary).status(204);
    ask(&server, &org.primary_key).status(401);
    secondary.delete(&primary).refused(404, "not_found");
    assert_eq!(secondary.get(&primary).status(200)["masked"], Value::Null);
    let anew = text(&secondary.post(&format!("{primary}/rotate"), json!({})).status(200)["secret"]);
    ask(&server, &anew).status(200);
}

#[test]
fn no_secret_is_shown_twice_or_kept_anywhere() {
    let mut server = Server::start();
    let org = server.organization();
    let (id, key) = create(&org, json!({"name": "till 3", "scopes": ["organization:read", "keys:read"]}));
    let client = server.client_with(&key);
    client.get("/v1/organization").status(200);
    let all = [org.primary_key.clone(), org.secondary_key.clone(), key.clone()];
    let shown =
        client.get("/v1/keys").status(200).text() + &client.get(&format!("/v1/keys/{id}")).status(200).text();
    let listed = server.run(&["keys", "list", "--org", &org.id]);
    assert!(listed.status.success() && listed.out.contains("till 3"), "{listed:?}");
    // The flush of a clean stop is in the files too.
    server.stop();
    let mut kept = server.log().into_bytes();
    for entry in fs::read_dir(server.data()).unwrap() {
        kept.extend(fs::read(entry.unwrap().path()).unwrap());
    }
    for key in &all {
        let secret = &key[35..78];
        for place in [shown.as_bytes(), listed.out.as_bytes(), &kept] {
            assert!(!place.windows(secret.len()).any(|part| part == secret.as_bytes()), "a secret is kept");
        }
        assert!(shown.contains(&masked(key)));
    }
}

#[test]
fn keys_are_listed_page_by_page() {
    let server = Server::start();
    let org = server.organization();
    for number in 0..5 {
        create(&org, json!({"name": number.to_string()}));
    }
    for order in ["asc", "desc"] {
        let mut seen = Vec::new();
        let mut path = format!("/v1/keys?limit=3&order={order}");
        loop {
            let page = org.get(&path).status(200);
            seen.extend(page["data"].as_array().unwrap().iter().map(|key| text(&key["id"])));
            if page["has_more"] == false {
                assert_eq!(page["next_cursor"], Value::Null);
                break;
            }
            path = format!("/v1/keys?limit=3&order={order}&cursor={}", text(&page["next_cursor"]));
        }
        let mut sorted = seen.clone();
        sorted.sort();
        if order == "desc" {
            sorted.reverse();
        }
        assert_eq!((seen.len(), &seen), (7, &sorted));
    }
    org.get("/v1/keys?kind=primary").refused(400, "unknown_field").naming("kind");
}

#[test]
fn a_key_shows_when_it_was_last_used() {
    let mut server = Server::start();
    let org = server.organization();
    let (id, key) = create(&org, json!({"scopes": ["organization:read"]}));
    let path = format!("/v1/keys/{id}");
    assert_eq!(org.get(&path).status(200)["last_used_at"], Value::Null);
    ask(&server, &key).status(200);
    let used = text(&org.get(&path).status(200)["last_used_at"]);
    // The second use within a minute is written by the clean stop.
    let later = eventually("a later use", || {
        ask(&server, &key).status(200);
        let used_again = text(&org.get(&path).status(200)["last_used_at"]);
        (used_again > used).then_some(used_again)
    });
    server.restart();
    assert_eq!(org.get(&path).status(200)["last_used_at"], later);
}

#[test]
fn a_publishable_key_is_made_for_its_origins_and_opens_nothing_of_the_rest() {
    let server = Server::start();
    let org = server.organization();
    let origins = json!(["https://shop.example.com:443", "https://*.example.org", "http://localhost:5173"]);
    let made = org.post("/v1/keys", json!({"kind": "publishable", "allowed_origins": origins})).status(201);
    let expected = json!(["https://shop.example.com", "https://*.example.org", "http://localhost:5173"]);
    assert_eq!(made["key"]["allowed_origins"], expected);
    let key = text(&made["secret"]);
    assert!(key.starts_with("oc_pub_"));
    let page = server.client_with(&key);
    page.get("/v1/organization").refused(403, "publishable_key").naming("organization:read");
    let path = format!("/v1/keys/{}/rotate", text(&made["key"]["id"]));
    page.post(&path, json!({})).refused(403, "publishable_key");
    org.post(&path, json!({})).status(200);
    for (body, param) in [
        (json!({"kind": "publishable", "allowed_origins": ["*"]}), "allowed_origins"),
        (json!({"kind": "publishable", "allowed_origins": ["https://a.test/path"]}), "allowed_origins"),
        (json!({"kind": "publishable", "scopes": ["keys:read"]}), "scopes"),
        (json!({"allowed_origins": ["https://a.test"]}), "allowed_origins"),
        (json!({"kind": "other"}), "kind"),
        (json!({"scopes": ["keys:manage"]}), "scopes"),
        (json!({"rate_limit_per_minute": 0}), "rate_limit_per_minute"),
        (json!({"rate_limit_per_minute": 1.5}), "rate_limit_per_minute"),
        (json!({"rate_limit_per_minute": "many"}), "rate_limit_per_minute"),
        (json!({"rate_limit_per_minute": 100_001}), "rate_limit_per_minute"),
        (json!({"expires_at": "2020-01-01T00:00:00Z"}), "expires_at"),
        (json!({"expires_at": "tomorrow"}), "expires_at"),
        (json!({"name": "n".repeat(101)}), "name"),
    ] {
        org.post("/v1/keys", body).refused(400, "invalid_field").naming(param);
    }
    org.post("/v1/keys", json!({"scope": []})).refused(400, "unknown_field").naming("scope");
    let primary = format!("/v1/keys/{}", text(&slot(&org, "primary")["id"]));
    org.patch(&primary, json!({"scopes": []})).refused(400, "invalid_field").naming("scopes");
}

#[test]
fn a_secret_key_in_a_foreign_page_is_refused_with_the_reason() {
    let server = Server::start();
    let org = server.organization();
    let from = |origin: &str| org.request("GET", "/v1/organization").header("Origin", origin).send();
    for origin in ["https://shop.example.com", "null", "http://127.0.0.1:1"] {
        from(origin).refused(403, "secret_key_in_browser");
    }
    from(&format!("http://{}", server.address())).status(200);
}

#[test]
fn an_organization_reads_and_changes_its_own_settings() {
    let server = Server::start();
    let (org, other) = (server.organization(), server.organization());
    let before = org.get("/v1/organization").status(200);
    assert_eq!(
        (&before["id"], &before["name"], &before["timezone"]),
        (&json!(org.id), &json!("Acme"), &json!("UTC"))
    );
    let changed = json!({
        "name": "Bolt", "timezone": "Europe/Amsterdam", "languages": ["nl", "en"], "retention_days": 30,
        "reopen_on_message": false, "handover_timeout_seconds": null, "handover_on_failure": true,
        "answer_while_waiting": false, "opening_hours": {"monday": [{"opens": "09:00", "closes": "17:00"}]},
        "strict_grounding": true, "answer_threshold": 0.6, "suggest_threshold": 0.3, "minutes_per_conversation": 4.5
    });
    let answer = org.patch("/v1/organization", changed.clone()).status(200);
    let after = org.get("/v1/organization").status(200);
    assert_eq!(answer.json(), after.json());
    for (field, value) in changed.as_object().unwrap() {
        assert_eq!(&after[field], value, "{field}");
    }
    // A merge patch: null goes back, what is absent stays.
    let reset = org.patch("/v1/organization", json!({"retention_days": null, "timezone": null})).status(200);
    assert_eq!((&reset["retention_days"], &reset["timezone"]), (&Value::Null, &json!("UTC")));
    assert_eq!(reset["name"], "Bolt");
    for (body, code, param) in [
        (json!({"nickname": "B"}), "unknown_field", "nickname"),
        (json!({"id": "org_1"}), "unknown_field", "id"),
        (json!({"name": null}), "invalid_field", "name"),
        (json!({"name": " "}), "invalid_field", "name"),
        (json!({"timezone": "Europe/Atlantis"}), "invalid_field", "timezone"),
        (json!({"retention_days": 0}), "invalid_field", "retention_days"),
        (json!({"retention_days": "30"}), "invalid_field", "retention_days"),
        (json!({"answer_threshold": 2}), "invalid_field", "answer_threshold"),
        (json!({"opening_hours": {"someday": []}}), "unknown_field", "opening_hours.someday"),
        (
            json!({"opening_hours": {"monday": [{"opens": "9", "closes": "17"}]}}),
            "invalid_field",
            "opening_hours",
        ),
    ] {
        org.patch("/v1/organization", body).refused(400, code).naming(param);
    }
    assert_eq!(org.get("/v1/organization").status(200).json(), reset.json());
    assert_eq!(other.get("/v1/organization").status(200)["name"], "Acme");
}

#[test]
fn an_operator_makes_and_erases_organizations_and_nobody_else_does() {
    let server = Server::with(&[("server.admin_token", ADMIN_TOKEN)]);
    let operator = server.client_with(ADMIN_TOKEN);
    let made =
        operator.post("/v1/organizations", json!({"name": "Acme", "timezone": "Asia/Tokyo"})).status(201);
    let id = text(&made["organization"]["id"]);
    assert_eq!(made.header("location"), Some(&*format!("/v1/organizations/{id}")));
    assert_eq!(made["organization"]["timezone"], "Asia/Tokyo");
    let (primary, secondary) = (text(&made["primary_key"]), text(&made["secondary_key"]));
    ask(&server, &primary).status(200);
    ask(&server, &secondary).status(200);
    operator.post("/v1/organizations", json!({})).refused(400, "invalid_field").naming("name");
    operator
        .post("/v1/organizations", json!({"name": "A", "x": 1}))
        .refused(400, "unknown_field")
        .naming("x");

    for stranger in
        [server.client(), server.client_with(&primary), server.client_with("the-operator-of-another!!")]
    {
        stranger.post("/v1/organizations", json!({"name": "Mine"})).refused(401, "invalid_key");
        stranger.delete(&format!("/v1/organizations/{id}")).refused(401, "invalid_key");
    }
    operator.get("/v1/organization").refused(401, "invalid_key");

    operator.post("/v1/organizations?x=1", json!({"name": "A"})).refused(400, "unknown_field").naming("x");
    operator.delete(&format!("/v1/organizations/{id}?x=1")).refused(400, "unknown_field").naming("x");
    operator.delete(&format!("/v1/organizations/{id}")).status(204);
    ask(&server, &primary).refused(401, "invalid_key");
    operator.delete(&format!("/v1/organizations/{id}")).refused(404, "not_found");
    operator.delete("/v1/organizations/nonsense").refused(404, "not_found");

    // Without a token of its own the server has no operator over HTTP.
    let server = Server::start();
    server.client_with("").post("/v1/organizations", json!({"name": "Mine"})).refused(401, "invalid_key");
}

#[test]
fn a_repeat_makes_nothing_twice_and_repeats_no_secret() {
    let server = Server::with(&[("server.admin_token", ADMIN_TOKEN)]);
    let operator = server.client_with(ADMIN_TOKEN);
    let twice = |client: &Client, path: &str, body: Value| {
        let send = || {
            client.request("POST", path).header("Idempotency-Key", "once-and-only-once").json(&body).send()
        };
        let (first, again) = (send(), send());
        assert_eq!((first.code(), first.header("idempotent-replayed")), (again.code(), None));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(first.header("location"), again.header("location"));
        let other = client.request("POST", path).header("Idempotency-Key", "once-and-only-once");
        other.json(&json!({"name": "another"})).send().refused(422, "idempotency_key_reused");
        (first, again)
    };

    let (made, again) = twice(&operator, "/v1/organizations", json!({"name": "Acme"}));
    assert_eq!(made["organization"], again["organization"]);
    assert_eq!((&again["primary_key"], &again["secondary_key"]), (&Value::Null, &Value::Null));
    let org = server.client_with(&text(&made["primary_key"]));

    let (made, again) = twice(&org, "/v1/keys", json!({"scopes": ["organization:read"]}));
    assert_eq!((&made["key"]["id"], &again["secret"]), (&again["key"]["id"], &Value::Null));
    assert_eq!(org.get("/v1/keys").status(200)["data"].as_array().unwrap().len(), 3);
    ask(&server, &text(&made["secret"])).status(200);

    let path = format!("/v1/keys/{}/rotate", text(&made["key"]["id"]));
    let rotate = |grace: u64| {
        let request = org.request("POST", &path).header("Idempotency-Key", "rotate-once");
        request.json(&json!({"grace_seconds": grace})).send()
    };
    let (first, again) = (rotate(0).status(200), rotate(0).status(200));
    assert_eq!((&first["key"]["masked"], &again["secret"]), (&again["key"]["masked"], &Value::Null));
    ask(&server, &text(&first["secret"])).status(200);
}

#[test]
fn of_an_erased_organization_nothing_is_left_not_even_of_an_answer_under_way() {
    let mut server = Server::with(&[("server.admin_token", ADMIN_TOKEN)]);
    let (org, other) = (server.organization(), server.organization());
    let say =
        |org: &Organization, message: Value| org.post("/v1/conversations", json!({ "message": message }));
    say(&org, json!("the vermilion umbrella")).status(201);
    let parts = json!([{"type": "text", "text": "the vermilion umbrella"}]);
    let chat = json!({"id": "vermilion chat", "messages": [{"id": "m", "role": "user", "parts": parts}]});
    org.request("POST", "/v1/ai-sdk").json(&chat).send().status(200);
    say(&other, json!("the turquoise umbrella")).status(201);
    let slow = json!({"tokens_per_second": 20, "tokens": 30});
    let body = json!({"message": {"content": "the vermilion umbrella", "synthetic": slow}, "stream": true});
    let mut answer = org.request("POST", "/v1/conversations").json(&body).stream();
    answer.until("turn.delta");
    let operator = server.client_with(ADMIN_TOKEN);
    operator.delete(&format!("/v1/organizations/{}", org.id)).status(204);
    // Until the reader hears that it is over, which is at once: a second later the whole answer would be stored.
    drop(answer.last());
    ask(&server, &org.primary_key).status(401);
    ask(&server, &other.primary_key).status(200);
    server.stop();
    if is_postgres() {
        return;
    }
    let contains = |text: &str| {
        let files =
            fs::read_dir(server.data()).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        let parts: Vec<_> = files.collect();
        parts.iter().any(|file| file.windows(text.len()).any(|part| part == text.as_bytes()))
    };
    assert!(contains("turquoise"));
    for gone in ["vermilion", &org.id] {
        assert!(!contains(gone), "{gone} is still there");
    }
}
