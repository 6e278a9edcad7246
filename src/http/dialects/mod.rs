//! What other people's clients speak: OpenAI's chat completions, and the AI SDK's UI message stream.
//!
//! Both stand on the conversations of everyone else. `told` is what an answer says, whoever gives it; `body` is a
//! stream of it in either dialect's words. Neither dialect has an event for a stream that the server ends, so there it
//! breaks the connection: their clients take a clean end for the end of the answer.

pub(super) mod ai_sdk;
mod body;
pub(super) mod openai;
mod told;

use self::told::{End, Lost, Told};
use super::error::ApiError;

/// What failed before its first word is no stream, unless its code is an answer too.
fn refuse_failed(
    first: Option<&Told>,
    is_answer: impl Fn(&str) -> bool,
    is_stored: bool,
) -> Result<(), ApiError> {
    match first {
        Some(Told::Ended(End::Failed { code, .. })) if is_answer(code) => Ok(()),
        Some(Told::Ended(End::Failed { code, message })) => Err(not_answered(code, message.clone())),
        Some(Told::Lost(why)) => Err(lost(*why, is_stored)),
        Some(_) => Ok(()),
        None => Err(ApiError::internal("an answer without a beginning")),
    }
}

/// What a server says that ends an answer before it began.
fn lost(why: Lost, is_stored: bool) -> ApiError {
    match why {
        Lost::Deleted => ApiError::not_found(),
        Lost::Shutdown | Lost::Unavailable if is_stored => ApiError::going_away(
            "the server cannot answer right now; the message is stored, and its answer will be in the conversation",
        ),
        Lost::Shutdown | Lost::Unavailable => ApiError::unavailable(),
    }
}

/// The codes with which turns fail.
const CODES: [&str; 10] = [
    "model_unreachable",
    "model_timeout",
    "model_rate_limited",
    "model_refused",
    "model_failed",
    "model_filtered",
    "model_unavailable",
    "knowledge_unavailable",
    "unavailable",
    "internal",
];

/// The turn's failure as an error.
fn not_answered(code: &str, message: String) -> ApiError {
    let known = CODES.into_iter().find(|known| *known == code);
    ApiError::not_answered(known.unwrap_or("model_failed"), message)
}
