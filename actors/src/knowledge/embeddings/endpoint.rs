//! The endpoint that makes vectors of texts: OpenAI's `/embeddings`.
//!
//! A question waits for it only so long, and is otherwise searched by its words alone. Of a model that answers, the
//! vectors are compared with those that it made before: so all must have as many numbers.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::vectors::{MOST_DIMENSIONS, Vector};
use crate::{
    metrics::METRICS,
    upstream::{ApiKey, BaseUrl, Caller, Failure, Kind, breaker::Breaker},
};

/// Many texts at once take a small model on a slow machine half a minute.
const PASSAGES_WITHIN: Duration = Duration::from_secs(60);

/// What a number may take in JSON, blanks included.
const LONGEST_NUMBER: usize = 32;

/// What stands around the vectors of an answer.
const AROUND_VECTORS: usize = 64 << 10;

/// A model that answers so often in a row with another length has become another one; what was made before is then
/// made again. Less often, it is a fault.
const ANOTHER_LENGTH_AFTER: u32 = 3;

/// What must be known of an endpoint.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it is: what stands before `/embeddings`.
    pub base_url: BaseUrl,
    /// Sent as a bearer token; local servers need none.
    pub api_key: Option<ApiKey>,
    /// The model's name there. Vectors of one model are never compared with another's.
    pub model: String,
    /// Asked for, where the model can be asked for shorter vectors.
    pub dimensions: Option<u32>,
    /// How long a question waits for its vector.
    pub question_within: Duration,
    /// What likeness in meaning counts beside likeness in words, from 0 to 1.
    pub weight: f32,
    /// Texts that the endpoint is sent at once.
    pub batch: usize,
    /// What the model wants before a question, such as `query: `.
    pub question_prefix: String,
    /// What it wants before a passage, such as `passage: `.
    pub passage_prefix: String,
}

/// An endpoint for embeddings, which can be asked from any thread.
#[derive(Debug)]
pub struct Embeddings {
    pub(in super::super) settings: Settings,
    caller: Caller,
    /// Of questions alone: what is done in the background waits by itself.
    breaker: Arc<Breaker>,
    lengths: Mutex<Lengths>,
    /// The last question got no vector: said once.
    fails: AtomicBool,
}

/// The vectors of what was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Meaning {
    /// Of the question itself.
    pub question: Vector,
    /// Of the question and those before it, if there are any.
    pub with_earlier: Option<Vector>,
    /// What likeness in meaning counts beside likeness in words.
    pub weight: f32,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    index: Option<usize>,
    embedding: Vec<f32>,
}

impl Embeddings {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The address asks for TLS, and the machine has no certificates to trust.
    pub fn new(settings: Settings) -> io::Result<Self> {
        let (url, key) = (settings.base_url.clone(), settings.api_key.clone());
        Ok(Self {
            // The deadline of the whole is shorter than any for its beginning.
            caller: Caller::new(url, key, PASSAGES_WITHIN)?,
            settings,
            breaker: Arc::default(),
            lengths: Mutex::default(),
            fails: AtomicBool::new(false),
        })
    }

    /// Under which name its vectors are stored: whatever makes them others is part of it.
    pub(in super::super) fn name(&self) -> String {
        let Settings { model, dimensions, passage_prefix, .. } = &self.settings;
        let dimensions = dimensions.map(|dimensions| format!("@{dimensions}")).unwrap_or_default();
        let prefix = if passage_prefix.is_empty() { String::new() } else { format!("|{passage_prefix}") };
        format!("{model}{dimensions}{prefix}")
    }

    /// How many numbers its vectors have; 0 while it has not answered.
    pub(in super::super) fn dimensions(&self) -> usize {
        self.lengths().known
    }

