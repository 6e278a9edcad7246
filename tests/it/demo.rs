//! `openclaw-server demo`: what it prints works when it is pasted.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
};

use serde_json::{Value, json};

use crate::harness::{Client, Event, Program};

/// What the demonstration printed.
struct Printed(String);

impl Printed {
    /// What stands behind the first `before`, up to a space, a line's end or `after`.
    #[track_caller]
    fn behind(&self, before: &str) -> &str {
        let (_, rest) = self.0.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {}", self.0));
        rest.split_whitespace().next().unwrap()
    }

    fn address(&self) -> SocketAddr {
        self.behind("http://").trim_end_matches('/').parse().unwrap()
    }

    fn client(&self) -> Client {
        Client::to(self.address(), self.behind("primary key"))
    }

    fn curls(&self) -> Vec<&str> {
        self.0.lines().map(str::trim).filter(|line| line.starts_with("curl ")).collect()
    }

    fn data(&self) -> PathBuf {
        PathBuf::from(self.behind("removes its data in").trim_end_matches('.'))
    }
}

fn start(arguments: &[&str]) -> (Program, Printed) {
    let demo = Program::start(&[&["demo"], arguments].concat(), &[]);
    let printed = demo.until("the demonstration is ready", |out| out.contains("Ctrl-C stops"));
    (demo, Printed(printed))
}

fn stop(demo: Program) {
    demo.signal("INT");
    let ended = demo.ended();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(ended.err, "");
}

/// As a shell would split it, as far as the printed lines need that.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for character in line.chars() {
        match (character, quote) {
            ('\'' | '"', None) => quote = Some(character),
            (character, Some(open)) if character == open => quote = None,
            (' ', None) => words.push(String::new()),
            _ => words.last_mut().unwrap().push(character),
        }
    }
    words
}

/// Does what curl would do with that line, and reads the stream it opens.
fn paste(line: &str) -> Vec<Event> {
    let words = words(line);
    let options = |name: &str| {
        let found = words.windows(2).filter(move |pair| pair[0] == name);
        found.map(|pair| pair[1].clone()).collect::<Vec<_>>()
    };
    let url = words.iter().find_map(|word| word.strip_prefix("http://")).unwrap();
    let (address, path) = url.split_at(url.find('/').unwrap());
    let headers = options("-H");
    let key = headers.iter().find_map(|header| header.strip_prefix("Authorization: Bearer ")).unwrap();
    assert!(
        words.contains(&"-N".to_owned()) && headers.contains(&"Content-Type: application/json".to_owned())
    );
    let body: Value = serde_json::from_str(&options("-d")[0]).unwrap();
    let client = Client::to(address.parse().unwrap(), key);
    client.request("POST", path).json(&body).stream().collect()
}

/// The reply as it was stored, after checking that the deltas join to it.
fn reply(events: &[Event]) -> Value {
    let deltas = events.iter().filter(|event| event.kind == "turn.delta");
    let text: String = deltas.map(|event| event.data["text"].as_str().unwrap()).collect();
    let sent = events.iter().find(|event| event.kind == "message.sent").expect("a reply");
    let reply = sent.data["data"]["message"].clone();
    assert_eq!(reply["content"], text);
    reply
}

fn outcome(events: &[Event]) -> &Value {
    let last = events.last().unwrap();
    assert_eq!(last.kind, "turn.completed");
    &last.data["data"]["turn"]["outcome"]
}

#[test]
fn the_printed_lines_stream_an_answer_with_its_source_and_an_honest_i_do_not_know() {
    let (demo, printed) = start(&["--listen", "127.0.0.1:0"]);
    let [known, unknown] = printed.curls()[..] else { panic!("{}", printed.0) };

    let events = paste(known);
    assert_eq!(outcome(&events), "answered");
    let reply = reply(&events);
    let content: Vec<char> = reply["content"].as_str().unwrap().chars().collect();
    let citation = &reply["citations"][0];
    let place = |name: &str| usize::try_from(citation[name].as_u64().unwrap()).unwrap();
    let cited: String = content[place("start")..place("end")].iter().collect();
    assert_eq!(citation["passage"], cited);
    assert_eq!(citation["title"], "Delivery times and costs");

    let events = paste(unknown);
    assert_eq!(outcome(&events), "unanswered");
    assert_eq!(self::reply(&events)["citations"], json!([]));
    stop(demo);
}

#[test]
fn the_printed_chat_line_answers_with_numbered_sources() {
    let (demo, printed) = start(&["--listen", "127.0.0.1:0"]);
    let line = printed.0.lines().find(|line| line.contains(" chat ")).unwrap();
    let words = words(line.trim());
    let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    let mut chat = Program::start(&arguments, &[]);
    chat.say("How long does delivery take?");
    let said = chat.ended();
    assert!(said.status.success(), "{said:?}");
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(
        lines[1..],
        ["[1] Delivery times and costs https://fern-and-field.example/help/delivery-times"]
    );
    stop(demo);
}

#[test]
fn a_taken_port_is_no_obstacle_and_temporary_data_is_removed() {
    // If somebody else has it, that is as good.
    let taken = TcpListener::bind("127.0.0.1:8080");
    let (demo, printed) = start(&[]);
    drop(taken);
    assert!(printed.0.contains("127.0.0.1:8080 is taken"), "{}", printed.0);
    assert_ne!(printed.address().port(), 8080);
    printed.client().get("/readyz").status(200);
    let data = printed.data();
    assert!(data.is_dir());
    stop(demo);
    assert!(!data.exists());
}

#[test]
fn an_address_that_was_asked_for_is_not_replaced() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = Program::start(&["demo", "--listen", &address], &[]).ended();
    assert_eq!((refused.status.code(), &*refused.out), (Some(1), ""));
    assert!(refused.err.contains(&format!("cannot listen on {address}")), "{}", refused.err);
}

#[test]
fn named_data_is_the_same_shop_the_next_time() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--listen", "127.0.0.1:0", "--data", directory.path().to_str().unwrap()];
    let (demo, first) = start(&arguments);
    let started = first.client().post("/v1/conversations", json!({ "message": "Hello" })).status(201);
    let conversation = format!("/v1/conversations/{}", started["conversation"]["id"].as_str().unwrap());
    let articles = first.client().get("/v1/knowledge/status").status(200)["indexed"].clone();
    assert!(articles.as_u64().unwrap() > 20, "{articles}");
    stop(demo);

    let (demo, second) = start(&arguments);
    assert_ne!(second.behind("primary key"), first.behind("primary key"));
    assert_eq!(second.client().get("/v1/knowledge/status").status(200)["indexed"], articles);
    second.client().get(&conversation).status(200);
    // The keys of the start before work on, for a terminal that still uses them.
    let earlier = Client::to(second.address(), first.behind("secondary key"));
    earlier.get(&conversation).status(200);
    stop(demo);
}
