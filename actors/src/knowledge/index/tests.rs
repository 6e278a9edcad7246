use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::article::{Article, Fields};
use super::super::embeddings::{Meaning, Vector, Vectors};
use super::super::markup::Format;
use super::*;
use crate::clock::Timestamp;

fn article_id(number: u8) -> ArticleId {
    format!("art_{number:026}").parse().unwrap()
}

fn entry(number: u8, title: &str, language: &str, content: &str) -> Arc<Entry> {
    let fields = Fields {
        external_id: None,
        source: None,
        title: title.to_owned(),
        format: Format::Markdown,
        language: language.to_owned(),
        topic: (number.is_multiple_of(2)).then(|| "even".to_owned()),
        url: None,
        metadata: BTreeMap::new(),
        published: true,
    };
    let now = Timestamp(0);
    let article = Article { id: article_id(number), version: 1, fields, created_at: now, updated_at: now };
    Arc::new(Entry::read(Arc::new(article), content).unwrap())
}

fn put(index: &mut Index, entry: Arc<Entry>) {
    let replaced = index.get(entry.article.id).cloned().map(Prepared::of);
    index.put(&Prepared::of(entry), replaced.as_ref());
}

fn remove(index: &mut Index, number: u8) {
    if let Some(entry) = index.get(article_id(number)).cloned() {
        index.remove(&Prepared::of(entry));
    }
}

fn shop() -> Index {
    let mut index = Index::default();
    for (number, title, language, content) in [
        (
            1,
            "Following a parcel",
            "en",
            "You get a tracking code by e-mail. Enter the code on our tracking page.",
        ),
        (2, "Returning shoes", "en", "Send the shoes back within thirty days. You get your money back."),
        (3, "Gift cards", "en", "A gift card is valid for two years. It cannot be exchanged for money."),
        (4, "Een pakket volgen", "nl", "U krijgt een code per e-mail waarmee u uw pakket kunt volgen."),
        (5, "Opening hours", "en", "We are open from nine to five.\n\n## Sunday\n\nOn Sunday we are closed."),
    ] {
        put(&mut index, entry(number, title, language, content));
    }
    index
}

fn ask(index: &Index, turns: &[&str]) -> Vec<Hit> {
    let turns = turns.iter().map(|text| (*text).to_owned()).collect();
    index.search(&Query { turns, limit: 3, ..Query::default() })
}

fn best(index: &Index, turns: &[&str]) -> Option<ArticleId> {
    ask(index, turns).first().map(|hit| hit.entry.article.id)
}

#[test]
fn a_question_finds_its_article_and_passage() {
    let index = shop();
    let hits = ask(&index, &["Are you open on Sunday?"]);
    assert_eq!(hits[0].entry.article.id, article_id(5));
    assert_eq!(hits[0].passage_text(), "On Sunday we are closed.");
    assert!(hits.is_sorted_by(|a, b| a.score >= b.score && a.confidence >= b.confidence));
}

#[test]
fn typing_errors_compounds_and_other_languages_are_understood() {
    let index = shop();
    assert_eq!(best(&index, &["retrun my sheos"]), Some(article_id(2)));
    assert_eq!(best(&index, &["pakketcode"]), Some(article_id(4)));
    assert_eq!(best(&index, &["waar kan ik mijn pakket volgen?"]), Some(article_id(4)));
}

#[test]
fn a_follow_up_is_read_with_what_was_asked_before() {
    let index = shop();
    assert_eq!(best(&index, &["Can I use a gift card?", "how long is it valid"]), Some(article_id(3)));
    assert_eq!(best(&index, &["Can I use a gift card?", "Are you open on Sunday?"]), Some(article_id(5)));
}

#[test]
fn what_was_asked_before_makes_nothing_surer_of_another_subject() {
    let index = shop();
    let sureness = |turns: &[&str]| ask(&index, turns).first().map_or(0.0, |hit| hit.confidence);
    let before = "Can I exchange a gift card for money?";
    assert!(sureness(&[before, "and how long is it valid?"]) > sureness(&["and how long is it valid?"]));
    for other in ["Is the president open to questions?", "xylophone lessons"] {
        assert!(sureness(&[before, other]) <= sureness(&[other]), "{other}");
    }
}

