//! Whatever dies, every event is delivered, or given up after five attempts: never lost, and hardly ever twice.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::json;

use crate::harness::{
    eventually, times,
    upstream::{Act, Upstream, answers, head},
    webhook::{Hook, counted, deliveries, hook, receiver, refuses, server, settled, takes},
};

/// Conversations that are begun; each is one event for each endpoint.
fn events() -> usize {
    times(160, 5_000)
}

/// How long the endpoint that dies is there, and how long it is away, in events that happen meanwhile.
const LIFE: usize = 40;

/// Attempts that an endpoint may have under way: what a crash may repeat.
const IN_FLIGHT: usize = 32;

/// An endpoint whose answers fail, hang, drip and die by turns.
fn moody() -> Upstream {
    let receiver = Upstream::that(takes());
    let at = AtomicUsize::new(0);
    receiver.by(move |_| match at.fetch_add(1, Ordering::SeqCst) % 10 {
        0 => refuses(),
        1 => vec![Act::Hang],
        2 => vec![head("200 OK", &["Content-Length: 1000"]), Act::Drip(b".".to_vec())],
        3 => vec![Act::Reset],
        4 => vec![Act::Close],
        5 => answers("503 Unavailable", &[], ""),
        _ => takes(),
    });
    receiver
}

#[test]
fn a_crash_in_the_fifth_attempt_gives_the_delivery_up_and_makes_no_sixth() {
    let mut server = server(&[("webhooks.waits_ms", "1")]);
    let org = server.organization();
    let receiver = receiver();
    receiver.then([vec![refuses(); 4], vec![vec![Act::Hang], takes()]].concat());
    let hook = hook(&org, &receiver, json!({"events": ["conversation.started"]}));
    org.post("/v1/conversations", json!({})).status(201);
    eventually("the fifth attempt hangs", || (receiver.times() == 5).then_some(()));
    server.kill();
    // As if its lease had run out.
    server.execute("UPDATE webhook_deliveries SET next_at = 1");
    server.start_again();
    let given_up = settled(&org, &hook, "exhausted", 1);
    let detail = org.get(&format!("/v1/deliveries/{}", given_up[0]["id"].as_str().unwrap())).status(200);
    let errors: Vec<_> =
        detail["attempts"].as_array().unwrap().iter().map(|attempt| attempt["error"].clone()).collect();
    let expected = [vec![json!("unsuccessful_status"); 4], vec![json!("interrupted")]].concat();
    assert_eq!((errors, receiver.times()), (expected, 5));
}

#[test]
fn a_crash_in_the_middle_of_many_events_loses_none_and_tries_none_more_than_five_times() {
    let (cycles, events) = (times(4, 20), events());
    let mut server = server(&[("webhooks.timeout_ms", "150"), ("webhooks.waits_ms", "5,10,15,20")]);
    let org = server.organization();
    let filter = json!({"events": ["conversation.started"]});
    let receivers = [receiver(), moody(), receiver()];
    let hooks = receivers.each_ref().map(|receiver| hook(&org, receiver, filter.clone()));
    let [good, _, mortal] = &receivers;
    let client = org.unlimited(&server);
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::new(AtomicUsize::new(0));
    let talkers: Vec<_> = (0..4)
        .map(|name| {
            let (client, stop, told) = (client.clone(), Arc::clone(&stop), Arc::clone(&told));
            thread::spawn(move || {
                let mut begun = Vec::new();
                for number in 0..events / 4 {
                    let request = client
                        .request("POST", "/v1/conversations")
                        .header("Idempotency-Key", &format!("crash-{name}-{number:05}"))
                        .json(&json!({"metadata": {"number": format!("{name}-{number}")}}));
                    // Sent again under its name until it is answered.
                    let reply = loop {
                        match request.try_send() {
                            Ok(reply) if matches!(reply.code(), 200 | 201) => break reply,
                            _ if stop.load(Ordering::Relaxed) => return begun,
                            _ => thread::park_timeout(std::time::Duration::from_millis(2)),
                        }
                    };
                    begun.push(reply["conversation"]["id"].as_str().unwrap().to_owned());
                    told.fetch_add(1, Ordering::Relaxed);
                }
                begun
            })
        })
        .collect();
    for cycle in 1..=cycles {
        let after = cycle * events / (cycles + 1);
        eventually("so many events happened", || {
            let happened = told.load(Ordering::Relaxed);
            mortal.is_dead(happened / LIFE % 2 == 1);
            (happened >= after).then_some(())
        });
        server.crash();
    }
    let begun: HashSet<String> = talkers.into_iter().flat_map(|talker| talker.join().unwrap()).collect();
    stop.store(true, Ordering::Relaxed);
    mortal.is_dead(false);
    assert_eq!(begun.len(), events);
    // One more, with nothing else going on.
    server.crash();
    for (hook, receiver) in hooks.iter().zip(&receivers) {
        judge(&server, &org, hook, receiver, &begun);
    }
    let repeated: usize = counted(good).values().map(|times| times - 1).sum();
    println!("{cycles} crashes, {events} events, {repeated} came twice to a good endpoint");
    let because = |error: &str| {
        let sql = format!(
            "SELECT COUNT(*) FROM webhook_attempts a JOIN webhook_deliveries d ON d.id = a.delivery_id
             WHERE d.webhook_id = '{}' AND a.error = '{error}'",
            hooks[0].id
        );
        server.number(&sql) as usize
    };
    // On a slow machine even a good endpoint may be late.
    let cut_off = because("interrupted");
    assert!(repeated <= cut_off + because("timed_out"), "{repeated} came twice");
    assert!(cut_off <= (cycles + 1) * IN_FLIGHT, "{cut_off} were under way");
}

fn judge(
    server: &crate::harness::Server,
    org: &crate::harness::Organization,
    hook: &Hook,
    receiver: &Upstream,
    begun: &HashSet<String>,
) {
    let open = format!(
        "SELECT COUNT(*) FROM webhook_deliveries WHERE state = 'pending' AND webhook_id = '{}'",
        hook.id
    );
    // Thousands of events take a while at an endpoint that hangs; each few must not.
    let mut left = server.number(&open);
    while left > 0 {
        let before = left;
        left = eventually("more is settled", || {
            let left = server.number(&open);
            (left == 0 || left + 10 <= before || left < before && before <= 10).then_some(left)
        });
    }
    let all = deliveries(org, hook, "");
    let of: HashSet<String> =
        all.iter().map(|delivery| delivery["conversation_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((&of, all.len()), (begun, begun.len()), "one delivery of each event");
    let mut came: BTreeMap<String, usize> = counted(receiver);
    for delivery in &all {
        let tried = delivery["attempt_count"].as_u64().unwrap() as usize;
        let came = came.remove(delivery["event_id"].as_str().unwrap()).unwrap_or(0);
        assert!(came <= tried, "{came} came of {tried}: an attempt is written before it is sent");
        match delivery["state"].as_str().unwrap() {
            "delivered" => assert!((1..=5).contains(&tried) && came > 0, "{delivery}"),
            "exhausted" => assert_eq!(tried, 5, "{delivery}"),
            other => panic!("{other}: {delivery}"),
        }
    }
    assert_eq!(came, BTreeMap::new(), "nothing came that is not known of");
    let short = format!(
        "SELECT COUNT(*) FROM webhook_deliveries d WHERE webhook_id = '{}' AND attempt_count <> (
            SELECT COUNT(*) FROM webhook_attempts a WHERE a.delivery_id = d.id)",
        hook.id
    );
    assert_eq!(server.number(&short), 0, "every attempt that counts is there");
}
