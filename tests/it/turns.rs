//! Turns: what a message that finds one running does, and how they end.

use std::thread;

use serde_json::{Value, json};

use crate::{
    harness::{Server, eventually, is_postgres},
    talk::{Heard, Talk, endless, silent, words},
};

fn said<'v>(messages: &'v [Value], role: &str) -> Vec<&'v Value> {
    messages.iter().filter(|message| message["role"] == role).collect()
}

#[test]
fn a_message_that_queues_gets_a_turn_of_its_own_in_order() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let first = talk.hold(silent());
    let second = talk.send(json!({"content": "second", "wait_seconds": 0})).status(202);
    assert_eq!(second["turn"]["status"], "queued");
    let second = second["turn"]["id"].as_str().unwrap().to_owned();
    assert_eq!(talk.conversation()["active_turn_id"], json!(first));

    talk.post("/stop", json!({})).status(200);
    assert_eq!(talk.ended(&second)["status"], "completed");
    assert_eq!(
        talk.kinds()[1..],
        [
            "message.received",
            "turn.started",
            "message.received",
            "turn.queued",
            "turn.stopped",
            "turn.started",
            "message.sent",
            "turn.completed"
        ]
    );
}

#[test]
fn a_message_that_rejects_stores_nothing_while_a_turn_runs() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let running = talk.hold(silent());
    let before = talk.events();
    let refused = talk.send(json!({"content": "now", "on_busy": "reject"})).refused(409, "turn_in_progress");
    assert_eq!(refused["error"]["turn_id"], json!(running));
    let stream = refused["error"]["stream_url"].as_str().unwrap().to_owned();
    assert_eq!(talk.events(), before);

    // The URL leads to the turn that is in the way.
    let mut watching = org.stream(&stream);
    watching.until("turn.started");
    talk.post("/stop", json!({})).status(200);
    watching.until("turn.stopped");
    talk.send(json!({"content": "now", "on_busy": "reject"})).status(200);
}

#[test]
fn a_message_that_interrupts_keeps_what_was_said_and_is_answered_at_once() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let mut spoken = talk.streamed(json!({"content": "speak", "synthetic": endless()}));
    spoken.until("turn.delta");
    let waiting = talk.hold(silent());
    let interrupting = talk.send(json!({"content": "wait!", "on_busy": "interrupt"})).status(200);
    assert_eq!(interrupting["turn"]["status"], "completed");

    let heard = Heard::all(&mut spoken);
    let [sent, stopped] = &heard.durable[..] else { panic!("{heard:?}") };
    assert_eq!(stopped["data"]["turn"]["stop_reason"], "interrupted");
    let partial = &sent["data"]["message"];
    assert_eq!(partial["status"], "partial");
    assert!(!partial["content"].as_str().unwrap().is_empty());
    assert_eq!(stopped["data"]["turn"]["reply_id"], partial["id"]);
    assert_eq!(talk.turn(&waiting)["stop_reason"], "superseded");
    assert_eq!(said(&talk.messages(), "assistant")[0], partial);
}

#[test]
fn messages_that_merge_share_the_turn_that_waits() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    talk.hold(silent());
    let burst: Vec<_> = (0..5)
        .map(|n| {
            let sent =
                talk.send(json!({"content": format!("part {n}"), "on_busy": "merge", "wait_seconds": 0}));
            sent.status(202).json().clone()
        })
        .collect();
    let turn = burst[0]["turn"]["id"].as_str().unwrap();
    assert!(burst.iter().all(|sent| sent["turn"]["id"] == json!(turn)), "{burst:?}");
    talk.post("/stop", json!({})).status(200);
    let ids: Vec<_> = burst.iter().map(|sent| sent["message"]["id"].clone()).collect();
    let answered = talk.ended(turn);
    assert_eq!((&answered["status"], &answered["message_ids"]), (&json!("completed"), &json!(ids)));
    assert_eq!(said(&talk.messages(), "assistant").len(), 1);
}

