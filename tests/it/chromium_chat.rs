//! React and the AI SDK's `useChat` in a real browser, with a customer's token and nothing changed but `api`.

use serde_json::{Value, json};

use crate::{
    chromium::Shop,
    harness::{
        browser::Page,
        eventually,
        upstream::{Act, DONE, Upstream, answers, chunk, delta, end, finish, stream_head, streams},
    },
    upstream::server_with,
};

/// An answer in which two pieces wait to be let go.
fn halting() -> Vec<Act> {
    let mut acts = vec![stream_head(), chunk(delta("Eén ")), Act::Wait, chunk(delta("twee "))];
    acts.extend([Act::Wait, chunk(delta("drie.")), chunk(finish("stop")), chunk(DONE), end()]);
    acts
}

const SHOWN: &str =
    "[...document.querySelectorAll('li')].map(({ className, innerText }) => [className, innerText])";

/// The chat of a shop whose model does as it is told.
struct Chat {
    upstream: Upstream,
    shop: Shop,
}

impl Chat {
    fn with(acts: Vec<Act>) -> Self {
        let upstream = Upstream::that(acts);
        let shop = Shop::open(server_with(&upstream, "openai", &[]));
        Self { upstream, shop }
    }

    /// The page, once it shows its chat; `body` is what the transport is told to send with every message.
    fn page(&self, body: Value) -> Page<'_> {
        let mut about = self.shop.about();
        about["body"] = body;
        let page = self.shop.browser.open("shop", "chat.html", about);
        page.until("window.chat?.status === 'ready'");
        page
    }

    /// The path of the conversation on a page.
    fn path(&self, page: &Page<'_>) -> String {
        format!("/v1/conversations/{}", page.run("talk.id").as_str().unwrap())
    }

    fn messages(&self, page: &Page<'_>) -> Vec<Value> {
        let listed = self.shop.org.get(&format!("{}/messages", self.path(page))).status(200);
        listed["data"].as_array().unwrap().clone()
    }
}

fn says(page: &Page<'_>, text: &str) {
    page.run(&format!("void chat.sendMessage({{ text: '{text}' }})"));
}

/// Waits until this is all that the page shows.
#[track_caller]
fn shows(page: &Page<'_>, messages: &[(&str, &str)], status: &str) {
    let messages: Vec<_> = messages.iter().map(|(role, text)| json!([role, text])).collect();
    page.until(&format!("JSON.stringify({SHOWN}) === JSON.stringify({})", json!(messages)));
    page.until(&format!("document.querySelector('#status').innerText === '{status}'"));
}

#[test]
fn a_question_is_answered_word_by_word() {
    let chat = Chat::with(halting());
    let page = chat.page(json!({}));
    says(&page, "Count to three");
    shows(&page, &[("user", "Count to three"), ("assistant", "Eén")], "streaming");
    chat.upstream.go_on();
    shows(&page, &[("user", "Count to three"), ("assistant", "Eén twee")], "streaming");
    chat.upstream.go_on();
    shows(&page, &[("user", "Count to three"), ("assistant", "Eén twee drie.")], "ready");
    assert_eq!(page.run("growth"), json!(["Eén ", "Eén twee ", "Eén twee drie."]));
    let stored = chat.messages(&page);
    assert_eq!(
        page.run("chat.messages.map(({ id }) => id)"),
        json!([stored[0]["client_message_id"], stored[1]["id"]])
    );
    assert_eq!(page.console(), "");
}

