//! `openclaw-server chat`: what is printed is the answer, whole and once, whatever happens on the way.

use serde_json::json;

use crate::{
    harness::{Organization, Program, Relay, Server},
    talk::Talk,
};

/// Answers that go on for longer than any test runs.
const ENDLESS: [(&str, &str); 2] =
    [("model.synthetic.tokens_per_second", "20"), ("model.synthetic.tokens", "8192")];

fn chat(url: &str, key: &str, arguments: &[&str]) -> Program {
    let variables = [("OPENCLAW_URL", url), ("OPENCLAW_KEY", key)];
    Program::start(&[&["chat"], arguments].concat(), &variables)
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address())
}

/// The conversation that the chat has begun: there is no other.
#[track_caller]
fn only_conversation(org: &Organization) -> Talk {
    let list = org.get("/v1/conversations").status(200);
    let [conversation] = &list["data"].as_array().unwrap()[..] else { panic!("{}", list.text()) };
    Talk { client: (**org).clone(), id: conversation["id"].as_str().unwrap().to_owned() }
}

/// The contents of its messages of that role, oldest first.
fn contents(talk: &Talk, role: &str) -> Vec<String> {
    let messages = talk.messages().into_iter().filter(|message| message["role"] == role);
    messages.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

/// Waits for some words beyond the first `seen` bytes; says how many bytes there are then.
#[track_caller]
fn more_words(chat: &Program, seen: usize) -> usize {
    chat.until("more words", |out| out[seen..].split_whitespace().count() > 3).len()
}

/// Stops the answer that is being given.
#[track_caller]
fn stop(chat: &mut Program) {
    chat.say("/stop");
    chat.until_err("· stopped\n");
}

#[test]
fn each_line_of_a_pipe_is_a_message_and_only_answers_are_printed() {
    let server = Server::start();
    let org = server.organization();
    let mut chat = chat(&url(&server), &org.primary_key, &[]);
    for line in ["Where is my parcel?", "", "  And the second one?  "] {
        chat.say(line);
    }
    let said = chat.ended();
    assert!(said.status.success(), "{said:?}");
    let talk = only_conversation(&org);
    assert_eq!(contents(&talk, "customer"), ["Where is my parcel?", "And the second one?"]);
    assert_eq!(said.out.lines().collect::<Vec<_>>(), contents(&talk, "assistant"));
    assert_eq!(said.err, "");
    assert_eq!(talk.conversation()["channel"], "terminal");
}

#[test]
fn an_answer_that_failed_is_said_and_ends_in_a_status_that_is_not_0() {
    let server = Server::with(&[("model.synthetic.failure_rate", "1")]);
    let org = server.organization();
    let mut chat = chat(&url(&server), &org.primary_key, &[]);
    chat.say("Hello");
    let said = chat.ended();
    assert_eq!(said.status.code(), Some(1));
    assert!(said.err.contains("the answer failed: "), "{}", said.err);
}

#[test]
fn what_the_server_refuses_is_said_in_its_own_words() {
    let server = Server::start();
    let org = server.organization();
    let unknown = org.get("/v1/conversations/conv_x").refused(404, "not_found");
    let message = unknown["error"]["message"].as_str().unwrap();
    let foreign = "conv_01m8662tg5e2sv6fxe7dr7s2ng";
    let said = chat(&url(&server), &org.primary_key, &["--conversation", foreign]).ended();
    assert_eq!((said.status.code(), &*said.err), (Some(1), &*format!("openclaw-server: {message}\n")));

    let mut chat = chat(&url(&server), "oc_live_none", &[]);
    chat.say("Hello");
    chat.say("Hello?");
    let said = chat.ended();
    assert_eq!((said.status.code(), said.err.lines().count(), &*said.out), (Some(1), 1, ""), "{said:?}");
}

#[test]
fn a_server_that_is_not_there_is_not_waited_for() {
    let mut chat = chat("http://127.0.0.1:1", "oc_live_none", &[]);
    chat.say("Hello");
    let said = chat.ended();
    assert_eq!(said.status.code(), Some(1));
    assert!(said.err.starts_with("openclaw-server: cannot reach http://127.0.0.1:1: "), "{}", said.err);
}

#[test]
fn an_answer_goes_on_over_broken_connections_and_is_printed_once() {
    let server = Server::with(&ENDLESS);
    let org = server.organization();
    let relay = Relay::to(&server);
    let mut chat = chat(&relay.url(), &org.primary_key, &[]);
    chat.say("Where is my parcel?");
    let mut seen = more_words(&chat, 0);
    for _ in 0..2 {
        relay.cut();
        seen = more_words(&chat, seen);
    }
    stop(&mut chat);
    let said = chat.ended();
    assert!(said.status.success(), "{said:?}");
    assert_eq!(said.out, format!("{}\n", contents(&only_conversation(&org), "assistant")[0]));
    assert!(said.err.contains("; trying again"), "{}", said.err);
}

#[test]
fn a_message_whose_answer_did_not_arrive_is_sent_again_and_stored_once() {
    let server = Server::start();
    let org = server.organization();
    let relay = Relay::to(&server);
    relay.break_next_answer();
    let mut chat = chat(&relay.url(), &org.primary_key, &[]);
    chat.say("Where is my parcel?");
    let said = chat.ended();
    assert!(said.status.success() && relay.has_broken_it(), "{said:?}");
    let talk = only_conversation(&org);
    assert_eq!(contents(&talk, "customer").len(), 1);
    assert_eq!(said.out, format!("{}\n", contents(&talk, "assistant")[0]));
}

#[test]
fn a_crash_in_mid_answer_is_told_and_the_answer_begins_again() {
    let mut server = Server::with(&ENDLESS);
    let org = server.organization();
    let relay = Relay::to(&server);
    let mut chat = chat(&relay.url(), &org.primary_key, &[]);
    chat.say("Where is my parcel?");
    more_words(&chat, 0);
    server.crash();
    chat.until_err("the server was restarted: the answer begins again");
    // What the crash took is on a line of its own.
    let lost = chat.until("a new line", |out| out.contains('\n')).find('\n').unwrap();
    more_words(&chat, lost + 1);
    stop(&mut chat);
    let said = chat.ended();
    assert!(said.status.success(), "{said:?}");
    let answer = &contents(&only_conversation(&org), "assistant")[0];
    assert_eq!(said.out[lost + 1..], format!("{answer}\n"));
}

#[test]
fn stop_keeps_what_was_said() {
    let server = Server::with(&ENDLESS);
    let org = server.organization();
    let mut chat = chat(&url(&server), &org.primary_key, &[]);
    chat.say("Where is my parcel?");
    more_words(&chat, 0);
    stop(&mut chat);
    let talk = only_conversation(&org);
    let partial = contents(&talk, "assistant")[0].clone();
    assert_eq!(chat.out(), format!("{partial}\n"));

    // Ctrl-C does the same, and then ends what reads from a pipe.
    chat.say("And now?");
    more_words(&chat, partial.len());
    chat.signal("INT");
    let said = chat.ended();
    assert_eq!(said.status.code(), Some(130), "{said:?}");
    assert_eq!(said.out.lines().collect::<Vec<_>>(), contents(&talk, "assistant"));
}

#[test]
fn a_conversation_goes_on_with_the_answer_that_is_being_given() {
    let server = Server::with(&ENDLESS);
    let org = server.organization();
    let talk = Talk::start(&org);
    talk.streamed(json!({ "content": "Where is my parcel?" })).until("turn.delta");
    let mut chat = chat(&url(&server), &org.primary_key, &["--conversation", &talk.id]);
    // Typed ahead: it waits for the answer that is being given.
    chat.say("And the second one?");
    more_words(&chat, 0);
    stop(&mut chat);
    let first = chat.until("the end of the first answer", |out| out.contains('\n')).find('\n').unwrap();
    more_words(&chat, first + 1);
    chat.say("/stop");
    let said = chat.ended();
    assert!(said.status.success(), "{said:?}");
    assert_eq!(contents(&talk, "customer"), ["Where is my parcel?", "And the second one?"]);
    assert_eq!(said.out.lines().collect::<Vec<_>>(), contents(&talk, "assistant"));
}