#[test]
fn a_burst_of_twenty_has_one_order_and_every_message_an_answer() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let answers: Vec<_> = thread::scope(|scope| {
        let sending: Vec<_> = (0..20)
            .map(|n| {
                let talk = &talk;
                let body = json!({"content": format!("m{n}"), "on_busy": "merge", "synthetic": words(3)});
                scope.spawn(move || talk.send(body).status(200).json().clone())
            })
            .collect();
        sending.into_iter().map(|sent| sent.join().unwrap()).collect()
    });
    let messages = talk.messages();
    assert_eq!(said(&messages, "customer").len(), 20);
    for answer in &answers {
        assert_eq!(answer["turn"]["status"], "completed", "{answer}");
        let ids = answer["turn"]["message_ids"].as_array().unwrap();
        assert!(ids.contains(&answer["message"]["id"]), "{answer}");
    }
    let kinds = talk.kinds();
    let count = |kind: &str| kinds.iter().filter(|known| *known == kind).count();
    assert_eq!(count("turn.started"), count("turn.completed"));
    assert_eq!(count("message.sent"), count("turn.completed"));
}

#[test]
fn the_ninth_waiting_turn_is_refused_and_nothing_of_it_is_stored() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    talk.hold(silent());
    for _ in 0..8 {
        talk.hold(silent());
    }
    let before = talk.events();
    talk.send(json!({"content": "ninth"})).refused(409, "turn_queue_full");
    talk.send(json!({"content": "ninth", "stream": true})).refused(409, "turn_queue_full");
    assert_eq!(talk.events(), before);
    // One that joins or interrupts needs no place.
    talk.send(json!({"content": "join", "on_busy": "merge", "wait_seconds": 0})).status(202);
    talk.send(json!({"content": "now", "on_busy": "interrupt"})).status(200);
}

#[test]
fn a_stop_keeps_what_was_shown_and_says_so_once() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let mut spoken = talk.streamed(json!({"content": "speak", "synthetic": endless()}));
    let mut heard = Heard::until(&mut spoken, "turn.delta");
    let turn = heard.durable[0]["data"]["turn_id"].as_str().unwrap().to_owned();

    let stopped = talk.post(&format!("/turns/{turn}/stop"), json!({})).status(200);
    assert_eq!((&stopped["status"], &stopped["stop_reason"]), (&json!("stopped"), &json!("requested")));
    for event in spoken.by_ref() {
        heard.add(&event);
    }
    assert_eq!(heard.kinds(), ["message.received", "turn.started", "message.sent", "turn.stopped"]);
    let reply = &heard.durable[2]["data"]["message"];
    assert_eq!(
        (reply["content"].as_str().unwrap(), &reply["status"]),
        (heard.text.as_str(), &json!("partial"))
    );

    // Again, by either form, and with a body or without.
    assert_eq!(talk.post(&format!("/turns/{turn}/stop"), json!({})).status(200).json(), stopped.json());
    assert_eq!(talk.request("POST", "/stop").send().status(200).json(), &json!({"turn": null}));
    assert_eq!(talk.kinds().iter().filter(|kind| *kind == "turn.stopped").count(), 1);
}

#[test]
fn a_stop_before_the_first_word_leaves_no_reply() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let turn = talk.hold(silent());
    let stopped = talk.post("/stop", json!({})).status(200);
    assert_eq!((&stopped["turn"]["id"], &stopped["turn"]["reply_id"]), (&json!(turn), &Value::Null));
    assert_eq!(talk.messages().len(), 1);
}

#[test]
fn a_waiting_turn_can_be_stopped_and_an_unknown_one_not() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let running = talk.hold(silent());
    let waiting = talk.hold(silent());
    let stopped = talk.post(&format!("/turns/{waiting}/stop"), json!({})).status(200);
    assert_eq!((&stopped["status"], &stopped["stop_reason"]), (&json!("stopped"), &json!("requested")));
    assert_eq!(talk.turn(&running)["status"], "running");
    let unknown = running.replace(&running[20..], &waiting[20..]).replace("turn_", "turn_0");
    talk.post(&format!("/turns/{}/stop", &unknown[..31]), json!({})).refused(404, "not_found");
    talk.post("/turns/x/stop", json!({})).refused(404, "not_found");
    talk.post("/stop", json!({"why": 1})).refused(400, "unknown_field");

    // An older turn than the last shows how it ended.
    talk.post("/stop", json!({})).status(200);
    talk.send(json!({"content": "next"})).status(200);
    assert_eq!(talk.post(&format!("/turns/{running}/stop"), json!({})).status(200)["status"], "stopped");
}