#[test]
fn a_page_loaded_again_shows_the_answer_whole_and_once_whether_it_ended_or_not() {
    let chat = Chat::with(halting());
    let page = chat.page(json!({}));
    let asked = ("user", "Count to three");
    says(&page, "Count to three");
    shows(&page, &[asked, ("assistant", "Eén")], "streaming");
    page.reload();
    shows(&page, &[asked, ("assistant", "Eén")], "streaming");
    chat.upstream.go_on();
    page.reload();
    shows(&page, &[asked, ("assistant", "Eén twee")], "streaming");
    chat.upstream.go_on();
    shows(&page, &[asked, ("assistant", "Eén twee drie.")], "ready");
    // What has just ended is in the history too, and is replayed into its own place.
    page.reload();
    page.until("window.growth?.length");
    shows(&page, &[asked, ("assistant", "Eén twee drie.")], "ready");
    let stored = chat.messages(&page);
    assert_eq!(stored.len(), 2);
    assert_eq!(page.run("chat.messages[1].id"), stored[1]["id"]);
    assert_eq!(chat.upstream.times(), 1);
    assert_eq!(page.console(), "");
}

#[test]
fn stop_ends_the_answer_where_the_transport_asks_for_it() {
    let chat = Chat::with(halting());
    let page = chat.page(json!({ "on_disconnect": "stop" }));
    says(&page, "Count to three");
    shows(&page, &[("user", "Count to three"), ("assistant", "Eén")], "streaming");
    page.run("void chat.stop()");
    shows(&page, &[("user", "Count to three"), ("assistant", "Eén")], "ready");
    let partial =
        eventually("the stop", || chat.messages(&page).into_iter().find(|said| said["status"] == "partial"));
    assert_eq!(partial["content"], "Eén ");
    // Without it, the button's own request.
    let page = chat.page(json!({}));
    says(&page, "Count to three");
    shows(&page, &[("user", "Count to three"), ("assistant", "Eén")], "streaming");
    page.run("fetch(`${shop.api}/v1/conversations/${talk.id}/stop`, { method: 'POST', headers: { Authorization: `Bearer ${talk.token}` } }).then(({ status }) => status)");
    shows(&page, &[("user", "Count to three"), ("assistant", "Eén")], "ready");
    assert_eq!(chat.messages(&page)[1]["status"], "partial");
}

#[test]
fn an_answer_that_fails_is_an_error_on_the_page_before_and_after_its_first_word() {
    let chat = Chat::with(answers("500 Internal Server Error", &[], "{}"));
    let page = chat.page(json!({}));
    says(&page, "Hello");
    shows(&page, &[("user", "Hello")], "error");
    let error = page.run("document.querySelector('#error').innerText");
    assert!(error.as_str().unwrap().contains("model_failed"), "{error}");
    chat.upstream.now(streams(&[delta("Half an"), "data: {\"error\":{\"message\":\"x\"}}\n\n".to_owned()]));
    says(&page, "Again");
    shows(&page, &[("user", "Hello"), ("user", "Again"), ("assistant", "Half an")], "error");
}

#[test]
fn a_conversation_that_a_human_took_over_takes_messages_and_shows_no_more_of_the_ai() {
    let chat = Chat::with(halting());
    let page = chat.page(json!({}));
    says(&page, "Count to three");
    shows(&page, &[("user", "Count to three"), ("assistant", "Eén")], "streaming");
    let path = chat.path(&page);
    let accept = json!({ "accept": { "agent": { "id": "a-1", "name": "Bo" } } });
    chat.shop.org.post(&format!("{path}/handover"), accept).status(201);
    chat.upstream.go_on();
    shows(&page, &[("user", "Count to three"), ("assistant", "Eén")], "ready");
    says(&page, "Are you a person?");
    eventually("the message", || {
        chat.messages(&page).iter().any(|said| said["content"] == "Are you a person?").then_some(())
    });
    let so_far = [("user", "Count to three"), ("assistant", "Eén"), ("user", "Are you a person?")];
    shows(&page, &so_far, "ready");
    let said = json!({ "role": "agent", "content": "Yes, Bo here." });
    chat.shop.org.post(&format!("{path}/messages"), said).status(200);
    page.reload();
    shows(&page, &[&so_far[..], &[("assistant", "Yes, Bo here.")]].concat(), "ready");
    let stored = chat.messages(&page);
    let roles: Vec<_> = stored.iter().map(|said| &said["role"]).collect();
    assert_eq!(roles, ["customer", "assistant", "customer", "agent"]);
    assert_eq!(page.console(), "");
}