    /// The vectors of a question, if they come in time. `turns` are what the customer asked, oldest first.
    pub async fn of_question(&self, turns: &[String]) -> Option<Meaning> {
        let Some(permit) = self.breaker.enter(Instant::now()) else {
            METRICS.embedded("question", "suspended");
            return None;
        };
        let prefix = &self.settings.question_prefix;
        let mut texts: Vec<_> =
            turns.last().map(|text| format!("{prefix}{}", end_of(text))).into_iter().collect();
        if turns.len() > 1 {
            texts.push(format!("{prefix}{}", end_of(&turns.join("\n"))));
        }
        let asked = timeout(self.settings.question_within, self.ask(&texts)).await;
        let failure = match asked.unwrap_or(Err(Kind::TimedOut.into())) {
            Ok(vectors) => {
                permit.succeeded();
                self.works();
                let mut vectors = vectors.into_iter();
                let question = vectors.next()?;
                return Some(Meaning {
                    question,
                    with_earlier: vectors.next(),
                    weight: self.settings.weight,
                });
            }
            Err(failure) => failure,
        };
        METRICS.embedded("question", if failure.kind == Kind::TimedOut { "late" } else { "failed" });
        let opened = failure.kind.counts() && permit.failed(Instant::now());
        if !self.fails.swap(true, Ordering::Relaxed) || opened {
            warn!(%failure, suspended = opened, "questions are searched by their words alone: there is no embedding");
        }
        None
    }

    fn works(&self) {
        METRICS.embedded("question", "ok");
        if self.fails.swap(false, Ordering::Relaxed) {
            info!("questions are searched by their meaning again");
        }
    }

    /// The vectors of texts, none of them empty, in their order.
    pub(in super::super) async fn of_passages(&self, texts: &[String]) -> Result<Vec<Vector>, Failure> {
        let prefix = &self.settings.passage_prefix;
        let texts: Vec<_> = texts.iter().map(|text| format!("{prefix}{text}")).collect();
        let asked = timeout(PASSAGES_WITHIN, self.ask(&texts)).await;
        let vectors = asked.unwrap_or(Err(Kind::TimedOut.into()));
        METRICS.embedded("passages", if vectors.is_ok() { "ok" } else { "failed" });
        vectors
    }

    /// Asks for the vector of one word, for at most `within`: how many numbers it has.
    ///
    /// # Errors
    /// The endpoint cannot be reached, refuses, or answers with no vector.
    pub async fn probe(&self, within: Duration) -> Result<usize, Failure> {
        let asked = timeout(within, self.ask(&["parcel".to_owned()])).await;
        let vectors = asked.unwrap_or(Err(Kind::TimedOut.into()))?;
        Ok(vectors.first().map_or(0, Vector::dimensions))
    }

    async fn ask(&self, texts: &[String]) -> Result<Vec<Vector>, Failure> {
        let Settings { model, dimensions, .. } = &self.settings;
        let request = Request { model, input: texts, dimensions: *dimensions };
        // Strings and numbers always serialize.
        let body = serde_json::to_vec(&request).unwrap_or_default();
        let mut response = self.caller.post("/embeddings", body.into()).await?;
        let most = AROUND_VECTORS + texts.len() * MOST_DIMENSIONS * LONGEST_NUMBER;
        let body = response.body().limit(most).await.map_err(|_| Kind::Broken)?;
        let count = texts.len();
        let vectors = match count {
            // As quick as the way to another thread.
            1 | 2 => read(&body, count),
            _ => tokio::task::spawn_blocking(move || read(&body, count)).await.unwrap_or_default(),
        };
        let vectors = vectors.ok_or(Kind::Broken)?;
        let length = vectors.first().map_or(0, Vector::dimensions);
        if vectors.iter().any(|vector| vector.dimensions() != length) || !self.takes(length) {
            return Err(Kind::Broken.into());
        }
        Ok(vectors)
    }

    /// Whether vectors of that length can be compared with the others.
    fn takes(&self, length: usize) -> bool {
        if self.settings.dimensions.is_some_and(|asked| asked as usize != length) {
            warn!(
                embedding.length = length,
                "the endpoint's vectors have another length than knowledge.embeddings.dimensions"
            );
            return false;
        }
        let (known, taken) = {
            let mut lengths = self.lengths();
            (lengths.known, lengths.take(length))
        };
        match taken {
            Taken::Same => true,
            Taken::Changed => {
                warn!(
                    embedding.length = length,
                    before = known,
                    "the model makes vectors of another length now; all are made again"
                );
                true
            }
            Taken::Odd => {
                warn!(
                    embedding.length = length,
                    expected = known,
                    "the endpoint answered with a vector of another length"
                );
                false
            }
        }
    }

