//! What agents are told first: without a model at once, by a model once it has spoken.

use serde_json::{Value, json};

use crate::{
    harness::{
        eventually,
        upstream::{Act, Asked, Upstream, finish, says, streams},
    },
    talk::Talk,
    upstream::server_with,
};

/// Is a colleague briefed, rather than a customer answered?
fn briefs(asked: &Asked) -> bool {
    asked.body["messages"][0]["content"].as_str().unwrap().starts_with("You brief a colleague")
}

#[test]
fn a_model_tells_agents_what_it_is_about_and_no_event_waits_for_it() {
    let upstream = Upstream::that(says(&["Hello."]));
    upstream.by(|asked| match briefs(asked) {
        // Not before the event has been read.
        true => [vec![Act::Wait], says(&["Ada misses a parcel. ", "Nothing was found."])].concat(),
        false => says(&["I do not know."]),
    });
    let server = server_with(&upstream, "openai", &[]);
    let org = server.organization();
    let talk = Talk::with(&org, json!({"language": "nl", "customer": {"name": "Ada"}}));
    talk.post("/messages", json!({"content": "Waar is mijn pakje?", "wait_seconds": 60})).status(200);
    let asked = talk.post("/handover", json!({})).status(201);
    let path = format!("/v1/handovers/{}", asked["id"].as_str().unwrap());
    let without = asked["summary"].as_str().unwrap();
    for told in ["Een programma vroeg om een medewerker", "Waar is mijn pakje?", "Ada"] {
        assert!(without.contains(told), "{told} in {without}");
    }
    eventually("the model is asked", || upstream.asked().iter().any(briefs).then_some(()));
    assert_eq!(org.get(&path).status(200)["summary"], *without);
    upstream.go_on();
    eventually("the model's summary comes", || {
        let summary = org.get(&path).status(200)["summary"].clone();
        (summary == "Ada misses a parcel. Nothing was found.").then_some(())
    });
    let events = talk.get("/events?limit=100").status(200);
    let event = events["data"].as_array().unwrap().iter().find(|event| event["type"] == "handover.requested");
    assert_eq!(event.unwrap()["data"]["handover"]["summary"], *without, "an event is frozen");

    let asked: Vec<_> = upstream.asked().into_iter().filter(briefs).collect();
    let [asked] = asked.as_slice() else { panic!("asked {} times", asked.len()) };
    assert_eq!(asked.roles(), ["system", "user"]);
    assert!(asked.body["messages"][0]["content"].as_str().unwrap().ends_with("Write in Dutch."));
    let said: Vec<Value> = asked.body["messages"][1]["content"]
        .as_str()
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        said,
        [
            json!({"from": "customer", "text": "Waar is mijn pakje?"}),
            json!({"from": "assistant", "text": "I do not know."}),
        ]
    );
}

#[test]
fn a_model_that_fails_to_tell_leaves_the_summary_as_it_was() {
    let upstream = Upstream::that(says(&["Hello."]));
    upstream.by(|asked| if briefs(asked) { streams(&[finish("stop")]) } else { says(&["I do not know."]) });
    let server = server_with(&upstream, "openai", &[]);
    let org = server.organization();
    let talk = Talk::start(&org);
    talk.post("/messages", json!({"content": "Where is my parcel?", "wait_seconds": 60})).status(200);
    let asked = talk.post("/handover", json!({})).status(201);
    eventually("the model is asked", || upstream.asked().iter().any(briefs).then_some(()));
    talk.post("/messages", json!({"content": "And now?", "wait_seconds": 60})).status(200);
    let path = format!("/v1/handovers/{}", asked["id"].as_str().unwrap());
    assert_eq!(org.get(&path).status(200)["summary"], asked["summary"]);
}
