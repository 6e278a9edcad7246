//! Conversations that nobody goes on with complete by themselves, with how they ended.

use serde_json::{Value, json};

use crate::harness::{Organization, Server, eventually};

const ANSWERED: &str = "How do I follow my parcel?";
const UNANSWERED: &str = "Do zebras hibernate?";

const TWO_DAYS_MS: i64 = 2 * 86_400_000;

fn shop(settings: &[(&str, &str)]) -> (Server, Organization) {
    let server = Server::with(&[&[("model.providers", "builtin")], settings].concat());
    let org = server.organization();
    let article =
        json!({"title": "How do I follow my parcel?", "content": "Follow your parcel with the code."});
    org.post("/v1/knowledge", article).status(201);
    (server, org)
}

fn start(org: &Organization, question: &str, outcome: &str) -> String {
    let started = org.post("/v1/conversations", json!({"message": question, "language": "en"})).status(201);
    assert_eq!(started["turn"]["outcome"], outcome, "{}", started.text());
    format!("/v1/conversations/{}", started["conversation"]["id"].as_str().unwrap())
}

/// As if everything had happened two days ago.
fn long_ago(server: &Server) {
    for column in ["started_at", "last_message_at"] {
        server.execute(&format!("UPDATE conversations SET {column} = {column} - {TWO_DAYS_MS}"));
    }
    server.execute(&format!("UPDATE open_conversations SET seen_at = seen_at - {TWO_DAYS_MS}"));
}

fn completed(org: &Organization, path: &str) -> Value {
    eventually("it is completed", || {
        let conversation = org.get(path).status(200);
        (conversation["status"] == "completed").then(|| conversation["resolution"].clone())
    })
}

#[test]
fn an_idle_conversation_is_resolved_if_its_last_answer_was_grounded() {
    let (mut server, org) = shop(&[]);
    let answered = start(&org, ANSWERED, "answered");
    let thanked = start(&org, ANSWERED, "answered");
    let thanks = org.post(&format!("{thanked}/messages"), json!({"content": "Thank you!"})).status(200);
    assert_eq!(thanks["turn"]["outcome"], "small_talk");
    let unanswered = start(&org, ANSWERED, "answered");
    org.post(&format!("{unanswered}/messages"), json!({"content": UNANSWERED})).status(200);
    let silent = org.post("/v1/conversations", json!({})).status(201);
    let silent = format!("/v1/conversations/{}", silent["conversation"]["id"].as_str().unwrap());
    let waiting = start(&org, ANSWERED, "answered");
    let handover = org.post(&format!("{waiting}/handover"), json!({"timeout_seconds": null})).status(201);
    let done = start(&org, ANSWERED, "answered");
    org.post(&format!("{done}/complete"), json!({"resolution": "unresolved"})).status(200);
    assert!(server.stop().success());
    long_ago(&server);
    server.start_again();
    let active = start(&org, ANSWERED, "answered");
    for (path, resolution) in [
        (&answered, "resolved"),
        (&thanked, "resolved"),
        (&unanswered, "unresolved"),
        (&silent, "unresolved"),
        (&waiting, "unresolved"),
        (&done, "unresolved"),
    ] {
        assert_eq!(completed(&org, path), resolution, "{path}");
    }
    assert_eq!(org.get(&active).status(200)["status"], "active");
    let events = org.get(&format!("{answered}/events?order=desc&limit=1")).status(200);
    assert_eq!(events["data"][0]["type"], "conversation.completed");
    let handover = org.get(&format!("/v1/handovers/{}", handover["id"].as_str().unwrap())).status(200);
    assert_eq!(handover["state"], "cancelled");
    let audited = org.get("/v1/audit?action=handover.cancelled").status(200);
    assert_eq!(audited["data"][0]["actor"]["type"], "system");
    // What is completed costs nothing any more: the one that is left is the active one's.
    assert_eq!(server.number("SELECT COUNT(*) FROM open_conversations"), 1);
}

#[test]
fn an_active_conversation_stays_open_and_a_reopened_one_is_watched_again() {
    let (mut server, org) = shop(&[]);
    let (reopened, active) = (start(&org, ANSWERED, "answered"), start(&org, ANSWERED, "answered"));
    assert!(server.stop().success());
    // Seen long ago, and active since.
    server.execute(&format!("UPDATE open_conversations SET seen_at = seen_at - {TWO_DAYS_MS}"));
    let idle = format!("WHERE id = '{}'", reopened.rsplit('/').next().unwrap());
    server.execute(&format!(
        "UPDATE conversations SET last_message_at = last_message_at - {TWO_DAYS_MS} {idle}"
    ));
    server.start_again();
    assert_eq!(completed(&org, &reopened), "resolved");
    eventually("the active one was seen", || {
        let seen = "SELECT COUNT(*) FROM open_conversations o JOIN conversations c
            ON c.id = o.conversation_id AND o.seen_at = c.last_message_at";
        (server.number(seen) == 1).then_some(())
    });
    assert_eq!(org.get(&active).status(200)["status"], "active");
    org.post(&format!("{reopened}/messages"), json!({"content": ANSWERED})).status(200);
    assert_eq!(server.number("SELECT COUNT(*) FROM open_conversations"), 2);
    org.delete(&active).status(204);
    assert_eq!(server.number("SELECT COUNT(*) FROM open_conversations"), 1);
    assert!(server.stop().success());
    long_ago(&server);
    server.start_again();
    assert_eq!(completed(&org, &reopened), "resolved");
}