    // Nothing panics under this lock.
    fn lengths(&self) -> std::sync::MutexGuard<'_, Lengths> {
        self.lengths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the endpoint's vectors have in common: how many numbers they have.
#[derive(Debug, Default)]
struct Lengths {
    known: usize,
    /// Another, and how often in a row.
    other: (usize, u32),
}

#[derive(Debug, PartialEq, Eq)]
enum Taken {
    Same,
    Changed,
    Odd,
}

impl Lengths {
    fn take(&mut self, length: usize) -> Taken {
        if self.known == 0 {
            self.known = length;
        }
        if length == self.known {
            self.other = (0, 0);
            return Taken::Same;
        }
        let times = if self.other.0 == length { self.other.1 + 1 } else { 1 };
        self.other = (length, times);
        if times < ANOTHER_LENGTH_AFTER {
            return Taken::Odd;
        }
        *self = Self { known: length, other: (0, 0) };
        Taken::Changed
    }
}

/// As many vectors as were asked for, in order, or nothing.
fn read(body: &Bytes, count: usize) -> Option<Vec<Vector>> {
    let mut answer: Answer = serde_json::from_slice(body).ok()?;
    if answer.data.iter().all(|embedding| embedding.index.is_some()) {
        answer.data.sort_by_key(|embedding| embedding.index);
    }
    let vectors: Option<Vec<_>> =
        answer.data.iter().map(|embedding| Vector::of(&embedding.embedding)).collect();
    vectors.filter(|vectors| vectors.len() == count)
}

/// What is embedded of a text that may have been pasted: its end, where the question stands.
fn end_of(text: &str) -> &str {
    let start = text.char_indices().rev().nth(super::LONGEST_TEXT - 1).map_or(0, |(at, _)| at);
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_in_the_order_of_its_indices_and_whole_or_not_at_all() {
        let read = |text: &str, count| read(&Bytes::from(text.to_owned()), count);
        let one = Vector::of(&[1.0, 0.0]);
        let answer = r#"{"data":[{"index":1,"embedding":[0,1]},{"index":0,"embedding":[1,0]}]}"#;
        assert_eq!(read(answer, 2).unwrap().first(), one.as_ref());
        assert_eq!(read(answer, 1), None);
        assert_eq!(read(r#"{"data":[{"embedding":[2,0]}]}"#, 1).unwrap().first(), one.as_ref());
        for broken in [
            "",
            "{}",
            r#"{"data":[{"embedding":[]}]}"#,
            r#"{"data":[{"embedding":[NaN]}]}"#,
            r#"{"data":[{"embedding":[1e999]}]}"#,
            r#"{"data":[{"embedding":[null]}]}"#,
            r#"{"data":[{"embedding":[0,0]}]}"#,
        ] {
            assert_eq!(read(broken, 1), None, "{broken}");
        }
    }

    #[test]
    fn another_length_is_a_fault_until_it_is_the_rule() {
        let mut lengths = Lengths::default();
        let taken: Vec<_> = [3, 3, 5, 3, 5, 5, 4, 5, 5, 5, 3].map(|length| lengths.take(length)).into();
        use Taken::{Changed, Odd, Same};
        assert_eq!(taken, [Same, Same, Odd, Same, Odd, Odd, Odd, Odd, Odd, Changed, Odd]);
    }

    #[test]
    fn of_a_long_text_the_end_is_asked_about() {
        assert_eq!(end_of("é?"), "é?");
        let long = format!("{}é?", "x".repeat(super::super::LONGEST_TEXT));
        assert_eq!(end_of(&long).chars().count(), super::super::LONGEST_TEXT);
        assert!(end_of(&long).ends_with("xé?"));
    }
}
