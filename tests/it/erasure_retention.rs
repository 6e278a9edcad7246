//! Conversations are kept as long as their organization says, and erased like any other afterwards.

use serde_json::json;

use crate::harness::{
    Organization, eventually,
    webhook::{hook, receiver, server, settled},
};

fn start(org: &Organization, message: &str) -> String {
    let started = org.post("/v1/conversations", json!({ "message": message })).status(201);
    started["conversation"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_past_its_time_is_erased_and_nothing_else() {
    let mut server = server(&[]);
    let (org, other) = (server.organization(), server.organization());
    let receiver = receiver();
    let hook = hook(&org, &receiver, json!({"events": ["conversation.deleted"]}));
    org.patch("/v1/organization", json!({"retention_days": 30})).status(200);
    let old = [start(&org, "long ago in vermilion"), start(&org, "long ago too, in vermilion")];
    let (active, new) = (start(&org, "long ago, and still active"), start(&org, "just now"));
    let kept = start(&other, "long ago, and kept for ever");
    assert!(server.stop().success());
    let ago = |days: i64| format!("(SELECT MAX(started_at) FROM conversations) - {}", days * 86_400_000);
    for id in [&old[0], &old[1], &active, &kept] {
        let (started, spoken) = (ago(100), if *id == active { ago(29) } else { ago(31) });
        server.execute(&format!(
            "UPDATE conversations SET started_at = {started}, last_message_at = {spoken} WHERE id = '{id}'"
        ));
    }
    server.start_again();
    eventually("what is past its time is gone", || {
        let left = org.get("/v1/conversations").status(200);
        (left["data"].as_array().unwrap().len() == 2).then_some(())
    });
    for id in [&active, &new] {
        org.get(&format!("/v1/conversations/{id}")).status(200);
    }
    other.get(&format!("/v1/conversations/{kept}")).status(200);
    let audited = eventually("the pass has ended", || {
        let audited = org.get("/v1/audit?action=conversations.erased").status(200);
        (audited["data"][0]["target"]["count"] == 2).then_some(audited)
    });
    assert_eq!(audited["data"].as_array().unwrap().len(), 1, "one entry a pass");
    assert_eq!(audited["data"][0]["actor"], json!({"type": "system", "id": null, "name": null}));
    settled(&org, &hook, "delivered", 2);
    assert_eq!(receiver.asked().len(), 2);
    assert!(server.stop().success());
    assert_eq!(server.places_of("vermilion"), [""; 0]);
}