#[test]
fn a_retry_is_a_new_turn_for_the_same_messages() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let first = talk.send(json!({"content": "hi", "synthetic": words(4)})).status(200);
    let of = first["turn"]["id"].as_str().unwrap();
    let again = talk.post(&format!("/turns/{of}/retry"), json!({})).status(200);
    assert_ne!(again["turn"]["id"], first["turn"]["id"]);
    assert_eq!(again["turn"]["retry_of"], first["turn"]["id"]);
    assert_eq!(again["turn"]["message_ids"], first["turn"]["message_ids"]);
    assert_eq!((&again["message"], &again["turn"]["status"]), (&first["message"], &json!("completed")));
    assert_ne!(again["reply"]["id"], first["reply"]["id"]);
    assert_eq!(talk.turn(of), first["turn"]);
    assert_eq!(talk.messages(), [first["message"].clone(), first["reply"].clone(), again["reply"].clone()]);

    // Only the last turn, and only once it has ended.
    talk.post(&format!("/turns/{of}/retry"), json!({})).refused(409, "turn_not_retryable");
    let running = talk.hold(silent());
    talk.post(&format!("/turns/{running}/retry"), json!({})).refused(409, "turn_not_retryable");
    talk.post("/stop", json!({})).status(200);
    let mut streamed =
        talk.request("POST", &format!("/turns/{running}/retry")).json(&json!({"stream": true})).stream();
    streamed.until("turn.started");
    talk.post("/stop", json!({})).status(200);
    assert_eq!(Heard::all(&mut streamed).kinds(), ["turn.stopped"]);
}

#[test]
fn a_failed_turn_is_an_answer_that_says_so() {
    let server = Server::start();
    let org = server.organization();
    let fails = json!({"tokens": 5, "failure_rate": 1, "tokens_per_second": 0, "first_token_ms": 0});
    let message = json!({"content": "hi", "synthetic": fails});
    let started = org.post("/v1/conversations", json!({"message": message})).status(201);
    assert_eq!(started["turn"]["status"], "failed");
    assert_eq!(started["turn"]["error"]["code"], "model_failed");
}

#[test]
fn a_repeated_client_message_id_stores_nothing_and_gets_the_first_result() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let body = json!({"content": "hi", "client_message_id": "m-1", "metadata": {"a": "1"}});
    let first = talk.send(body.clone()).status(200);
    let before = talk.events();
    let again = talk.send(body.clone()).status(200);
    assert_eq!(again.json(), first.json());
    let streamed = Heard::all(&mut talk.streamed(body.clone()));
    assert_eq!(streamed.kinds(), ["message.received", "turn.started", "message.sent", "turn.completed"]);
    assert_eq!(streamed.text, first["reply"]["content"].as_str().unwrap());

    for other in [json!({"content": "other"}), json!({"metadata": {}}), json!({"synthetic": words(2)})] {
        let mut changed = body.clone();
        changed.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        talk.send(changed).refused(422, "client_message_id_reused").naming("client_message_id");
    }
    assert_eq!(talk.events(), before);
    // It is unique within its conversation only.
    Talk::start(&org).send(body).status(200);
}

#[test]
fn a_repeat_in_mid_answer_joins_the_turn_that_runs() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let body = json!({"content": "hi", "client_message_id": "m-1", "synthetic": endless()});
    let mut first = talk.streamed(body.clone());
    first.until("turn.delta");
    let mut second = talk.streamed(body.clone());
    second.until("turn.delta");
    talk.post("/stop", json!({})).status(200);
    assert_eq!(first.until("turn.stopped").data, second.until("turn.stopped").data);
    assert_eq!(said(&talk.messages(), "customer").len(), 1);
}

#[test]
fn who_does_not_wait_is_told_that_the_work_goes_on() {
    let server = Server::start();
    let org = server.organization();
    let at_once = json!({"message": {"content": "hi", "wait_seconds": 0, "synthetic": silent()}});
    let started = org.post("/v1/conversations", at_once).status(202);
    assert_eq!((&started["turn"]["status"], &started["reply"]), (&json!("running"), &Value::Null));
    assert!(started.header("location").is_some());

    let talk = Talk::start(&org);
    let body = json!({"content": "hi", "wait_seconds": 1, "synthetic": silent()});
    let sent = talk.send(body).status(202);
    assert_eq!((&sent["turn"]["status"], &sent["reply"]), (&json!("running"), &Value::Null));
    // It does go on.
    assert_eq!(talk.turn(sent["turn"]["id"].as_str().unwrap())["status"], "running");
}

