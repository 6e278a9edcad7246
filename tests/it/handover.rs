//! A person is asked for, takes over and gives back: what each step does, and what every step refuses.

use serde_json::{Value, json};

use crate::harness::{Client, Organization, Reply, Server, eventually};

const ADA: &str = "Ada";

/// A conversation in which the AI has answered once.
#[track_caller]
fn begun(org: &Client) -> String {
    let started = org.post(
        "/v1/conversations",
        json!({
            "customer": {"id": "c-17", "name": "Grace", "email": "grace@example.com"},
            "language": "nl",
            "message": {"content": "Waar is mijn pakje?", "wait_seconds": 60},
        }),
    );
    let started = started.status(201);
    assert_eq!(started["turn"]["status"], "completed");
    started["conversation"]["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn request(org: &Client, conversation: &str, body: Value) -> Reply {
    org.post(&format!("/v1/conversations/{conversation}/handover"), body)
}

#[track_caller]
fn requested(org: &Client, conversation: &str) -> String {
    request(org, conversation, json!({})).status(201)["id"].as_str().unwrap().to_owned()
}

fn agent(name: &str) -> Value {
    json!({"agent": {"id": format!("agent-{name}"), "name": name}})
}

fn verb(org: &Client, handover: &str, verb: &str, body: Value) -> Reply {
    org.post(&format!("/v1/handovers/{handover}/{verb}"), body)
}

#[track_caller]
fn conversation(org: &Client, id: &str) -> Value {
    org.get(&format!("/v1/conversations/{id}")).status(200).json().clone()
}

#[track_caller]
fn events(org: &Client, id: &str) -> Vec<Value> {
    let page = org.get(&format!("/v1/conversations/{id}/events?limit=100")).status(200);
    page["data"].as_array().unwrap().clone()
}

#[track_caller]
fn kinds(org: &Client, id: &str) -> Vec<String> {
    events(org, id).iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn say(org: &Client, conversation: &str, body: Value) -> Reply {
    org.post(&format!("/v1/conversations/{conversation}/messages"), body)
}

#[test]
fn a_person_takes_over_speaks_and_gives_back() {
    let server = Server::start();
    let org = server.organization();
    let id = begun(&org);
    let asked =
        request(&org, &id, json!({"note": "VIP", "target": "returns", "reason": "policy"})).status(201);
    let handover = asked["id"].as_str().unwrap().to_owned();
    assert!(handover.starts_with("hdo_"));
    assert_eq!(asked.header("location"), Some(&*format!("/v1/handovers/{handover}")));
    assert_eq!(
        (&asked["state"], &asked["reason"], &asked["note"], &asked["target"]),
        (&json!("requested"), &json!("policy"), &json!("VIP"), &json!("returns"))
    );
    let waiting = conversation(&org, &id);
    assert_eq!((&waiting["status"], &waiting["owner"]), (&json!("waiting_for_human"), &json!("ai")));
    assert_eq!(waiting["handover"]["id"], *handover);
    say(&org, &id, json!({"content": "Not yet mine.", "role": "agent"})).refused(409, "handover_state");

    let accepted = verb(&org, &handover, "accept", agent(ADA)).status(200);
    assert_eq!((&accepted["state"], &accepted["agent"]["name"]), (&json!("accepted"), &json!(ADA)));
    let taken = conversation(&org, &id);
    assert_eq!(
        (&taken["status"], &taken["owner"], &taken["epoch"]),
        (&json!("with_human"), &json!("human"), &json!(2))
    );
    let heard = say(&org, &id, json!({"content": "Hallo?"})).status(200);
    assert_eq!((&heard["turn"], &heard["reply"]), (&Value::Null, &Value::Null));
    let said = say(&org, &id, json!({"content": "Ik ben Ada.", "role": "agent"})).status(200);
    assert_eq!(
        said["message"]["author"],
        agent(ADA)["agent"],
        "the accepting agent's, unless it says another"
    );

    let returned = verb(&org, &handover, "return", json!({"note": "Refund promised"})).status(200);
    assert_eq!((&returned["state"], &returned["note"]), (&json!("returned"), &json!("Refund promised")));
    let back = conversation(&org, &id);
    assert_eq!(
        (&back["status"], &back["owner"], &back["epoch"], &back["handover"]),
        (&json!("active"), &json!("ai"), &json!(3), &Value::Null)
    );
    let answered = say(&org, &id, json!({"content": "En nu?", "wait_seconds": 60})).status(200);
    assert_eq!(answered["turn"]["status"], "completed");
    let told = kinds(&org, &id);
    assert_eq!(
        told[5..],
        [
            "handover.requested",
            "handover.accepted",
            "message.received",
            "message.sent",
            "handover.returned",
            "message.sent",
            "message.received",
            "turn.started",
            "message.sent",
            "turn.completed",
        ]
    );
    let boundary = &events(&org, &id)[10]["data"]["message"];
    assert_eq!(boundary["role"], "system");
    assert_eq!(
        boundary["content"],
        "Het gesprek met onze collega is afgelopen. De assistent antwoordt weer."
    );
}

#[test]
fn the_one_who_accepts_first_wins_and_may_say_so_again() {
    let server = Server::start();
    let org = server.organization();
    let id = begun(&org);
    let handover = requested(&org, &id);
    verb(&org, &handover, "accept", agent(ADA)).status(200);
    let events = kinds(&org, &id).len();
    verb(&org, &handover, "accept", agent(ADA)).status(200);
    let late = verb(&org, &handover, "accept", agent("Bob")).refused(409, "handover_state");
    assert_eq!(late["error"]["agent"], agent(ADA)["agent"]);
    assert!(late["error"]["message"].as_str().unwrap().contains(ADA), "{}", late.text());
    let again = request(&org, &id, json!({})).status(200);
    assert_eq!(again["id"], *handover, "asking again gives the open one");
    request(&org, &id, json!({"accept": agent("Bob")})).refused(409, "handover_state");
    assert_eq!(kinds(&org, &id).len(), events, "none of these is an event");
}

#[test]
fn a_running_answer_ends_as_a_person_takes_over_in_one_step() {
    let server =
        Server::with(&[("model.synthetic.tokens_per_second", "0.001"), ("model.synthetic.tokens", "9")]);
    let org = server.organization();
    let started =
        org.post("/v1/conversations", json!({"message": {"content": "Tell me.", "wait_seconds": 0}}));
    let id = started.status(202)["conversation"]["id"].as_str().unwrap().to_owned();
    let mut stream = org.stream(&format!("/v1/conversations/{id}/stream"));
    let first = stream.until("turn.delta");
    say(&org, &id, json!({"content": "And this?", "wait_seconds": 0})).status(202);
    let accepted = request(&org, &id, json!({"accept": agent(ADA), "reason": "api"})).status(201);
    assert_eq!(accepted["state"], "accepted");
    let shown = accepted["messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&shown["role"], &shown["content"]), (&json!("assistant"), &first.data["text"]));
    let told = kinds(&org, &id);
    assert_eq!(
        told[5..],
        ["handover.requested", "message.sent", "turn.stopped", "turn.stopped", "handover.accepted"]
    );
    for event in events(&org, &id).iter().filter(|event| event["type"] == "turn.stopped") {
        assert_eq!(event["data"]["turn"]["stop_reason"], "handover");
    }
    let after = stream.until("handover.accepted");
    assert_eq!(
        after.data["data"]["handover"],
        *org.get(&format!("/v1/handovers/{}", accepted["id"].as_str().unwrap())).status(200).json()
    );
}

#[test]
fn every_verb_is_refused_in_the_states_that_it_does_not_belong_to() {
    let server = Server::start();
    let org = server.organization();
    let way = |steps: &[(&str, Value)]| {
        let id = begun(&org);
        let handover = requested(&org, &id);
        for (step, body) in steps {
            verb(&org, &handover, step, body.clone()).status(200);
        }
        (id, handover)
    };
    let accept = ("accept", agent(ADA));
    for (steps, held, status) in [
        (vec![], None, "waiting_for_human"),
        (vec![accept.clone()], Some("accept"), "with_human"),
        (vec![accept.clone(), ("return", json!({}))], Some("return"), "active"),
        (vec![accept.clone(), ("close", json!({"resolution": "resolved"}))], Some("close"), "completed"),
        (vec![("cancel", json!({}))], Some("cancel"), "active"),
    ] {
        let next: &[&str] = match steps.last().map(|step| step.0) {
            None => &["accept", "cancel"],
            Some("accept") => &["return", "close"],
            _ => &[],
        };
        for asked in ["accept", "return", "close", "cancel"].into_iter().filter(|verb| !next.contains(verb)) {
            let (id, handover) = way(&steps);
            let before = kinds(&org, &id);
            let body = if asked == "accept" { agent(ADA) } else { json!({}) };
            let reply = verb(&org, &handover, asked, body);
            if held == Some(asked) {
                reply.status(200);
            } else {
                reply.refused(409, "handover_state");
            }
            assert_eq!(kinds(&org, &id), before, "{asked} after {steps:?}");
            assert_eq!(conversation(&org, &id)["status"], status, "{asked} after {steps:?}");
        }
    }
}

#[test]
fn completing_a_conversation_ends_its_handover_and_reopening_gives_it_to_the_ai() {
    let server = Server::start();
    let org = server.organization();
    let waits = begun(&org);
    let cancelled = requested(&org, &waits);
    org.post(&format!("/v1/conversations/{waits}/complete"), json!({})).status(200);
    assert_eq!(kinds(&org, &waits)[6..], ["handover.cancelled", "conversation.completed"]);
    let again = org.post(&format!("/v1/conversations/{waits}/complete"), json!({"resolution": "resolved"}));
    assert_eq!(again.status(200)["resolution"], Value::Null, "how it ended stays as it was said first");
    assert_eq!(org.get(&format!("/v1/handovers/{cancelled}")).status(200)["state"], "cancelled");
    request(&org, &waits, json!({})).refused(409, "conversation_completed");

    let taken = begun(&org);
    let closed = requested(&org, &taken);
    verb(&org, &closed, "accept", agent(ADA)).status(200);
    org.post(&format!("/v1/conversations/{taken}/complete"), json!({"resolution": "resolved"})).status(200);
    assert_eq!(kinds(&org, &taken)[7..], ["handover.closed", "conversation.completed"]);
    let again = say(&org, &taken, json!({"content": "One more thing", "wait_seconds": 60})).status(200);
    assert_eq!(again["turn"]["status"], "completed");
    let back = conversation(&org, &taken);
    assert_eq!(
        (&back["owner"], &back["epoch"], &back["status"], &back["handover"]),
        (&json!("ai"), &json!(3), &json!("active"), &Value::Null)
    );
}

#[test]
fn handovers_are_listed_by_state_and_belong_to_their_organization() {
    let server = Server::start();
    let org = server.organization();
    let ids: Vec<String> = (0..3).map(|_| requested(&org, &begun(&org))).collect();
    verb(&org, &ids[1], "cancel", json!({})).status(200);
    let listed = |query: &str| -> Vec<String> {
        let page = org.get(&format!("/v1/handovers{query}")).status(200);
        page["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(""), [&*ids[2], &ids[1], &ids[0]]);
    assert_eq!(listed("?state=requested&order=asc"), [&*ids[0], &ids[2]]);
    assert_eq!(listed("?state=cancelled"), [&*ids[1]]);
    let first = org.get("/v1/handovers?limit=2").status(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(listed(&format!("?limit=2&cursor={cursor}")), [&*ids[0]]);
    org.get("/v1/handovers?state=open").refused(400, "invalid_field").naming("state");

    let other = Organization::create(&server, "Other");
    assert_eq!(other.get("/v1/handovers").status(200)["data"], json!([]));
    other.get(&format!("/v1/handovers/{}", ids[0])).refused(404, "not_found");
    verb(&other, &ids[0], "accept", agent(ADA)).refused(404, "not_found");
    verb(&org, "hdo_nonsense", "accept", agent(ADA)).refused(404, "not_found");
    let get = org.get(&format!("/v1/handovers/{}/accept", ids[0])).refused(405, "method_not_allowed");
    assert_eq!(get.header("allow"), Some("POST"));
}

#[test]
fn whoever_acts_as_a_person_needs_the_scope_for_it_and_nothing_else() {
    let server = Server::start();
    let org = server.organization();
    let [reader, writer, person] = ["conversations:read", "conversations:write", "handover:write"]
        .map(|scope| org.restricted(&server, scope));
    let id = begun(&org);
    request(&reader, &id, json!({})).refused(403, "missing_scope").naming("handover:write");
    request(&writer, &id, json!({"accept": agent(ADA)}))
        .refused(403, "missing_scope")
        .naming("handover:write");
    let handover = requested(&writer, &id);
    verb(&writer, &handover, "accept", agent(ADA)).refused(403, "missing_scope").naming("handover:write");
    verb(&person, &handover, "accept", agent(ADA)).status(200);
    say(&person, &id, json!({"content": "Hello", "role": "agent"})).status(200);
    person.post(&format!("/v1/conversations/{id}/typing"), json!({"role": "agent"})).status(204);
    verb(&person, &handover, "return", json!({})).status(200);
    person
        .get(&format!("/v1/handovers/{handover}"))
        .refused(403, "missing_scope")
        .naming("conversations:read");
    reader.get(&format!("/v1/handovers/{handover}")).status(200);
    requested(&person, &id);
}

#[test]
fn what_cannot_be_asked_is_refused_by_name() {
    let server = Server::start();
    let org = server.organization();
    let id = begun(&org);
    for (body, param) in [
        (json!({"reason": "boredom"}), "reason"),
        (json!({"timeout_seconds": 0}), "timeout_seconds"),
        (json!({"timeout_seconds": 604_801}), "timeout_seconds"),
        (json!({"note": "x".repeat(2_001)}), "note"),
        (json!({"target": ""}), "target"),
        (json!({"accept": {"agent": {"id": ""}}}), "accept.agent.id"),
    ] {
        request(&org, &id, body).refused(400, "invalid_field").naming(param);
    }
    let handover = requested(&org, &id);
    verb(&org, &handover, "accept", json!({})).refused(400, "invalid_field").naming("agent");
    verb(&org, &handover, "close", json!({"resolution": "maybe"})).refused(400, "invalid_field");
    verb(&org, &handover, "cancel", json!({"why": "so"})).refused(400, "unknown_field").naming("why");
    assert_eq!(conversation(&org, &id)["handover"]["state"], "requested");
}

#[test]
fn a_request_that_is_sent_again_gets_the_same_handover() {
    let server = Server::start();
    let org = server.organization();
    let id = begun(&org);
    let path = format!("/v1/conversations/{id}/handover");
    let send =
        || org.request("POST", &path).header("Idempotency-Key", "once").json(&json!({"note": "n"})).send();
    let first = send().status(201);
    let handover = first["id"].as_str().unwrap();
    verb(&org, handover, "cancel", json!({})).status(200);
    let again = send().status(201);
    assert_eq!((&again["id"], again.header("idempotent-replayed")), (&first["id"], Some("true")));
    assert_eq!(again["state"], "cancelled", "a repeat shows the present state");
    assert_eq!(kinds(&org, &id).iter().filter(|kind| *kind == "handover.requested").count(), 1);
}

#[test]
fn nobody_coming_in_time_is_told_also_after_a_crash_and_a_latecomer_may_still_take_over() {
    let mut server = Server::start();
    let org = server.organization();
    let [waits, crashes] = [begun(&org), begun(&org)];
    let handover = |id: &str| {
        request(&org, id, json!({"timeout_seconds": 1})).status(201)["id"].as_str().unwrap().to_owned()
    };
    let expired = handover(&waits);
    let last = |id: &str| events(&org, id).last().unwrap().clone();
    let told = eventually("the customer is told", || {
        Some(last(&waits))
            .filter(|event| event["type"] == "message.sent" && event["data"]["message"]["role"] == "system")
    });
    assert!(
        told["data"]["message"]["content"].as_str().unwrap().starts_with("Sorry, er kon nog geen collega")
    );
    assert_eq!(kinds(&org, &waits)[5..], ["handover.requested", "handover.expired", "message.sent"]);
    let after = conversation(&org, &waits);
    assert_eq!((&after["status"], &after["handover"]["state"]), (&json!("active"), &json!("expired")));

    let survives = handover(&crashes);
    server.crash();
    eventually("it expires after the crash", || {
        (conversation(&org, &crashes)["handover"]["state"] == "expired").then_some(())
    });
    assert_eq!(kinds(&org, &crashes)[5..], ["handover.requested", "handover.expired", "message.sent"]);

    verb(&org, &expired, "cancel", json!({})).refused(409, "handover_state");
    let newer = requested(&org, &waits);
    assert_ne!(newer, expired, "a new one");
    verb(&org, &expired, "accept", agent(ADA)).refused(409, "handover_state");
    verb(&org, &newer, "cancel", json!({})).status(200);
    verb(&org, &expired, "accept", agent(ADA)).status(200);
    assert_eq!(conversation(&org, &waits)["owner"], "human", "late is better than never");
    org.post(&format!("/v1/conversations/{crashes}/complete"), json!({})).status(200);
    verb(&org, &survives, "accept", agent(ADA)).refused(409, "handover_state");
}
