//! The builtin answerer: answers in the words of the best passage, says plainly when it does not know, and offers a
//! person. Needs no network and no model.
//!
//! What an answer says depends on how sure the search is. Sure enough: the passage itself, cited to the character.
//! Less sure: titles that may help. Else: "I don't know". Text of articles and of customers is data here; nothing in
//! it can make this code do anything but show it.

mod phrases;
mod small_talk;
#[cfg(test)]
mod tests;

use futures_util::{FutureExt, StreamExt, stream};
use tracing::warn;

use self::phrases::Phrases;
use super::{AnswerError, AnswerStream, Chunk, Citation, Finished, Outcome, Question, Said, Speaker, Usage};
use crate::knowledge::Knowledge;
use crate::knowledge::index::{Hit, Query};
use crate::knowledge::language::Language;
use crate::organization::{Organizations, Settings};

/// The name of the model in `GET /v1/models` and on turns.
pub const MODEL: &str = "builtin";

/// Titles suggested when none is sure: more are a search page.
const SUGGESTIONS: usize = 3;

/// How sure the search must be, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// To answer. Of questions about other things than the articles, at most 1 in 100 passes the default.
    pub answer: f32,
    /// To suggest titles.
    pub suggest: f32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { answer: 0.5, suggest: 0.2 }
    }
}

impl From<&Settings> for Thresholds {
    fn from(settings: &Settings) -> Self {
        Self { answer: settings.answer_threshold as f32, suggest: settings.suggest_threshold as f32 }
    }
}

/// The builtin model. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Builtin {
    /// What it answers from.
    pub knowledge: Knowledge,
    /// How sure each organization wants it to be.
    pub organizations: Organizations,
}

impl Builtin {
    /// Answers from the articles of the question's organization, as sure as that wants it.
    #[must_use]
    pub fn answer(&self, question: &Question) -> AnswerStream {
        let (model, question) = (self.clone(), question.clone());
        async move {
            match super::settings(&model.organizations, question.org).await {
                Ok(settings) => answer(&model.knowledge, &question, Thresholds::from(&settings)),
                Err(error) => stream::iter([Err(error)]).boxed_local(),
            }
        }
        .into_stream()
        .flatten()
        .boxed_local()
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Composed {
    /// What the customer reads.
    pub text: String,
    /// What was decided.
    pub outcome: Outcome,
    /// Of an answer, its passage.
    pub citations: Vec<Citation>,
    /// How sure the search was; none for small talk.
    pub confidence: Option<f64>,
}

/// Answers from the articles of the question's organization.
#[must_use]
pub fn answer(knowledge: &Knowledge, question: &Question, thresholds: Thresholds) -> AnswerStream {
    let (knowledge, org) = (knowledge.clone(), question.org);
    let turns = customer_turns(&question.said);
    let language = question.language.as_deref().and_then(Language::parse);
    async move {
        let prompt_tokens = turns.last().map_or(0, |asked| words(asked));
        let composed = match small_talk::reply(turns.last().map_or("", String::as_str), language) {
            Some(reply) => Ok(reply),
            None => {
                let query = Query { turns, language, limit: SUGGESTIONS, ..Query::default() };
                let found = knowledge.search(org, &query).await;
                found.map(|hits| compose(&hits, &query, thresholds))
            }
        };
        match composed {
            Ok(composed) => stream::iter(chunks(composed, prompt_tokens)).left_stream(),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, org.id = %org, "the articles could not be searched");
                let failed =
                    AnswerError { code: "knowledge_unavailable", message: "the articles cannot be searched at the moment" };
                stream::iter([Err(failed)]).right_stream()
            }
        }
    }
    .into_stream()
    .flatten()
    .boxed_local()
}

/// What the customer said, turn by turn, oldest first. Messages that nobody answered in between are one turn. What was
/// said to a person is not asked of the assistant: it begins anew behind the note that the person has left.
pub(super) fn customer_turns(said: &[Said]) -> Vec<String> {
    let since = said.iter().rposition(|said| said.by == Speaker::Agent).map_or(0, |last| {
        let note = said[last..].iter().position(|said| said.by == Speaker::System).unwrap_or(0);
        last + note + 1
    });
    said[since..]
        .chunk_by(|a, b| a.by == b.by)
        .filter(|run| run.first().is_some_and(|said| said.by == Speaker::Customer))
        .map(|run| run.iter().map(|said| &*said.text).collect::<Vec<_>>().join("\n"))
        .collect()
}

/// Decides what to say about `hits`, which `query` found.
#[must_use]
pub fn compose(hits: &[Hit], query: &Query, thresholds: Thresholds) -> Composed {
    let asked = query.turns.last().map_or("", String::as_str);
    let best = hits.first();
    let language = query
        .language
        .or_else(|| Language::detect(asked))
        // A short question tells little; that an article in this language fits tells more.
        .or(best.filter(|best| best.confidence >= thresholds.suggest).map(|best| best.entry.language))
        .unwrap_or(Language::DEFAULT);
    let phrases = Phrases::of(language);
    let confidence = Some(best.map_or(0.0, |best| f64::from(best.confidence)));
    let (text, outcome, citations) = match best {
        Some(best) if best.confidence >= thresholds.answer => {
            let text = best.passage_text().to_owned();
            let citation = cite(best, &text);
            (text, Outcome::Answered, vec![citation])
        }
        Some(best) if best.confidence >= thresholds.suggest => {
            let likely = hits.iter().take(SUGGESTIONS).map(suggestion).collect::<Vec<_>>().join("\n");
            let text = format!("{}\n{likely}\n\n{}", phrases.may_help, phrases.offer_person);
            (text, Outcome::Suggested, Vec::new())
        }
        _ => {
            let text = format!("{} {}", phrases.do_not_know, phrases.offer_person);
            (text, Outcome::Unanswered, Vec::new())
        }
    };
    Composed { text, outcome, citations, confidence }
}

/// The citation of an answer that is a passage from end to end.
fn cite(hit: &Hit, passage: &str) -> Citation {
    let article = &hit.entry.article;
    Citation {
        article_id: article.id,
        article_version: article.version,
        title: article.fields.title.clone(),
        url: article.fields.url.clone(),
        passage: passage.to_owned(),
        start: 0,
        end: passage.chars().count(),
        topic: article.fields.topic.clone(),
    }
}

fn suggestion(hit: &Hit) -> String {
    let fields = &hit.entry.article.fields;
    let heading = hit.headings().last().copied().unwrap_or_default();
    // A title may be empty; something must stand for the article.
    let name = [fields.title.as_str(), heading].into_iter().find(|name| !name.trim().is_empty());
    let name = name.map_or_else(|| first_words(hit.passage_text()), str::to_owned);
    match &fields.url {
        Some(url) => format!("- {name}: {url}"),
        None => format!("- {name}"),
    }
}

fn first_words(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().take(8).collect();
    format!("{} …", words.join(" "))
}

/// The text word by word, then the end.
fn chunks(composed: Composed, prompt_tokens: u64) -> Vec<Result<Chunk, AnswerError>> {
    let Composed { text, outcome, citations, confidence } = composed;
    let usage = Usage { prompt_tokens, completion_tokens: words(&text) };
    let mut chunks: Vec<_> =
        text.split_inclusive(char::is_whitespace).map(|word| Ok(Chunk::Text(word.to_owned()))).collect();
    let model = MODEL.to_owned();
    chunks.push(Ok(Chunk::Done(Finished { outcome, citations, confidence, usage, model, cached: false })));
    chunks
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}
