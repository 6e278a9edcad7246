use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::clock::Timestamp;
use crate::ids::{ArticleId, ConversationId, TurnId};
use crate::knowledge::article::{Article, Draft, Entry, Fields};
use crate::knowledge::markup::Format;
use crate::knowledge::messages::{Precondition, PutArticle, PutTarget};
use crate::testing::{test_organization, test_store};
use crate::writer::Writer;

fn fields(title: &str) -> Fields {
    Fields {
        external_id: None,
        source: None,
        title: title.to_owned(),
        format: Format::Markdown,
        language: "en".to_owned(),
        topic: None,
        url: None,
        metadata: BTreeMap::new(),
        published: true,
    }
}

fn hit(title: &str, content: &str, confidence: f32) -> Hit {
    let now = Timestamp(0);
    let article = Article {
        id: ArticleId::generate(),
        version: 3,
        fields: fields(title),
        created_at: now,
        updated_at: now,
    };
    let entry = Arc::new(Entry::read(Arc::new(article), content).unwrap());
    Hit::made_up(entry, confidence)
}

fn asked(text: &str, language: Option<Language>) -> Query {
    Query { turns: vec![text.to_owned()], language, limit: 3, ..Query::default() }
}

#[test]
fn an_answer_is_the_passage_and_cites_it_to_the_character() {
    let hits = [hit("Café", "Über **uns**: naïve 🙂 text.", 0.5), hit("Other", "x", 0.2)];
    let answer = compose(&hits, &asked("?", None), Thresholds::default());
    assert_eq!((answer.text.as_str(), answer.outcome), ("Über uns: naïve 🙂 text.", Outcome::Answered));
    let [citation] = answer.citations.as_slice() else { panic!("one citation") };
    let cited: String =
        answer.text.chars().skip(citation.start).take(citation.end - citation.start).collect();
    assert_eq!((cited, citation.article_version), (citation.passage.clone(), 3));
    assert_eq!(answer.confidence, Some(0.5));
}

#[test]
fn unsure_it_names_what_may_help_and_offers_a_person() {
    let hits = [hit("Returns", "x", 0.4), hit("", "# Sizes\n\nx", 0.3), hit("", "one two three", 0.1)];
    let answer = compose(&hits, &asked("?", Some(Language::Dutch)), Thresholds::default());
    let expected = "Ik weet het niet zeker, maar misschien helpt dit:\n- Returns\n- Sizes\n- one two three …\n\n\
                    Zal ik een collega vragen om je te helpen?";
    assert_eq!((answer.text.as_str(), answer.outcome), (expected, Outcome::Suggested));
    assert!(answer.citations.is_empty());
}

#[test]
fn it_says_that_it_does_not_know() {
    for hits in [vec![], vec![hit("Returns", "x", 0.19)]] {
        let answer = compose(&hits, &asked("?", None), Thresholds::default());
        let expected = "I'm sorry, I don't know the answer to that. Shall I ask a colleague to help you?";
        assert_eq!((answer.text.as_str(), answer.outcome), (expected, Outcome::Unanswered));
        assert!(answer.citations.is_empty());
    }
}

#[test]
fn messages_in_a_row_are_one_turn() {
    let say = |by, text: &str| Said { by, text: text.into() };
    let said = [
        say(Speaker::Customer, "a"),
        say(Speaker::Assistant, "b"),
        say(Speaker::Customer, "c"),
        say(Speaker::Customer, "d"),
    ];
    assert_eq!(customer_turns(&said), ["a", "c\nd"]);
}

#[test]
fn what_was_said_to_a_person_is_not_asked_of_the_assistant() {
    let say = |by, text: &str| Said { by, text: text.into() };
    let mut said = vec![
        say(Speaker::Customer, "a"),
        say(Speaker::Agent, "b"),
        say(Speaker::Customer, "to the person"),
        say(Speaker::System, "the person has left"),
        say(Speaker::Customer, "c"),
    ];
    assert_eq!(customer_turns(&said), ["c"]);
    said.remove(3);
    assert_eq!(customer_turns(&said), ["to the person\nc"], "without a note from the person's last words on");
}

#[actix::test]
async fn an_answer_streams_word_by_word_and_ends_with_what_is_known_of_it() {
    let store = test_store().await;
    let writer = Writer::start(&store, "one").await.unwrap();
    let org = test_organization(&writer).await;
    let knowledge = Knowledge::start((*store).clone(), writer);
    let content = "Follow your parcel with the code.\n\nThe code is in the e-mail.";
    let put = PutArticle {
        org,
        target: PutTarget::New(ArticleId::generate()),
        draft: Draft::read(fields("Parcels"), content.to_owned()).unwrap(),
        only_if: Precondition::None,
        now: Timestamp::now(),
        idempotency: None,
    };
    knowledge.put(put).await.unwrap();
    let question = |text: &str| Question {
        org,
        conversation: ConversationId::generate(),
        turn: TurnId::generate(),
        attempt: 1,
        language: None,
        said: vec![Said { by: Speaker::Customer, text: text.into() }],
        model: None,
        synthetic: None,
        repeats: false,
        stored: true,
    };
    // One article makes no statistics: any hit is an answer here.
    let eager = Thresholds { answer: 0.0, suggest: 0.0 };
    let chunks: Vec<_> = answer(&knowledge, &question("parcel code"), eager).collect().await;
    let mut text = String::new();
    let mut finished = None;
    for chunk in chunks {
        match chunk.unwrap() {
            Chunk::Text(word) => {
                assert!(finished.is_none() && word.split_whitespace().count() <= 1);
                text.push_str(&word);
            }
            Chunk::Done(done) => finished = Some(done),
        }
    }
    let finished = finished.unwrap();
    assert_eq!((text.as_str(), finished.outcome), (content, Outcome::Answered));
    assert_eq!((finished.citations[0].passage.as_str(), finished.usage.completion_tokens), (content, 12));

    let thanks: Vec<_> = answer(&knowledge, &question("thanks!"), eager).collect().await;
    assert!(matches!(thanks.last(), Some(Ok(Chunk::Done(done))) if done.outcome == Outcome::SmallTalk));
}
