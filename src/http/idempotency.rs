//! `Idempotency-Key`: a POST that is sent again gets what the first one did.
//!
//! A repeat is answered anew from the references that were stored with the effect, so it looks like the first answer
//! and shows the present state of what it names. Only 2xx answers are kept.

use std::{fmt::Write, future::Future};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, ResponseError,
    dev::Payload,
    http::header::{HeaderName, HeaderValue},
};
use futures_util::future::{Ready, ready};
use openclaw_actors::{
    idempotency::{Asked, BeginError, Begun, Effect, Stamp},
    metrics::METRICS,
};
use sha2::{Digest, Sha256};
use tracing::Instrument;

use super::error::ApiError;
use crate::server::Parts;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// On an answer that repeats an earlier one.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

const LONGEST: usize = 255;

/// 128 random bits in base64.
const SHORTEST_OF_PAGES: usize = 22;

/// What a request says of itself: an extractor for every POST.
#[derive(Debug, Clone)]
pub struct Repeatable {
    /// The client's name for it, if it has one.
    key: Option<String>,
    /// Method, and path with query.
    target: String,
}

impl FromRequest for Repeatable {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let key = request.headers().get(IDEMPOTENCY_KEY).map(visible).transpose();
        ready(key.map(|key| Self { key, target: format!("{} {}", request.method(), request.uri()) }))
    }
}

fn visible(value: &HeaderValue) -> Result<String, ApiError> {
    let is_visible =
        (1..=LONGEST).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
    match value.to_str() {
        Ok(key) if is_visible => Ok(key.to_owned()),
        _ => {
            let message = format!("it must have 1 to {LONGEST} visible characters");
            Err(ApiError::invalid_header(&IDEMPOTENCY_KEY, message))
        }
    }
}

/// What a request came to.
#[derive(Debug)]
pub enum Once<T> {
    /// It was the first of its name, or has none.
    First(T),
    /// One before it did this.
    Repeat(Effect),
}

impl Repeatable {
    /// Refuses a name that another page's visitor could guess, or draw too: all pages of a publishable key share their
    /// names.
    ///
    /// # Errors
    /// 400 if it is shorter than random ones are.
    pub(super) fn nobody_guesses(&self) -> Result<(), ApiError> {
        if self.key.as_ref().is_some_and(|key| key.len() < SHORTEST_OF_PAGES) {
            let message =
                format!("with a publishable key it must have at least {SHORTEST_OF_PAGES} characters");
            return Err(ApiError::invalid_header(&IDEMPOTENCY_KEY, message));
        }
        Ok(())
    }

    /// Runs `act` unless a request of the same name ran before. `scope` is the credential: names of different callers
    /// never meet.
    ///
    /// `act` gets what makes the row that belongs into the transaction of its effect, and says what it did. Under a
    /// name it runs on a task of its own: a client that hangs up leaves nothing half known.
    ///
    /// # Errors
    /// Those of `act`, 422 if the name was used for another request, 503 if too many wait for the first.
    pub async fn once<T, F>(
        self,
        parts: &Parts,
        scope: String,
        body: &[u8],
        act: impl FnOnce(Option<Stamp>) -> F,
    ) -> Result<Once<T>, ApiError>
    where
        T: 'static,
        F: Future<Output = Result<(T, Effect), ApiError>> + 'static,
    {
        let Some(key) = self.key else { return act(None).await.map(|(done, _)| Once::First(done)) };
        let fingerprint = fingerprint([self.target.as_bytes(), body]);
        let ticket = match parts.idempotency.begin(Asked { scope, key, fingerprint }).await? {
            Begun::Repeat(effect) => return Ok(Once::Repeat(effect)),
            Begun::First(ticket) => ticket,
        };
        let acting = act(Some(ticket.stamp()));
        let task = async move {
            let refusal = match acting.await {
                Ok((done, effect)) => {
                    ticket.done(effect);
                    return Ok(Once::First(done));
                }
                Err(refusal) => refusal,
            };
            // A commit whose outcome was not known may have happened, and another process may have been first.
            if refusal.status_code().is_server_error()
                && let Some(effect) = ticket.was_done_after_all().await
            {
                ticket.done(effect.clone());
                return Ok(Once::Repeat(effect));
            }
            Err(refusal)
        };
        actix::spawn(task.in_current_span()).await.unwrap_or_else(|panic| Err(ApiError::internal(panic)))
    }
}

impl From<BeginError> for ApiError {
    fn from(error: BeginError) -> Self {
        match error {
            BeginError::Reused => Self::unprocessable("idempotency_key_reused", error.to_string())
                .param(IDEMPOTENCY_KEY.as_str()),
            BeginError::TooManyWaiting => {
                METRICS.refused("idempotency_waiting");
                Self::overloaded()
            }
            BeginError::Store(error) => error.into(),
            BeginError::Write(error) => error.into(),
        }
    }
}

/// Says that an answer is a repeat.
#[must_use]
pub fn replayed(mut response: HttpResponse) -> HttpResponse {
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// The name stands for one method and path, and each of those has one kind of effect.
pub(super) fn of_another_kind(effect: &Effect) -> ApiError {
    ApiError::internal(format!("a repeated request did something else: {effect:?}"))
}

/// A hash of everything that decides whether two things that were sent are the same.
#[must_use]
pub fn fingerprint<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that no part can pass for the end of another.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_and_not_long() {
        let longest = "k".repeat(LONGEST);
        for good in ["k", "8e03978e-40d5-43dd-bc93-6894a57f9324", "!~", &longest] {
            assert_eq!(visible(&HeaderValue::from_str(good).unwrap()).unwrap(), good);
        }
        let long = "k".repeat(LONGEST + 1);
        for bad in ["", "a b", "a\tb", "é", &long] {
            let value = HeaderValue::from_bytes(bad.as_bytes()).unwrap();
            assert_eq!(visible(&value).unwrap_err().code(), "invalid_header", "{bad}");
        }
    }

    #[test]
    fn no_part_passes_for_another() {
        let of = |parts: [&str; 2]| fingerprint(parts.map(str::as_bytes));
        assert_eq!(of(["POST /a", "b"]), of(["POST /a", "b"]));
        assert_ne!(of(["POST /a", "b"]), of(["POST /ab", ""]));
        assert_eq!(of(["", ""]).len(), 64);
    }
}