#[test]
fn a_turn_whose_reader_left_goes_on_unless_it_was_asked_to_stop() {
    let server = Server::start();
    let org = server.organization();
    for (way, streamed) in [("stop", true), ("stop", false), ("continue", true), ("continue", false)] {
        let talk = Talk::start(&org);
        let body = json!({
            "content": "hi", "stream": streamed, "on_disconnect": way, "synthetic": endless(), "wait_seconds": 120
        });
        let mut connection = server.connect();
        connection.send(&talk.request("POST", "/messages").json(&body).bytes()).unwrap();
        let turn = eventually("a running turn", || {
            talk.conversation()["active_turn_id"].as_str().map(str::to_owned)
        });
        // Until somebody has heard something of it, so that there is something to keep.
        talk.client.stream(&talk.path(&format!("/turns/{turn}/stream"))).until("turn.delta");
        drop(connection);
        if way == "stop" {
            let stopped = talk.ended(&turn);
            assert_eq!(
                (&stopped["status"], &stopped["stop_reason"]),
                (&json!("stopped"), &json!("disconnected")),
                "streamed: {streamed}"
            );
            assert_eq!(said(&talk.messages(), "assistant")[0]["status"], "partial");
        } else {
            let mut watching = talk.client.stream(&talk.path(&format!("/turns/{turn}/stream")));
            watching.until("turn.delta");
            assert_eq!(talk.turn(&turn)["status"], "running");
            talk.post("/stop", json!({})).status(200);
        }
    }
}

#[test]
fn a_reader_that_left_is_noticed_at_once() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    let open = || {
        let metrics = server.client().get("/metrics").status(200).text();
        let line =
            metrics.lines().find(|line| line.starts_with("openclaw_streams_active ")).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse::<i64>().unwrap()
    };
    let watching: Vec<_> = (0..5).map(|_| talk.client.stream(&talk.path("/stream"))).collect();
    assert_eq!(open(), 5);
    drop(watching);
    // Long before the first keep-alive would find out.
    eventually("all streams to be closed", || (open() == 0).then_some(()));
}

#[test]
fn a_message_names_only_a_model_that_there_is() {
    let server = Server::with(&[("model.synthetic.per_request", "false")]);
    let org = server.organization();
    let models = org.get("/v1/models").status(200);
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("synthetic")));
    let talk = Talk::start(&org);
    assert_eq!(
        talk.send(json!({"content": "hi", "model": "synthetic"})).status(200)["turn"]["model"],
        "synthetic"
    );
    talk.send(json!({"content": "hi", "model": "oracle"})).refused(400, "invalid_field").naming("model");
    talk.send(json!({"content": "hi", "synthetic": words(1)}))
        .refused(403, "synthetic_not_allowed")
        .naming("synthetic");
    assert_eq!(talk.messages().len(), 2);
}

#[test]
fn a_message_that_cannot_be_stored_is_refused_and_nothing_of_it_happens() {
    let server = Server::start();
    let org = server.organization();
    let talk = Talk::start(&org);
    talk.send(json!({"content": "before"})).status(200);
    let before = talk.events();
    server.break_store();
    for streamed in [false, true] {
        let refused = talk.send(json!({"content": "hi", "stream": streamed})).refused(503, "unavailable");
        assert!(refused.retry_after().is_some());
    }
    org.post("/v1/conversations", json!({"message": "hi"})).refused(503, "unavailable");
    if !is_postgres() {
        // A full disk can still be read.
        assert_eq!(talk.events(), before);
        let mut stream = talk.client.stream(&talk.path("/stream?after=0"));
        assert_eq!(Heard::until(&mut stream, "turn.completed").durable, before);
    }
    server.mend_store();
    eventually("the store to work again", || {
        (talk.send(json!({"content": "hi"})).code() == 200).then_some(())
    });
    let messages = talk.messages();
    let contents: Vec<_> = said(&messages, "customer").iter().map(|message| &message["content"]).collect();
    assert_eq!(contents, ["before", "hi"]);
}
