//! The `synthetic` model: text of a given length at a given pace, for load tests and for tests of everything around.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use super::{AnswerError, AnswerStream, Chunk, Finished, Outcome, Question, Usage};

/// The model's name in `GET /v1/models` and on turns.
pub const MODEL: &str = "synthetic";

/// How the synthetic model answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Synthetic {
    /// The wait before the first token, in milliseconds.
    pub first_token_ms: u64,
    /// Tokens per second after it; 0 is as fast as possible.
    pub tokens_per_second: f64,
    /// Tokens of an answer.
    pub tokens: u32,
    /// How far each wait may be off, as a share of it, from 0 to 1.
    pub jitter: f64,
    /// The share of answers that fail in the middle, from 0 to 1.
    pub failure_rate: f64,
    /// The share of answers that panic in the middle, from 0 to 1: a test of supervision.
    pub panic_rate: f64,
    /// The same seed and question give the same answer; 0 draws by the turn alone.
    pub seed: u64,
}

impl Default for Synthetic {
    fn default() -> Self {
        Self {
            first_token_ms: 20,
            tokens_per_second: 100.0,
            tokens: 50,
            jitter: 0.0,
            failure_rate: 0.0,
            panic_rate: 0.0,
            seed: 0,
        }
    }
}

/// Longer answers than a conversation stores are of no use to a test.
pub const MOST_TOKENS: u32 = 8_192;

/// A minute before the first token is more than any client waits.
pub const LONGEST_FIRST_TOKEN_MS: u64 = 60_000;

impl Synthetic {
    /// Says what is wrong with the numbers: the field's name.
    ///
    /// # Errors
    /// The name of the first field out of range.
    pub fn check(&self) -> Result<(), &'static str> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        match () {
            () if self.first_token_ms > LONGEST_FIRST_TOKEN_MS => Err("first_token_ms"),
            () if !(0.0..=1e6).contains(&self.tokens_per_second) => Err("tokens_per_second"),
            () if !(1..=MOST_TOKENS).contains(&self.tokens) => Err("tokens"),
            () if !share(self.jitter) => Err("jitter"),
            () if !share(self.failure_rate) => Err("failure_rate"),
            () if !share(self.panic_rate) => Err("panic_rate"),
            () => Ok(()),
        }
    }
}

/// Words of one to eight letters, some not ASCII, so that cuts inside a character would show.
const WORDS: [&str; 16] = [
    "the", "parcel", "naïve", "is", "über", "on", "its", "way", "to", "Zoë", "and", "arrives", "café",
    "morgen", "€5", "ok",
];

/// Whether it is one of the words that answers are made of: what a load test looks for in what it reads.
#[must_use]
pub fn is_word(word: &str) -> bool {
    WORDS.contains(&word)
}

/// A small generator (SplitMix64, Steele et al. 2014): the same sequence on every machine.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Whole,
    Failure,
    Panic,
}

struct State {
    options: Synthetic,
    draw: Draw,
    made: u32,
    ending: Ending,
    /// Where a failure or a panic strikes.
    breaks_at: u32,
    due: Instant,
    prompt_tokens: u64,
}

/// Answers with words at the pace asked for.
#[must_use]
pub fn answer(options: Synthetic, question: &Question) -> AnswerStream {
    let turn = question.turn.as_u128();
    let mut draw = Draw(options.seed ^ (turn as u64) ^ ((turn >> 64) as u64) ^ question.attempt as u64);
    let ending = match draw.share() {
        drawn if drawn < options.panic_rate => Ending::Panic,
        drawn if drawn < options.panic_rate + options.failure_rate => Ending::Failure,
        _ => Ending::Whole,
    };
    let breaks_at = draw.next() as u32 % options.tokens;
    let prompt_tokens = question.said.iter().map(|said| said.text.split_whitespace().count() as u64).sum();
    let due = Instant::now() + Duration::from_millis(options.first_token_ms);
    let state = State { options, draw, made: 0, ending, breaks_at, due, prompt_tokens };
    stream::unfold(Some(state), |state| async { next(state?).await }).boxed_local()
}

async fn next(mut state: State) -> Option<(Result<Chunk, AnswerError>, Option<State>)> {
    if state.made == state.options.tokens {
        let usage =
            Usage { prompt_tokens: state.prompt_tokens, completion_tokens: u64::from(state.options.tokens) };
        let finished = Finished {
            outcome: Outcome::Answered,
            citations: Vec::new(),
            confidence: None,
            usage,
            model: MODEL.into(),
            cached: false,
        };
        return Some((Ok(Chunk::Done(finished)), None));
    }
    // Already due is the common case at full speed: no timer, no wake.
    if state.due > Instant::now() {
        sleep_until(state.due).await;
    }
    if state.made == state.breaks_at && state.ending != Ending::Whole {
        assert!(state.ending != Ending::Panic, "the synthetic model was told to panic");
        let failed = AnswerError { code: "model_failed", message: "the synthetic model was told to fail" };
        return Some((Err(failed), None));
    }
    let word = WORDS[state.draw.next() as usize % WORDS.len()];
    let text = if state.made == 0 { word.to_owned() } else { format!(" {word}") };
    state.made += 1;
    if state.options.tokens_per_second > 0.0 {
        let off = 1.0 + state.options.jitter * (2.0 * state.draw.share() - 1.0);
        state.due += Duration::from_secs_f64(off / state.options.tokens_per_second);
    }
    Some((Ok(Chunk::Text(text)), Some(state)))
}
