//! From the head of an upstream's answer to its end.

use std::{collections::VecDeque, mem, time::Duration};

use awc::ClientResponse;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    OpenAi, asking,
    chunk::{self, Finish, Piece},
    failure::error,
    marks::{Cited, Marks},
    prompt, sse,
};
use crate::{
    answer::{
        AnswerError, AnswerStream, Chunk, Citation, Finished, LONGEST_ANSWER, Outcome, Question, Usage,
    },
    knowledge::index::Hit,
    upstream::{Failure, Kind, breaker::Permit},
};

/// After the model said that it is done, only the count of tokens and `[DONE]` are missed.
const TRAILER_WITHIN: Duration = Duration::from_secs(1);

/// A connection whose answer has ended is read to its end, so that it can be used again; not for long.
const DRAINED_WITHIN: Duration = Duration::from_millis(500);

/// A whole completion in one piece: as much text as an answer may have, escaped, and what stands around it.
const LONGEST_COMPLETION: usize = 1 << 20;

/// A body, with everything around the text: a token of four bytes comes in some 300.
const LONGEST_BODY: usize = 16 << 20;

/// What a token is taken for where the upstream does not count: four characters of English, as OpenAI says.
const CHARACTERS_PER_TOKEN: u64 = 4;

/// What the model was given.
#[derive(Debug, Clone)]
pub(super) struct Supplied {
    /// The passages, in the order of their numbers.
    pub(super) hits: Vec<Hit>,
    /// Of the whole prompt.
    pub(super) characters: u64,
}

/// What kind of body it is, told by its first byte: `{` begins JSON, and never an event.
enum Body {
    Unknown,
    Events(sse::Parser),
    Completion(Vec<u8>),
}

/// What a read came to.
enum Read {
    More,
    /// `[DONE]`: the model's last word, whatever follows.
    Done,
    /// The body is over.
    End,
}

/// An answer being read.
pub(super) struct Reading {
    model: OpenAi,
    question: Question,
    supplied: Supplied,
    response: Option<ClientResponse>,
    permit: Option<Permit>,
    body: Body,
    bytes: usize,
    marks: Marks,
    /// Shown next.
    ready: VecDeque<Result<Chunk, AnswerError>>,
    finish: Option<Finish>,
    usage: Option<Usage>,
    since: Instant,
    /// When the last text came, or the word that it was the last.
    progress: Instant,
    /// It failed, but what came before is shown first.
    broken: Option<Failure>,
    ended: bool,
}

impl Reading {
    pub(super) fn new(
        model: &OpenAi,
        question: &Question,
        supplied: Supplied,
        response: ClientResponse,
        since: Instant,
    ) -> Self {
        Self {
            model: model.clone(),
            question: question.clone(),
            marks: Marks::new(supplied.hits.len(), LONGEST_ANSWER),
            supplied,
            response: Some(response),
            permit: None,
            body: Body::Unknown,
            bytes: 0,
            ready: VecDeque::new(),
            finish: None,
            usage: None,
            since,
            progress: Instant::now(),
            broken: None,
            ended: false,
        }
    }

    /// The breaker learns how this ends.
    pub(super) fn permitted(self, permit: Permit) -> Self {
        Self { permit: Some(permit), ..self }
    }

    /// Reads as far as the first text that can be shown. An answer without any is a failure.
    pub(super) async fn first(&mut self) -> Result<(), Failure> {
        while self.is_blank() && !self.ended {
            let read = self.read().await;
            let ended = match read {
                Ok(Read::More) => continue,
                Ok(read) => self.complete(read),
                Err(failure) => Err(failure),
            };
            match ended {
                Err(failure) if self.is_blank() => return Err(failure),
                // The text that came with it is shown first: whether both are in one packet must not matter.
                ended => self.broken = ended.err(),
            }
        }
        Ok(())
    }

    fn is_blank(&self) -> bool {
        self.marks.content().trim().is_empty()
    }

    /// What is still to come, as it comes.
    pub(super) fn into_stream(self) -> AnswerStream {
        stream::unfold(self, |mut reading| async move { Some((reading.next().await?, reading)) })
            .boxed_local()
    }

