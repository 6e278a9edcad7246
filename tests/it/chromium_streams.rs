//! What browsers themselves have for streams, `EventSource` and `WebSocket`, opened by a ticket from a shop's page.

use serde_json::{Value, json};

use crate::{
    chromium::Shop,
    harness::{
        Relay, Server,
        browser::Page,
        eventually,
        upstream::{Act, DONE, Upstream, chunk, delta, end, finish, stream_head},
    },
    upstream::server_with,
};

/// An answer in which two pieces wait to be let go.
fn halting() -> Upstream {
    let mut acts = vec![stream_head(), chunk(delta("Eén ")), Act::Wait, chunk(delta("twee "))];
    acts.extend([Act::Wait, chunk(delta("drie.")), chunk(finish("stop")), chunk(DONE), end()]);
    Upstream::that(acts)
}

const WHOLE: &str = "Eén twee drie.";

fn shop(upstream: &Upstream) -> Shop {
    Shop::open(server_with(upstream, "openai", &[]))
}

/// Begins a conversation in the page and watches its answer.
#[track_caller]
fn watch(page: &Page<'_>) -> Value {
    let talk = page.run("begin('Count to three')");
    let url = format!(
        "{}/turns/{}/stream?ticket={}",
        talk["path"].as_str().unwrap(),
        talk["turn"].as_str().unwrap(),
        talk["ticket"].as_str().unwrap()
    );
    page.run(&format!("void watch('{url}')"));
    talk
}

/// The answer is there, each piece of it once, and the browser has given up coming back.
#[track_caller]
fn is_whole(page: &Page<'_>) -> Value {
    page.until("seen.closed()");
    let seen = page.run("seen");
    assert_eq!((&seen["text"], &seen["whole"]), (&json!(WHOLE), &json!(WHOLE)), "{seen}");
    assert_eq!(seen["faults"], json!([]), "{seen}");
    let kinds = seen["kinds"].as_array().unwrap();
    assert_eq!(kinds.iter().filter(|kind| *kind == "turn.completed").count(), 1, "{seen}");
    seen
}

#[test]
fn an_event_source_reads_an_answer_and_does_not_come_back_for_more() {
    let upstream = halting();
    let shop = shop(&upstream);
    let page = shop.page("shop");
    watch(&page);
    page.until("seen.text === 'Eén '");
    upstream.go_on();
    page.until("seen.text === 'Eén twee '");
    upstream.go_on();
    let seen = is_whole(&page);
    assert_eq!(seen["kinds"], json!(["turn.started", "message.sent", "turn.completed"]));
    // It asked once more, as it does after every end, and was told by 204 that there is nothing to come back for.
    assert_eq!((&seen["opened"], &seen["errors"]), (&json!(1), &json!(2)));
}

#[test]
fn an_event_source_whose_connection_breaks_reads_on_where_it_was() {
    let upstream = halting();
    let shop = shop(&upstream);
    let relay = Relay::to(&shop.server);
    let mut about = shop.about();
    about["api"] = json!(relay.url());
    let page = shop.page_with("shop", about);
    watch(&page);
    page.until("seen.text === 'Eén '");
    relay.cut();
    // What is said meanwhile is not missed.
    upstream.go_on();
    page.until("seen.text === 'Eén twee '");
    assert_eq!(page.run("seen.opened"), 2);
    relay.cut();
    page.until("seen.opened === 3");
    upstream.go_on();
    let seen = is_whole(&page);
    assert_eq!(seen["kinds"], json!(["turn.started", "message.sent", "turn.completed"]));
}

#[test]
fn an_event_source_comes_back_to_a_server_that_was_killed() {
    let upstream = halting();
    let mut shop = shop(&upstream);
    let relay = Relay::to(&shop.server);
    let mut about = shop.about();
    about["api"] = json!(relay.url());
    let Shop { server, browser, .. } = &mut shop;
    let page = browser.open("shop", "shop.html", about);
    page.until("window.ready");
    watch(&page);
    page.until("seen.text === 'Eén '");
    server.crash();
    // The answer is begun again, and asked for again.
    eventually("the second question", || (upstream.times() == 2).then_some(()));
    page.until("seen.kinds.includes('turn.restarted') && seen.text === 'Eén '");
    // The first question's script may still hold a pass.
    for _ in 0..4 {
        upstream.go_on();
    }
    let seen = is_whole(&page);
    assert_eq!(seen["kinds"], json!(["turn.started", "turn.restarted", "message.sent", "turn.completed"]));
}

#[test]
fn a_web_socket_speaks_both_ways_from_the_page_that_asked_for_its_ticket() {
    let shop = Shop::open(Server::start());
    let page = shop.page("shop");
    let talk = page.run("begin('Hello')");
    let path = talk["path"].as_str().unwrap();
    let url = format!("{path}/ws?after=0&ticket={}", talk["ticket"].as_str().unwrap());
    page.run(&format!("void call('{url}')"));
    page.until("line.frames.some(({ type }) => type === 'turn.completed')");
    page.run(
        r#"line.socket.send(JSON.stringify({ type: "message.send", ref: "second", content: "And now?" }))"#,
    );
    let ack = page.until("line.frames.find(({ type }) => type === 'ack')");
    assert_eq!((&ack["ref"], &ack["message"]["content"]), (&json!("second"), &json!("And now?")));
    let done = format!(
        "line.frames.find(({{ type, data }}) => type === 'turn.completed' && data.turn.id === '{}')",
        ack["turn"]["id"].as_str().unwrap()
    );
    let cursor = page.until(&done)["cursor"].clone();
    page.run(r#"line.socket.send(JSON.stringify({ type: "dance", ref: "third" }))"#);
    let error = page.until("line.frames.find(({ type }) => type === 'error')");
    assert_eq!((&error["ref"], &error["error"]["param"]), (&json!("third"), &json!("type")));

    // The ticket opens it again, where it was; another page gets nothing with it.
    let again = url.replace("after=0", &format!("after={}", cursor.as_str().unwrap()));
    let thief = shop.page("evil");
    thief.run(&format!("void call('{again}')"));
    assert_eq!(thief.until("line.ended"), 1006);
    assert_eq!(thief.run("line.opened"), false);
    assert_eq!(page.run("line.ended"), Value::Null);
    page.run("line.socket.close(4000)");
    assert_eq!(page.until("line.ended"), 4000);
    page.run(&format!("void call('{again}')"));
    page.until("line.opened");
    page.run(r#"line.socket.send(JSON.stringify({ type: "typing" }))"#);
    page.until("line.frames.find(({ type }) => type === 'ack')");
    assert_eq!(page.run("line.frames.filter(({ sequence }) => sequence).length"), 0);
}
