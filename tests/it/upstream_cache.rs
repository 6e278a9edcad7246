//! A question that many ask is answered by the model once, and by the cache from then on: where nothing has changed,
//! and until its conversation is erased.

use serde_json::json;

use crate::{
    harness::{
        Organization, Server,
        upstream::{Upstream, says},
    },
    upstream::{QUESTION, ask, content, server_with, stock},
};

fn caching(upstream: &Upstream) -> (Server, Organization) {
    let server = server_with(upstream, "openai", &[("model.openai.cache_answers", "true")]);
    let org = server.organization();
    stock(&org);
    (server, org)
}

#[test]
fn the_same_first_question_is_asked_of_the_model_once() {
    let upstream = Upstream::that(says(&["By ", "e-mail [1]."]));
    let (server, org) = caching(&upstream);
    let first = ask(&org, QUESTION);
    assert_eq!(first["turn"]["cache"], json!(null));
    let again = ask(&org, "  WHERE is my\nparcel ");
    assert_eq!((upstream.times(), &again["turn"]["cache"]), (1, &json!("exact")), "{}", again.text());
    assert_eq!(again["turn"]["usage"], json!({"prompt_tokens": 0, "completion_tokens": 0}));
    for (field, of) in [("content", "reply"), ("citations", "reply"), ("outcome", "turn"), ("model", "turn")]
    {
        assert_eq!(first[of][field], again[of][field], "{field}");
    }
    let turn = again["turn"]["id"].as_str().unwrap();
    let conversation = again["conversation"]["id"].as_str().unwrap();
    let stored = org.get(&format!("/v1/conversations/{conversation}/turns/{turn}")).status(200);
    assert_eq!(stored["cache"], "exact");

    let body = json!({"message": QUESTION, "stream": true});
    let events: Vec<_> = org.request("POST", "/v1/conversations").json(&body).stream().collect();
    let deltas = events.iter().filter(|event| event.kind == "turn.delta");
    let text: String = deltas.map(|event| event.data["text"].as_str().unwrap()).collect();
    assert_eq!((text.as_str(), upstream.times()), ("By e-mail.", 1));

    // Another organization with the same articles knows nothing of it.
    let other = server.organization();
    stock(&other);
    assert_eq!((ask(&other, QUESTION)["turn"]["cache"].clone(), upstream.times()), (json!(null), 2));
}

#[test]
fn what_is_not_the_same_question_is_asked_anew() {
    let upstream = Upstream::that(says(&["By e-mail [1]."]));
    let (_server, org) = caching(&upstream);
    let first = ask(&org, QUESTION);
    let conversation = format!("/v1/conversations/{}", first["conversation"]["id"].as_str().unwrap());
    let mut times = 1;
    let mut is_new = |what: &str, cache: &serde_json::Value| {
        times += 1;
        assert_eq!((upstream.times(), cache), (times, &json!(null)), "{what}");
    };
    let follow_up = org.post(&format!("{conversation}/messages"), json!({"content": QUESTION})).status(200);
    is_new("the same words, later in a conversation", &follow_up["turn"]["cache"]);
    let in_dutch = json!({"message": QUESTION, "language": "nl"});
    is_new("in another language", &org.post("/v1/conversations", in_dutch).status(201)["turn"]["cache"]);
    is_new("other words", &ask(&org, "where is my parcels")["turn"]["cache"]);

    let cached = ask(&org, QUESTION);
    assert_eq!(cached["turn"]["cache"], "exact");
    let turns = format!("/v1/conversations/{}/turns", cached["conversation"]["id"].as_str().unwrap());
    let retry = format!("{turns}/{}/retry", cached["turn"]["id"].as_str().unwrap());
    is_new("a retry", &org.post(&retry, json!({})).status(200)["turn"]["cache"]);

    let parcels = json!({"title": "Where is my parcel?", "content": "Ask the carrier for your parcel."});
    org.put("/v1/knowledge/external/parcels", parcels).status(200);
    let answer = ask(&org, QUESTION);
    is_new("a changed article", &answer["turn"]["cache"]);
    assert_eq!(answer["reply"]["citations"][0]["article_version"], 2);
    assert_eq!(ask(&org, QUESTION)["turn"]["cache"], "exact");
}

#[test]
fn only_answers_are_kept_and_only_where_that_is_wanted() {
    let upstream = Upstream::that(says(&["I do not know. Shall I ask a colleague?"]));
    let (_server, org) = caching(&upstream);
    for times in 1..3 {
        let answer = ask(&org, QUESTION);
        assert_eq!((&answer["turn"]["outcome"], upstream.times()), (&json!("unanswered"), times));
    }
    upstream.now(says(&["By e-mail [1]."]));
    let server = server_with(&upstream, "openai", &[("model.openai.cache_answers", "false")]);
    let org = server.organization();
    stock(&org);
    ask(&org, QUESTION);
    assert_eq!((ask(&org, QUESTION)["turn"]["cache"].clone(), upstream.times()), (json!(null), 4));
}

#[test]
fn an_erased_conversation_takes_its_answer_along() {
    let upstream = Upstream::that(says(&["By e-mail, Ada [1]."]));
    let (_server, org) = caching(&upstream);
    let first = ask(&org, QUESTION);
    let second = ask(&org, QUESTION);
    assert_eq!(second["turn"]["cache"], "exact");
    // Erasing one that was only given the answer changes nothing.
    let erase = |answer: &crate::harness::Reply| {
        let conversation = answer["conversation"]["id"].as_str().unwrap();
        org.delete(&format!("/v1/conversations/{conversation}")).status(204);
    };
    erase(&second);
    assert_eq!(ask(&org, QUESTION)["turn"]["cache"], "exact");
    erase(&first);
    upstream.now(says(&["By e-mail [1]."]));
    let third = ask(&org, QUESTION);
    assert_eq!((&third["turn"]["cache"], content(&third)), (&json!(null), "By e-mail."));
    assert_eq!(upstream.times(), 2);
}
