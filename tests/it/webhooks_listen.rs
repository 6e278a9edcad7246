//! `webhooks listen`: an integrator sees a signed event within a minute.

use serde_json::{Value, json};

use crate::harness::{
    Organization, Program, Server, eventually,
    upstream::{Upstream, answers},
    webhook::{deliveries, hook, is_signed, receiver, server, settled, talk},
};

const TOLD: [&str; 3] = ["conversation.started", "message.received", "message.sent"];

/// A receiver that makes its own webhook, and where it listens.
fn listening(server: &Server, org: &Organization, options: &[&str]) -> (Program, String) {
    let url = format!("http://{}", server.address());
    let whose = ["webhooks", "listen", "--listen", "127.0.0.1:0", "--url", &url, "--key", &org.primary_key];
    let program = Program::start(&[&whose, options].concat(), &[]);
    program.until_err("Ctrl-C ends it");
    let address = address(&program);
    (program, address)
}

fn address(program: &Program) -> String {
    let err = program.err();
    let line = err.lines().find_map(|line| line.strip_prefix("listening on ")).unwrap();
    line.to_owned()
}

/// The objects that were printed, once there are so many.
#[track_caller]
fn printed(program: &Program, count: usize) -> Vec<Value> {
    let out = program.until(&format!("{count} events"), |out| out.lines().count() >= count);
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_receiver_makes_its_webhook_shows_what_comes_and_deletes_it_when_it_is_told_to_end() {
    let server = server(&[]);
    let org = server.organization();
    let (program, address) = listening(&server, &org, &["--events", "message.*,conversation.started"]);
    let webhooks = org.get("/v1/webhooks").status(200);
    let made = &webhooks["data"][0];
    assert_eq!(
        (&made["url"], &made["events"]),
        (&json!(address), &json!(["message.*", "conversation.started"]))
    );
    let conversation = talk(&org, "Where is my parcel?");
    let out = program.until("each event has a line", |out| out.lines().count() >= TOLD.len());
    for (line, kind) in out.lines().zip(TOLD) {
        let parts = ["✓", kind, &format!("{conversation} #"), "ms after it happened", "→ 200"];
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
        assert!(!line.contains('\x1b'), "colours are for terminals");
    }
    program.signal("INT");
    let ended = program.ended();
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.err.contains("is deleted"), "{}", ended.err);
    assert_eq!(org.get("/v1/webhooks").status(200)["data"], json!([]));
}

#[test]
fn programs_are_told_in_json_and_only_what_is_signed_is_believed() {
    let server = server(&[]);
    let org = server.organization();
    let nowhere = receiver();
    let hook = hook(&org, &nowhere, json!({}));
    let mut program = Program::start(&["webhooks", "listen", "--listen", "127.0.0.1:0", "--json"], &[]);
    program.say(&hook.secret);
    program.until_err("Ctrl-C ends it");
    let here = address(&program);
    org.patch(&hook.path, json!({"url": here})).status(200);
    let conversation = talk(&org, "hello");
    settled(&org, &hook, "delivered", TOLD.len());
    let events = printed(&program, TOLD.len());
    for event in &events {
        assert_eq!(
            (&event["verified"], &event["status"], &event["times"]),
            (&json!(true), &json!(200), &json!(1))
        );
        assert_eq!((&event["event"]["id"], &event["problem"]), (&event["webhook_id"], &Value::Null));
        assert_eq!(event["event"]["conversation_id"], conversation);
        assert!(event["lag_ms"].is_i64() && event["took_ms"].is_u64(), "{event}");
    }
    // Once more it is the same event.
    let first = &deliveries(&org, &hook, "")[0];
    org.post(&format!("/v1/deliveries/{}/redeliver", first["id"].as_str().unwrap()), json!({})).status(202);
    assert_eq!(printed(&program, TOLD.len() + 1)[TOLD.len()]["times"], 2);
    // With another secret nothing is believed, and the sender learns it.
    org.post(&format!("{}/rotate_secret", hook.path), json!({})).status(200);
    let tested = org.post(&format!("{}/test", hook.path), json!({})).status(200);
    assert_eq!((&tested["delivered"], &tested["response"]["status"]), (&json!(false), &json!(401)));
    let refused = &printed(&program, TOLD.len() + 2)[TOLD.len() + 1];
    assert_eq!((&refused["verified"], &refused["event"]), (&json!(false), &Value::Null));
    assert!(refused["problem"].as_str().unwrap().contains("secret"), "{refused}");
    program.signal("TERM");
    assert!(program.ended().status.success());
}