#[test]
fn titles_weigh_more_where_they_are_questions_and_the_same_for_all() {
    let mut index = shop();
    let before = index.title_weight();
    put(&mut index, entry(6, "Do you ship abroad? [FAQ]", "en", "Yes, everywhere."));
    assert!(index.title_weight() > before);
    remove(&mut index, 6);
    assert_eq!(index.title_weight(), before);
}

#[test]
fn an_explanation_adds_up() {
    let full = shop();
    let mut lean = Index::lean();
    full.places().for_each(|(_, place)| put(&mut lean, Arc::clone(&place.entry)));
    [full, lean].iter().for_each(adds_up);
}

fn adds_up(index: &Index) {
    let turns = ["Can I use a gift card?", "how long is it vallid"].map(str::to_owned).to_vec();
    let query = Query { turns, limit: 2, ..Query::default() };
    let (hits, explained) = (index.search(&query), index.explain(&query, None));
    assert_eq!(hits.len(), explained.hits.len());
    for (hit, parts) in hits.iter().zip(&explained.hits) {
        let grams = explained.gram_weight * (parts.article_grams + parts.passage_grams);
        let sum = parts.article + parts.passage + grams + explained.title_weight * parts.title_words;
        assert!((sum - hit.score).abs() < 1e-3, "{sum} is not {}: {parts:?}", hit.score);
        assert_eq!((parts.score, parts.confidence), (hit.score, hit.confidence));
        assert!(parts.score <= explained.ceiling);
    }
    let repaired = explained.words.iter().find(|word| word.word == "valid").unwrap();
    assert_eq!((repaired.typed.as_deref(), repaired.weight), (Some("vallid"), 1.0));
    let earlier = explained.words.iter().find(|word| word.word == "gift").unwrap();
    assert!(earlier.weight < 1.0 && earlier.rarity > 0.0);
}

#[test]
fn what_nothing_is_about_finds_nothing() {
    assert!(ask(&shop(), &["xylophone"]).is_empty());
    assert!(ask(&shop(), &[""]).is_empty());
    assert!(ask(&Index::default(), &["parcel"]).is_empty());
}

#[test]
fn the_words_asked_for_are_pointed_out_in_the_passage() {
    let mut index = Index::default();
    put(&mut index, entry(1, "Été", "en", "Naïve cafés sell parcels: a parcel."));
    let query = Query { turns: vec!["a café parcel".into()], limit: 1, ..Query::default() };
    let hit = &index.search(&query)[0];
    let shown = hit
        .highlights(&query)
        .into_iter()
        .map(|chars| hit.passage_text().chars().skip(chars.start).take(chars.len()).collect::<String>());
    assert_eq!(shown.collect::<Vec<_>>(), ["cafés", "parcels", "parcel"]);
}

#[test]
fn filters_leave_out_the_others() {
    let query =
        Query { turns: vec!["code".into()], topic: Some("even".into()), limit: 9, ..Query::default() };
    let found: Vec<_> = shop().search(&query).iter().map(|hit| hit.entry.article.id).collect();
    assert_eq!(found, [article_id(4)]);
    let query = Query { topic: None, article_language: Some("en".into()), ..query };
    assert!(shop().search(&query).iter().all(|hit| hit.entry.article.fields.language == "en"));
}

#[derive(Debug, Clone)]
enum Change {
    Put(u8, Vec<u8>),
    Remove(u8),
    Sweep,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => (0..12u8, prop::collection::vec(0..WORDS.len() as u8, 1..40)).prop_map(|(n, words)| Change::Put(n, words)),
        3 => (0..12u8).prop_map(Change::Remove),
        1 => Just(Change::Sweep),
    ]
}

const WORDS: [&str; 12] = [
    "parcel",
    "parcels",
    "refund",
    "the",
    "of",
    "# card",
    "\n\n## money",
    "\n- shoe",
    "shoes.",
    "Delivery",
    "it",
    "8812",
];

fn content(words: &[u8]) -> String {
    words.iter().map(|word| WORDS[*word as usize]).collect::<Vec<_>>().join(" ")
}

type Seen = Vec<(ArticleId, usize, f32, f32)>;

