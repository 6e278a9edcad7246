//! From a question to the first text: search, prompt, tries.

use std::{future, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, warn};

use super::{
    OpenAi,
    failure::error,
    prompt::{self, Message},
    reading::{Reading, Supplied},
};
use crate::{
    answer::{
        self, AnswerError, AnswerStream, Chunk, Question,
        cache::{self, AnswerCache, Key},
        grounded::{self, Thresholds},
    },
    knowledge::{
        index::{Hit, Query},
        language::Language,
    },
    organization::Settings,
    upstream::{Failure, Kind, breaker::Permit, retry},
};

/// Asks the model, once it is polled.
pub(super) fn answer(model: &OpenAi, question: &Question) -> AnswerStream {
    let asking = Asking { model: model.clone(), question: question.clone(), since: Instant::now() };
    let begun = async move {
        match asking.begin().await {
            Ok(answer) => answer,
            Err(error) => stream::once(future::ready(Err(error))).boxed_local(),
        }
    };
    begun.into_stream().flatten().boxed_local()
}

/// Tells a colleague what was said so far. Nothing is searched for it, and no setting of the organization's is in it.
pub(super) async fn summarise(model: OpenAi, question: Question) -> Result<String, AnswerError> {
    let messages = prompt::summary(&question);
    let asking = Asking { model, question, since: Instant::now() };
    let reading = asking.begun(messages, Vec::new()).await.map_err(|failure| error(failure.kind))?;
    let mut chunks = reading.into_stream();
    let mut text = String::new();
    while let Some(chunk) = chunks.next().await {
        match chunk? {
            Chunk::Text(piece) => text.push_str(&piece),
            Chunk::Done(_) => break,
        }
    }
    Ok(text)
}

struct Asking {
    model: OpenAi,
    question: Question,
    since: Instant,
}

