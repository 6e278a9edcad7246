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
    webhook::{Hook, counted, deliveries, hook, receiver, refuses, server, takes},
};

/// Conversations that are begun; each is one event for each endpoint.
const EVENTS: usize = 160;

/// Attempts that an endpoint may have under way: what a crash may repeat.
const IN_FLIGHT: usize = 8;

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
fn a_crash_in_the_middle_of_many_events_loses_none_and_tries_none_more_than_five_times() {
    let cycles = times(4, 20);
    let mut server = server(&[("webhooks.timeout_ms", "150"), ("webhooks.waits_ms", "5,10,15,20")]);
    let org = server.organization();
    let filter = json!({"events": ["conversation.started"]});
    let (good, bad) = (receiver(), moody());
    let hooks = [hook(&org, &good, filter.clone()), hook(&org, &bad, filter)];
    let client = org.unlimited(&server);
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::new(AtomicUsize::new(0));
    let talkers: Vec<_> = (0..4)
        .map(|name| {
            let (client, stop, told) = (client.clone(), Arc::clone(&stop), Arc::clone(&told));
            thread::spawn(move || {
                let mut begun = Vec::new();
                for number in 0..EVENTS / 4 {
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
        let after = cycle * EVENTS / (cycles + 1);
        eventually("so many events happened", || (told.load(Ordering::Relaxed) >= after).then_some(()));
        server.crash();
    }
    let begun: HashSet<String> = talkers.into_iter().flat_map(|talker| talker.join().unwrap()).collect();
    stop.store(true, Ordering::Relaxed);
    assert_eq!(begun.len(), EVENTS);
    // One more, with nothing else going on.
    server.crash();
    for (hook, receiver) in hooks.iter().zip([&good, &bad]) {
        judge(&server, &org, hook, receiver, &begun);
    }
    let repeated: usize = counted(&good).values().map(|times| times - 1).sum();
    println!("{cycles} crashes, {EVENTS} events, {repeated} came twice to a good endpoint");
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
    eventually("everything is settled", || (server.number(&open) == 0).then_some(()));
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
    let short = "SELECT COUNT(*) FROM webhook_deliveries d WHERE attempt_count <> (
        SELECT COUNT(*) FROM webhook_attempts a WHERE a.delivery_id = d.id)";
    assert_eq!(server.number(short), 0, "every attempt that counts is there");
}