fn seen(index: &Index, question: &str) -> Seen {
    let hits = ask(index, &["refund of the card", question]);
    hits.iter().map(|hit| (hit.entry.article.id, hit.passage, hit.score, hit.confidence)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_sequence_of_changes_leaves_the_index_of_what_is_left(
        changes in prop::collection::vec(change(), 1..60),
        lean in any::<bool>(),
    ) {
        let empty = if lean { Index::lean } else { Index::default };
        let mut index = empty();
        let mut left = BTreeMap::new();
        for change in changes {
            match change {
                Change::Put(number, words) => {
                    let title = format!("{}{}", WORDS[words[0] as usize], if words.len() % 3 == 0 { "?" } else { "" });
                    let entry = entry(number, &title, "en", &content(&words));
                    put(&mut index, Arc::clone(&entry));
                    left.insert(number, entry);
                }
                Change::Remove(number) => {
                    remove(&mut index, number);
                    left.remove(&number);
                }
                Change::Sweep => index = index.swept(),
            }
        }
        let mut fresh = empty();
        left.into_values().rev().for_each(|entry| put(&mut fresh, entry));
        prop_assert_eq!(index.len(), fresh.len());
        for question in ["parcel", "shoe delivry", "the money", "what of 8812 in card"] {
            prop_assert_eq!(seen(&index, question), seen(&fresh, question), "{}", question);
        }
    }
}

/// Each article in a direction of its own, given by its number.
fn direction(number: u8) -> Vector {
    let numbers: Vec<f32> = (0..8).map(|at| if at == number { 1.0 } else { 0.05 }).collect();
    Vector::of(&numbers).unwrap()
}

fn attach(index: &mut Index, number: u8) {
    let entry = Arc::clone(index.get(article_id(number)).unwrap());
    let vectors: Vec<_> = entry.passages.iter().map(|_| Some(direction(number))).collect();
    index.attach(&entry, &Arc::new(Vectors::of([number; 16], &vectors).unwrap()));
}

#[test]
fn what_is_meant_moves_up_and_makes_nothing_surer() {
    let mut index = shop();
    (1..=4).for_each(|number| attach(&mut index, number));
    let query = Query { turns: vec!["gift card".into()], limit: 5, ..Query::default() };
    let by_words = index.search(&query);
    assert_eq!(by_words[0].entry.article.id, article_id(3));
    let meaning = |number, weight| Meaning { question: direction(number), with_earlier: None, weight };
    let ids = |hits: &[Hit]| hits.iter().map(|hit| hit.entry.article.id).collect::<Vec<_>>();

    let found = index.search_by_meaning(&query, &meaning(1, 0.7));
    assert_eq!(ids(&found)[..2], [article_id(1), article_id(3)]);
    assert_eq!((found[0].words, found[0].confidence), (0.0, 0.0));
    assert!(found.iter().all(|hit| hit.confidence <= by_words[0].confidence));
    let explained = index.explain(&query, Some(&meaning(1, 0.7)));
    assert_eq!((explained.meaning_weight, explained.hits[0].likeness), (Some(0.7), found[0].likeness));

    // Where both agree, it is as sure as words alone are.
    let agreed = index.search_by_meaning(&query, &meaning(3, 0.5));
    assert_eq!((agreed[0].score, agreed[0].confidence), (1.0, by_words[0].confidence));
    // The fifth has no vectors: it neither gains nor loses by that.
    let sunday = Query { turns: vec!["sunday".into()], ..query.clone() };
    let best = &index.search_by_meaning(&sunday, &meaning(1, 0.5))[0];
    assert_eq!((best.entry.article.id, best.score, best.likeness), (article_id(5), 1.0, None));
    // Of another model nothing can be compared.
    let foreign = Meaning { question: Vector::of(&[1.0, 1.0]).unwrap(), with_earlier: None, weight: 0.5 };
    assert_eq!(ids(&index.search_by_meaning(&query, &foreign)), ids(&by_words));
}

#[test]
fn vectors_come_and_go_with_their_article() {
    let mut index = shop();
    (1..=5).for_each(|number| attach(&mut index, number));
    let all = index.vector_bytes();
    attach(&mut index, 2);
    assert_eq!((index.vector_bytes(), index.swept().vector_bytes()), (all, all));
    // Another entry of the same article: these are not its vectors.
    let before = Arc::clone(index.get(article_id(1)).unwrap());
    let vectors = Arc::clone(index.vectors(article_id(1)).unwrap());
    put(&mut index, entry(1, "Another", "en", "Another."));
    index.attach(&before, &vectors);
    assert!(index.vectors(article_id(1)).is_none() && index.vector_bytes() < all);
    (1..=5).for_each(|number| remove(&mut index, number));
    assert_eq!(index.vector_bytes(), 0);
}