/// The body of `/chat/completions`. No temperature and no limit of tokens: some models refuse either.
#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: &'a [Message],
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl Asking {
    async fn begin(self) -> Result<AnswerStream, AnswerError> {
        let settings = answer::settings(&self.model.0.organizations, self.question.org).await?;
        let hits = self.search().await?;
        if settings.strict_grounding && !is_found(&hits, &settings) {
            let thresholds = Thresholds::from(&settings);
            return Ok(grounded::answer(&self.model.0.knowledge, &self.question, thresholds));
        }
        let Some((cache, key)) = self.kept_as(&hits) else {
            let reading = self.ask(hits).await.map_err(|failure| error(failure.kind))?;
            return Ok(reading.into_stream());
        };
        if let Some(chunks) = cache.get(&key).await {
            return Ok(stream::iter(chunks.map(Ok)).boxed_local());
        }
        let question = self.question.clone();
        let reading = self.ask(hits).await.map_err(|failure| error(failure.kind))?;
        let mut text = String::new();
        let kept = reading.into_stream().inspect(move |chunk| match chunk {
            Ok(Chunk::Text(piece)) => text.push_str(piece),
            Ok(Chunk::Done(finished)) => cache.keep(key, &question, &text, finished),
            Err(_) => {}
        });
        Ok(kept.boxed_local())
    }

    /// Where an answer to this question with these passages is kept, if it may be.
    fn kept_as(&self, hits: &[Hit]) -> Option<(AnswerCache, Key)> {
        let cache = self.model.0.cache.clone().filter(|_| cache::is_standalone(&self.question))?;
        let mut question = self.question.clone();
        for said in &mut question.said {
            said.text = said.text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ").into();
        }
        let prompt = serde_json::to_vec(&prompt::messages(&question, hits)).ok()?;
        let source = |hit: &Hit| {
            let article = &hit.entry.article;
            let (url, title) = (&article.fields.url, &article.fields.title);
            // The prompt shows neither all of a title nor where it stands, and a citation both.
            format!("{} {} {} {url:?} {title:?}", article.id, article.version, hit.passage)
        };
        let sources: Vec<String> = hits.iter().map(source).collect();
        let org = self.question.org.to_string();
        let parts = [org.as_bytes(), self.model.name().as_bytes(), &prompt];
        let key = cache::key(parts.into_iter().chain(sources.iter().map(String::as_bytes)));
        Some((cache, key))
    }

    /// The same search as the builtin answerer's, with earlier questions, for more articles.
    async fn search(&self) -> Result<Vec<Hit>, AnswerError> {
        let turns = grounded::customer_turns(&self.question.said);
        let language = self.question.language.as_deref().and_then(Language::parse);
        let query = Query { turns, language, limit: prompt::PASSAGES, ..Query::default() };
        self.model.0.knowledge.search(self.question.org, &query).await.map_err(|error| {
            warn!(org.id = %self.question.org, error = &error as &dyn std::error::Error, "the articles could not be searched");
            AnswerError { code: "knowledge_unavailable", message: "the articles cannot be searched at the moment" }
        })
    }

    async fn ask(&self, hits: Vec<Hit>) -> Result<Reading, Failure> {
        self.begun(prompt::messages(&self.question, &hits), hits).await
    }

    /// Tries until there is text, an end to the tries, or no time.
    async fn begun(&self, messages: Vec<Message>, hits: Vec<Hit>) -> Result<Reading, Failure> {
        let model = &self.model.0;
        let permit = model.breaker.enter(Instant::now()).ok_or(Kind::Suspended)?;
        let characters = messages.iter().map(|message| message.content.chars().count() as u64).sum();
        let supplied = Supplied { hits, characters };
        // One deadline for all tries: however often it is tried, customers wait no longer for it.
        let deadlines = &model.endpoint.settings.deadlines;
        let deadline = self.since + deadlines.first_token.min(deadlines.total);
        let mut tries = 0;
        loop {
            tries += 1;
            let tried = timeout_at(deadline, self.attempt(&messages, &supplied)).await;
            let failure = match tried.unwrap_or(Err(Kind::TimedOut.into())) {
                Ok(reading) => return Ok(reading.permitted(permit)),
                Err(failure) => failure,
            };
            let wait = retry::wait(tries, retry::draw(), failure.retry_after);
            let left = deadline.saturating_duration_since(Instant::now());
            if !failure.kind.passes() || tries == retry::TRIES || wait >= left {
                report(permit, &self.model, &self.question, failure, tries);
                return Err(failure);
            }
            debug!(model = self.model.name(), %failure, wait_ms = wait.as_millis() as u64, "the model is asked again");
            sleep(wait).await;
        }
    }

    /// One try: as far as the first text.
    async fn attempt(&self, messages: &[Message], supplied: &Supplied) -> Result<Reading, Failure> {
        let model = &self.model.0;
        let sent = model.usage.is_sent();
        let response = match model.endpoint.complete(self.body(messages, sent)).await {
            Err(Failure { kind: Kind::Rejected, .. }) if sent && model.usage.may_be_why() => {
                let response = model.endpoint.complete(self.body(messages, false)).await?;
                model.usage.learn(false);
                response
            }
            answered => {
                let response = answered?;
                model.usage.learn(sent);
                response
            }
        };
        let mut reading = Reading::new(&self.model, &self.question, supplied.clone(), response, self.since);
        reading.first().await?;
        Ok(reading)
    }

    fn body(&self, messages: &[Message], with_usage: bool) -> Bytes {
        let request = Request {
            model: self.model.name(),
            messages,
            stream: true,
            stream_options: with_usage.then_some(StreamOptions { include_usage: true }),
        };
        // Strings and booleans: there is nothing in it that JSON cannot say.
        serde_json::to_vec(&request).unwrap_or_default().into()
    }
}

/// Is there anything that the builtin answerer would not call "I don't know"?
fn is_found(hits: &[Hit], settings: &Settings) -> bool {
    hits.first().is_some_and(|best| f64::from(best.confidence) >= settings.suggest_threshold)
}

/// Tells the breaker and the log, once per answer. Neither the upstream's words nor its address stand there.
pub(super) fn report(permit: Permit, model: &OpenAi, question: &Question, failure: Failure, tries: u32) {
    let opened = failure.kind.counts() && permit.failed(Instant::now());
    let code = error(failure.kind).code;
    warn!(org.id = %question.org, conversation.id = %question.conversation, model = model.name(), code,
        status = failure.status, tries, "the model did not answer");
    if opened {
        let seconds = Duration::as_secs(&super::OPEN_FOR);
        warn!(model = model.name(), seconds, "the model has failed repeatedly and is left alone for a while");
    }
}
