//! Whoever receives events needs nothing of ours: the libraries they have verify them unchanged.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{
    Program,
    clients::Clients,
    eventually,
    upstream::Asked,
    webhook::{deliveries, hook, is_signed, receiver, server, settled, talk},
};

const TOLD: [&str; 3] = ["conversation.started", "message.received", "message.sent"];

/// A delivery as a library is handed it.
fn handed(asked: &Asked, secret: &str, body: &str) -> Value {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), asked.header(name).unwrap().into())).collect();
    json!({"secret": secret, "headers": headers, "body": body})
}

#[test]
fn five_libraries_in_three_languages_verify_what_is_sent_also_while_two_secrets_sign() {
    let clients = Clients::installed();
    let server = server(&[]);
    let org = server.organization();
    let receiver = receiver();
    let hook = hook(&org, &receiver, json!({"ordered": true}));
    talk(&org, "Where is my – €5 – parcel? \u{1f4e6}");
    settled(&org, &hook, "delivered", TOLD.len());
    let rotated =
        org.post(&format!("{}/rotate_secret", hook.path), json!({"grace_seconds": 3600})).status(200);
    let new = rotated["secret"].as_str().unwrap();
    talk(&org, "And the second one?");
    settled(&org, &hook, "delivered", 2 * TOLD.len());
    // With the old secret, with the new one, and with a letter changed.
    let mut cases: Vec<(Value, bool)> = Vec::new();
    for (number, asked) in receiver.asked().iter().enumerate() {
        let body = String::from_utf8(asked.bytes.clone()).unwrap();
        let both_sign = number >= TOLD.len();
        assert_eq!((is_signed(asked, &hook.secret), is_signed(asked, new)), (true, both_sign));
        cases.push((handed(asked, &hook.secret, &body), true));
        cases.push((handed(asked, new, &body), both_sign));
        cases.push((handed(asked, &hook.secret, &body.replace("conv_", "conv-")), false));
    }
    for command in [clients.python("clients/verify.py"), clients.node("clients/verify.mjs")] {
        let language = format!("{:?}", command.get_program());
        let mut program = Program::of(command);
        cases.iter().for_each(|(case, _)| program.say(&case.to_string()));
        let ended = program.ended();
        assert!(ended.status.success(), "{language}: {}", ended.err);
        let verdicts: Vec<Value> =
            ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(verdicts.len(), cases.len(), "{language}: {}", ended.out);
        for (verdict, (case, expected)) in verdicts.iter().zip(&cases) {
            assert_eq!(
                *verdict,
                json!({"standardwebhooks": expected, "svix": expected}),
                "{language}: {case}"
            );
        }
    }
}

/// Runs a sample receiver of `tests/receivers/` through what every receiver meets.
fn a_sample_receiver_works(mut command: Command) {
    let server = server(&[]);
    let org = server.organization();
    let nowhere = receiver();
    let hook = hook(&org, &nowhere, json!({"ordered": true, "enabled": false}));
    command.arg("0").env("WEBHOOK_SECRET", &hook.secret);
    let program = Program::of(command);
    let said = program.until("it listens", |out| out.contains('\n'));
    let here = said.trim_end().strip_prefix("listening on ").unwrap();
    org.patch(&hook.path, json!({"url": here, "enabled": true})).status(200);
    let conversation = talk(&org, "Where is my – €5 – parcel?");
    let delivered = settled(&org, &hook, "delivered", TOLD.len());
    let acted = |program: &Program| program.out().lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let lines = eventually("it acts on each event", || {
        Some(acted(&program)).filter(|lines| lines.len() == TOLD.len())
    });
    for ((line, kind), delivery) in lines.iter().zip(TOLD).zip(&delivered) {
        assert_eq!(*line, format!("{kind} {conversation} {}", delivery["sequence"]));
        assert_eq!(delivery["attempt_count"], 1);
    }
    // Once more is taken, and not acted on.
    let path = format!("/v1/deliveries/{}/redeliver", delivered[0]["id"].as_str().unwrap());
    org.post(&path, json!({})).status(202);
    settled(&org, &hook, "delivered", TOLD.len() + 1);
    // While two secrets sign, the old one is enough; afterwards nothing is believed.
    let rotate = |grace: u32| {
        org.post(&format!("{}/rotate_secret", hook.path), json!({"grace_seconds": grace})).status(200);
        org.post(&format!("{}/test", hook.path), json!({})).status(200)
    };
    assert_eq!(rotate(3600)["delivered"], true);
    let refused = rotate(0);
    assert_eq!((&refused["delivered"], &refused["response"]["status"]), (&json!(false), &json!(401)));
    assert_eq!(acted(&program).len(), TOLD.len() + 1, "the test is an event too: {}", program.out());
    assert_eq!(deliveries(&org, &hook, "&state=exhausted").len(), 0);
}

#[test]
fn the_sample_receiver_in_python_takes_each_event_once_and_believes_nothing_unsigned() {
    a_sample_receiver_works(Clients::installed().python("receivers/receiver.py"));
}

#[test]
fn the_sample_receiver_in_node_takes_each_event_once_and_believes_nothing_unsigned() {
    a_sample_receiver_works(Clients::installed().node("receivers/receiver.mjs"));
}
