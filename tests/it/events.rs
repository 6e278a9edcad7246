//! The organization's log: everything that happened, once, in order, from wherever a reader left it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, thread,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::harness::{Client, Event, Organization, PATIENCE, Server, eventually, times};

/// A conversation with one answered message. Gives its id.
#[track_caller]
fn talk(client: &Client) -> String {
    let started = client.post("/v1/conversations", json!({"message": "hi"})).status(201);
    started["conversation"]["id"].as_str().unwrap().to_owned()
}

/// The whole log, page by page, as a poller reads it.
#[track_caller]
fn all(client: &Client, query: &str, limit: usize) -> (Vec<Value>, String) {
    let mut events = Vec::new();
    let mut after = "0".to_owned();
    loop {
        let page = client.get(&format!("/v1/events?limit={limit}&after={after}{query}")).status(200);
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= limit);
        events.extend(data.iter().cloned());
        after = page["next_cursor"].as_str().expect("never null").to_owned();
        if page["has_more"] == false {
            return (events, after);
        }
    }
}

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["id"].as_str().unwrap()).collect()
}

/// An article, told to the log by another process.
fn import(server: &Server, org: &Organization, name: &str) {
    let file = server.data().join(format!("{name}.ndjson"));
    fs::write(
        &file,
        json!({"external_id": name, "title": name, "content": "Delivery takes two days."}).to_string(),
    )
    .unwrap();
    let done = server.run(&["knowledge", "import", file.to_str().unwrap(), "--org", &org.id]);
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn the_log_has_everything_of_the_organization_and_nothing_of_another() {
    let server = Server::start();
    let (org, other) = (server.organization(), server.organization());
    let (one, two) = (talk(&org), talk(&org));
    talk(&other);
    import(&server, &org, "delivery");
    let (log, end) = all(&org, "", 3);
    for id in [&one, &two] {
        let own: Vec<_> = log.iter().filter(|event| event["conversation_id"] == **id).cloned().collect();
        let stored = org.get(&format!("/v1/conversations/{id}/events?limit=100")).status(200);
        assert_eq!(&own, stored["data"].as_array().unwrap(), "the same objects as in the conversation");
    }
    assert!(log.iter().all(|event| event["organization_id"] == org.id.as_str()));
    let article = log.iter().find(|event| event["type"] == "knowledge.indexed").expect("told");
    assert_eq!((&article["conversation_id"], &article["sequence"]), (&Value::Null, &Value::Null));
    // A poller at the end finds nothing, and then what happened since.
    let nothing = org.get(&format!("/v1/events?after={end}")).status(200);
    assert_eq!((&nothing["data"], &nothing["has_more"]), (&json!([]), &json!(false)));
    let three = talk(&org);
    let page = org.get(&format!("/v1/events?limit=100&after={end}")).status(200);
    assert!(page["data"].as_array().unwrap().iter().all(|event| event["conversation_id"] == three.as_str()));
    assert_eq!(page["data"].as_array().unwrap().len(), 5);
}

#[test]
fn types_are_chosen_by_pattern_and_what_a_key_may_not_read_is_not_there() {
    let server = Server::start();
    let org = server.organization();
    talk(&org);
    import(&server, &org, "delivery");
    let kinds = |client: &Client, query: &str| -> BTreeSet<String> {
        all(client, query, 100).0.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    };
    let set = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(
        kinds(&org, "&types=turn.*,message.sent"),
        set(&["turn.started", "turn.completed", "message.sent"])
    );
    assert_eq!(
        kinds(&org, "&types=message.sent&types=knowledge.*"),
        set(&["message.sent", "knowledge.indexed"])
    );
    assert!(kinds(&org, "&types=*").contains("knowledge.indexed"));
    let reader = org.restricted(&server, "conversations:read");
    assert!(!kinds(&reader, "").contains("knowledge.indexed"));
    assert_eq!(kinds(&reader, "&types=knowledge.*"), set(&[]));
    for (query, param) in [
        ("types=message.lost", "types"),
        ("types=", "types"),
        ("after=7", "after"),
        ("after=", "after"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("order=desc", "order"),
    ] {
        let refused = org.get(&format!("/v1/events?{query}"));
        assert_eq!(refused.code(), 400, "{query}: {}", refused.text());
        refused.naming(param);
    }
    let stranger = org.restricted(&server, "knowledge:read");
    stranger.get("/v1/events").refused(403, "missing_scope").naming("conversations:read");
    stranger.get("/v1/events/stream").refused(403, "missing_scope");
    org.get("/v1/events/stream?after=x").refused(400, "invalid_cursor").naming("after");
}

#[test]
fn a_stream_resumes_after_any_event_without_loss_or_double() {
    let server = Server::start();
    let org = server.organization();
    (0..4).for_each(|_| drop(talk(&org)));
    let (log, _) = all(&org, "", 100);
    let client = org.unlimited(&server);
    let whole: Vec<Event> = client.stream("/v1/events/stream?after=0").take(log.len()).collect();
    let shown: Vec<Value> = whole.iter().map(|event| event.data.clone()).collect();
    assert_eq!(shown, log, "the same objects in the same order");
    assert!(whole[0].retry.is_some());
    for (at, event) in whole.iter().enumerate() {
        assert_eq!(event.kind, event.data["type"].as_str().unwrap());
        let id = event.id.as_deref().unwrap();
        let mut resumed =
            client.request("GET", "/v1/events/stream?after=0").header("Last-Event-ID", id).stream();
        let rest: Vec<Value> = resumed.by_ref().take(log.len() - at - 1).map(|event| event.data).collect();
        assert_eq!(rest, log[at + 1..], "after {at}");
        let listed = org.get(&format!("/v1/events?limit=100&after={id}")).status(200);
        assert_eq!(listed["data"].as_array().unwrap()[..], log[at + 1..], "a list takes the same position");
    }
}

#[test]
fn who_watches_sees_at_once_what_this_process_writes_and_soon_what_another_does() {
    let server = Server::start();
    let (org, other) = (server.organization(), server.organization());
    let mut stream = org.stream("/v1/events/stream");
    // From now on: what was before is not shown. The headers are there, so the position was taken.
    assert_eq!(stream.status(), 200);
    talk(&other);
    let id = talk(&org);
    let first = stream.expect();
    assert_eq!((first.kind.as_str(), &first.data["conversation_id"]), ("conversation.started", &json!(id)));
    import(&server, &org, "delivery");
    assert_eq!(stream.until("knowledge.indexed").data["organization_id"], org.id.as_str());
    // One that falls behind what is kept in memory reads the store.
    let many = times(80, 400);
    (0..many).for_each(|_| drop(talk(&org)));
    let started = stream.by_ref().filter(|event| event.kind == "conversation.started").take(many).count();
    assert_eq!(started, many);
}

#[test]
fn of_an_erased_conversation_only_its_end_is_left() {
    let server = Server::start();
    let org = server.organization();
    let (gone, stays) = (talk(&org), talk(&org));
    let mut stream = org.stream("/v1/events/stream?after=0");
    stream.expect();
    org.delete(&format!("/v1/conversations/{gone}")).status(204);
    let end = stream.until("conversation.deleted");
    assert_eq!(end.data["data"], json!({"conversation": {"id": gone}}));
    let (log, _) = all(&org, "", 2);
    let of = |id: &str| log.iter().filter(|event| event["conversation_id"] == id).count();
    assert_eq!((of(&gone), of(&stays)), (1, 5));
}

#[test]
fn a_position_that_was_never_reached_is_said_and_the_stream_goes_on_from_the_end() {
    let server = Server::start();
    let org = server.organization();
    talk(&org);
    let (_, end) = all(&org, "", 100);
    // As after a restored backup: the position is of a future that did not happen.
    let far = URL_SAFE_NO_PAD.encode("1:1.1000000");
    let mut stream = org.stream(&format!("/v1/events/stream?after={far}"));
    let gap = stream.expect();
    assert_eq!((gap.kind.as_str(), &gap.id), ("stream.gap", &None));
    assert_eq!((gap.data["requested"].as_str(), gap.data["from"].as_str()), (Some(&*far), Some(&*end)));
    let next = talk(&org);
    assert_eq!(stream.expect().data["conversation_id"], next.as_str());
}

#[test]
fn a_stream_of_the_log_says_goodbye_and_ends_with_the_server_or_with_its_key() {
    let mut server = Server::start();
    let org = server.organization();
    let made = org.post("/v1/keys", json!({"scopes": ["conversations:read", "knowledge:read"]})).status(201);
    let path = format!("/v1/keys/{}", made["key"]["id"].as_str().unwrap());
    let key = server.client_with(made["secret"].as_str().unwrap());
    let mut narrowed = key.stream("/v1/events/stream");
    org.patch(&path, json!({"scopes": ["conversations:read"]})).status(200);
    let end = narrowed.until("stream.closing");
    assert_eq!((&end.data["reason"], &end.data["conversation_id"]), (&json!("revoked"), &Value::Null));
    let mut revoked = key.stream("/v1/events/stream");
    org.delete(&path).status(204);
    assert_eq!(revoked.until("stream.closing").data["reason"], "revoked");
    let mut cut = org.stream("/v1/events/stream");
    assert!(server.stop().success());
    assert_eq!(cut.until("stream.closing").data["reason"], "shutdown");
    assert!(cut.next().is_none());
}

#[test]
fn streams_of_the_log_are_counted_among_the_keys_streams() {
    let server = Server::with(&[("limits.streams_per_key", "2"), ("limits.requests_per_minute", "100")]);
    let org = server.organization();
    let one = org.stream("/v1/events/stream");
    assert!(one.header("ratelimit-policy").unwrap().contains("\"streams\""));
    let _two = org.stream("/v1/events/stream");
    org.get("/v1/events/stream").refused(429, "too_many_streams");
    drop(one);
    eventually("a place is free", || {
        let again = org.request("GET", "/v1/events/stream").try_stream().unwrap();
        (again.status() == 200).then_some(())
    });
}

/// Talkers and watchers at once, a crash in the middle: every reader sees every event once.
#[test]
fn nothing_is_lost_or_doubled_under_load_and_across_a_crash() {
    let mut server = Server::start();
    let org = server.organization();
    let client = org.unlimited(&server);
    let rounds = times(60, 600);
    let talkers: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            // What a crash cuts off is not sent again: it happened or it did not.
            let begin = move || {
                client.request("POST", "/v1/conversations").json(&json!({"message": "hi"})).try_send()
            };
            thread::spawn(move || (0..rounds).filter(|_| begin().is_ok()).count())
        })
        .collect();
    let watchers: Vec<_> = (0..3)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || follow(&client))
        })
        .collect();
    let count = "SELECT COUNT(*) FROM events";
    eventually("some happened", || (server.number(count) > 50).then_some(()));
    server.crash();
    for talker in talkers {
        talker.join().unwrap();
    }
    // What a crash cut off goes on by itself.
    let open = "SELECT COUNT(*) FROM turns WHERE status IN ('queued', 'running')";
    eventually("nothing is open", || (server.number(open) == 0).then_some(()));
    client.post("/v1/conversations", json!({"metadata": {"last": "yes"}})).status(201);
    let (log, _) = all(&org, "", 100);
    for watcher in watchers {
        let seen = watcher.join().unwrap();
        let missing: Vec<_> = ids(&log).into_iter().filter(|id| !seen.contains_key(*id)).collect();
        assert_eq!(missing, Vec::<&str>::new(), "of {} events", log.len());
        assert!(seen.values().all(|times| *times == 1), "something was shown twice");
        assert_eq!(seen.len(), log.len());
    }
    let mut sequences: BTreeMap<&str, i64> = BTreeMap::new();
    for event in &log {
        let last = sequences.entry(event["conversation_id"].as_str().unwrap()).or_default();
        *last += 1;
        assert_eq!(event["sequence"], *last, "a conversation's own order");
    }
}

/// Follows the log, comes back where it was when it is cut, and says how often each event came.
fn follow(client: &Client) -> BTreeMap<String, usize> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut last = "0".to_owned();
    let since = std::time::Instant::now();
    while since.elapsed() < PATIENCE {
        let request = client.request("GET", "/v1/events/stream").header("Last-Event-ID", &last);
        let Ok(stream) = request.try_stream() else { continue };
        if stream.status() != 200 {
            continue;
        }
        for event in stream {
            let Some(id) = event.id else { break };
            last = id;
            *seen.entry(event.data["id"].as_str().unwrap().to_owned()).or_default() += 1;
            if event.data["data"]["conversation"]["metadata"]["last"] == "yes" {
                return seen;
            }
        }
    }
    panic!("the end did not come");
}