#[test]
fn what_is_verified_is_passed_on_byte_for_byte_and_its_answer_back() {
    let server = server(&[("webhooks.waits_ms", "600000")]);
    let org = server.organization();
    let behind = Upstream::that(answers("202 Accepted", &[], "mine"));
    let target = format!("http://{}/hook?from=listen", behind.address());
    let (program, _) = listening(&server, &org, &["--forward", &target, "--json"]);
    let id = org.get("/v1/webhooks").status(200)["data"][0]["id"].as_str().unwrap().to_owned();
    let secret = org
        .post(&format!("/v1/webhooks/{id}/rotate_secret"), json!({"grace_seconds": 3600}))
        .status(200)["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    org.patch(&format!("/v1/webhooks/{id}"), json!({"headers": {"X-Shop": "fern"}})).status(200);
    let tested = org.post(&format!("/v1/webhooks/{id}/test"), json!({})).status(200);
    assert_eq!(tested["response"], json!({"status": 202, "body": "mine"}));
    let asked = behind.asked().remove(0);
    assert!(asked.head.starts_with("POST /hook?from=listen HTTP/1.1"), "{}", asked.head);
    for (name, value) in tested["request"]["headers"].as_object().unwrap() {
        assert_eq!(asked.header(name), value.as_str(), "{name}");
    }
    assert_eq!(
        (asked.header("x-shop"), tested["request"]["body"].as_str().unwrap().as_bytes()),
        (Some("fern"), &*asked.bytes)
    );
    assert!(is_signed(&asked, &secret), "an integrator's own check passes too");
    // Nobody there is said, and is a failure for the sender.
    behind.now(vec![crate::harness::upstream::Act::Reset]);
    let tested = org.post(&format!("/v1/webhooks/{id}/test"), json!({})).status(200);
    assert_eq!(tested["response"]["status"], 502);
    assert!(printed(&program, 2)[1]["problem"].as_str().unwrap().contains("not passed on"));
    program.signal("INT");
    assert!(program.ended().status.success());
}

#[test]
fn a_receiver_fails_waits_and_is_gone_when_it_is_told_to() {
    let server = server(&[]);
    let org = server.organization();
    let (program, _) = listening(&server, &org, &["--fail", "503", "--delay", "300", "--json"]);
    let tested = |org: &Organization| {
        let id = org.get("/v1/webhooks").status(200)["data"][0]["id"].as_str().unwrap().to_owned();
        org.post(&format!("/v1/webhooks/{id}/test"), json!({})).status(200)
    };
    let failed = tested(&org);
    assert_eq!((&failed["delivered"], &failed["response"]["status"]), (&json!(false), &json!(503)));
    assert!(failed["timings"]["total_ms"].as_f64().unwrap() >= 300.0, "{}", failed.text());
    assert!(printed(&program, 1)[0]["took_ms"].as_u64().unwrap() >= 300);
    program.signal("INT");
    assert!(program.ended().status.success());
    let (program, _) = listening(&server, &org, &["--gone"]);
    talk(&org, "hello");
    eventually("the server disables it", || {
        let webhook = org.get("/v1/webhooks").status(200)["data"][0].clone();
        (webhook["disabled_reason"] == "gone").then_some(())
    });
    program.signal("INT");
    assert!(program.ended().status.success());
    assert_eq!(org.get("/v1/webhooks").status(200)["data"], json!([]));
}

#[test]
fn what_cannot_be_done_is_said_at_once() {
    let public = Server::start();
    let org = public.organization();
    let url = format!("http://{}", public.address());
    let run = |arguments: &[&str]| {
        Program::start(&[&["webhooks", "listen", "--listen", "127.0.0.1:0"], arguments].concat(), &[]).ended()
    };
    let refused = run(&["--url", &url, "--key", &org.primary_key]);
    assert!(!refused.status.success() && refused.err.contains("webhooks.allow_cidrs"), "{refused:?}");
    let refused = run(&[]);
    assert!(!refused.status.success() && refused.err.contains("--secret"), "{refused:?}");
    for wrong in [
        &["--secret", "whsec_x"] as &[&str],
        &["--url", &url],
        &["--fail", "99"],
        &["--fail", "500", "--gone"],
        &["--gone", "--forward", "http://127.0.0.1:3000/"],
        &["--forward", "127.0.0.1:3000"],
        &["--url", &url, "--key", "oc_live_x", "--events", "turn.completed"],
    ] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(org.get("/v1/webhooks").status(200)["data"], json!([]));
}