    async fn next(&mut self) -> Option<Result<Chunk, AnswerError>> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                if self.ready.is_empty() && self.ended && ready.is_ok() {
                    self.succeed();
                }
                return Some(ready);
            }
            if self.ended {
                return None;
            }
            let read = match self.broken.take() {
                Some(failure) => Err(failure),
                None => timeout_at(self.deadline(), self.read()).await.unwrap_or(Err(Kind::TimedOut.into())),
            };
            let ended = match read {
                Ok(Read::More) => continue,
                Ok(read) => self.complete(read),
                // It had said that it was done; what is missing is no text.
                Err(_) if self.finish.is_some() => self.complete(Read::End),
                Err(failure) => Err(failure),
            };
            if let Err(failure) = ended {
                self.fail(failure);
            }
        }
    }

    fn deadline(&self) -> Instant {
        let deadlines = &self.model.0.endpoint.settings.deadlines;
        let patience = if self.finish.is_some() { TRAILER_WITHIN } else { deadlines.between_tokens };
        (self.progress + patience).min(self.since + deadlines.total)
    }

    /// Takes one piece of the body.
    async fn read(&mut self) -> Result<Read, Failure> {
        let Some(response) = &mut self.response else { return Ok(Read::End) };
        let bytes = response.next().await;
        let mut events = Vec::new();
        let read = match bytes {
            Some(Ok(bytes)) => {
                self.bytes += bytes.len();
                if self.bytes > LONGEST_BODY {
                    return Err(Kind::Broken.into());
                }
                self.take(&bytes, &mut events)?;
                Read::More
            }
            Some(Err(_)) => return Err(Kind::Broken.into()),
            None => {
                self.take_end(&mut events)?;
                Read::End
            }
        };
        for event in events {
            if event.trim() == "[DONE]" {
                return Ok(Read::Done);
            }
            self.hear(chunk::piece(&event)?);
        }
        Ok(read)
    }

    fn take(&mut self, bytes: &Bytes, events: &mut Vec<String>) -> Result<(), Failure> {
        if let Body::Unknown = self.body {
            let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
            match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
                Some(b'{') => self.body = Body::Completion(Vec::new()),
                Some(_) => self.body = Body::Events(sse::Parser::default()),
                // Blank lines mean nothing in either.
                None => return Ok(()),
            }
        }
        match &mut self.body {
            Body::Events(parser) => parser.push(bytes, events).map_err(|sse::TooLong| Kind::Broken)?,
            Body::Completion(json) if json.len() + bytes.len() > LONGEST_COMPLETION => {
                return Err(Kind::Broken.into());
            }
            Body::Completion(json) => json.extend_from_slice(bytes),
            Body::Unknown => {}
        }
        Ok(())
    }

    fn take_end(&mut self, events: &mut Vec<String>) -> Result<(), Failure> {
        match mem::replace(&mut self.body, Body::Unknown) {
            Body::Unknown => {}
            Body::Events(mut parser) => parser.finish(events).map_err(|sse::TooLong| Kind::Broken)?,
            Body::Completion(json) => {
                let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&json);
                let said = chunk::completion(json)?;
                self.hear(said);
                self.finish.get_or_insert(Finish::Whole);
            }
        }
        Ok(())
    }

    fn hear(&mut self, Piece { text, finish, usage }: Piece) {
        if usage.is_some() {
            self.usage = usage;
        }
        // What comes after the last word is not the answer.
        if self.finish.is_none() && !text.is_empty() {
            self.progress = Instant::now();
            let shown = self.marks.push(&text);
            self.show(shown);
        }
        if finish.is_some() && self.finish.is_none() {
            self.progress = Instant::now();
            self.finish = finish;
        }
    }

    fn show(&mut self, text: String) {
        match self.ready.back_mut() {
            // One piece of the body may hold many tokens.
            Some(Ok(Chunk::Text(last))) => last.push_str(&text),
            _ if text.is_empty() => {}
            _ => self.ready.push_back(Ok(Chunk::Text(text))),
        }
        if self.marks.is_full() {
            // What there is, is an answer; nobody reads further.
            self.finish.get_or_insert(Finish::Whole);
            self.response = None;
        }
    }

    /// The answer is over: is it an answer?
    fn complete(&mut self, how: Read) -> Result<(), Failure> {
        if self.finish.is_none() && !matches!(how, Read::Done) {
            return Err(Kind::Broken.into());
        }
        let rest = self.marks.finish();
        self.show(rest);
        if self.is_blank() {
            let filtered = self.finish == Some(Finish::Filtered);
            return Err(if filtered { Kind::Filtered } else { Kind::Broken }.into());
        }
        self.release(how);
        let finished = self.finished();
        self.ready.push_back(Ok(Chunk::Done(finished)));
        self.ended = true;
        Ok(())
    }

    fn finished(&self) -> Finished {
        let cited = self.marks.cited();
        let hit = |number: usize| self.supplied.hits.get(number - 1);
        let confidence =
            cited.iter().filter_map(|cited| hit(cited.number)).map(|hit| f64::from(hit.confidence));
        let confidence = confidence.reduce(f64::max);
        let citation = |cited: &Cited| {
            let hit = hit(cited.number)?;
            let article = &hit.entry.article;
            Some(Citation {
                article_id: article.id,
                article_version: article.version,
                title: article.fields.title.clone(),
                url: article.fields.url.clone(),
                passage: prompt::passage_text(hit).to_owned(),
                start: cited.start,
                end: cited.end,
                topic: article.fields.topic.clone(),
            })
        };
        let citations: Vec<_> = cited.iter().filter_map(citation).collect();
        let tokens = |characters: u64| characters.div_ceil(CHARACTERS_PER_TOKEN);
        Finished {
            outcome: if citations.is_empty() { Outcome::Unanswered } else { Outcome::Answered },
            citations,
            confidence,
            usage: self.usage.unwrap_or_else(|| Usage {
                prompt_tokens: tokens(self.supplied.characters),
                completion_tokens: tokens(self.marks.content().chars().count() as u64),
            }),
            model: self.model.name().to_owned(),
            cached: false,
        }
    }

    /// Reads the connection of a whole answer to its end, beside the answer, so that the next can use it.
    fn release(&mut self, how: Read) {
        let Some(mut response) = self.response.take() else { return };
        if let Read::Done = how {
            actix::spawn(async move {
                // What follows `[DONE]` is the end or nothing of use: then the connection is closed.
                drop(timeout(DRAINED_WITHIN, response.next()).await);
            });
        }
    }

    fn succeed(&mut self) {
        if let Some(permit) = self.permit.take() {
            permit.succeeded();
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.ended = true;
        // Closes the connection.
        self.response = None;
        let rest = self.marks.finish();
        self.show(rest);
        self.ready.push_back(Err(error(failure.kind)));
        if let Some(permit) = self.permit.take() {
            asking::report(permit, &self.model, &self.question, failure, 1);
        }
    }
}
