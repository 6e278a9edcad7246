//! The receiver: verifies, answers as it was told to, and shows what came.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, StatusCode, header::HeaderMap},
    web::{Bytes, Data},
};
use openclaw_actors::{
    clock::Timestamp,
    webhook::{
        SigningSecret,
        verify::{NotVerified, Signed},
    },
};
use serde_json::Value;

use super::{
    forward::{Forward, Passed},
    shown::{Received, Screen},
};

/// More than any event: a message has at most 32,000 characters.
pub(super) const LONGEST_BODY: usize = 4 << 20;

/// Events whose number of times is kept: beyond that it begins anew.
const MOST_KNOWN: usize = 100_000;

/// What to answer.
pub(super) enum Answer {
    /// That.
    Always(StatusCode),
    /// What somebody else says.
    From(Forward),
}

/// See the module.
pub(super) struct Receiver {
    secret: SigningSecret,
    answer: Answer,
    delay: Duration,
    screen: Screen,
    /// How often each event came.
    times: Mutex<HashMap<String, u32>>,
}

impl Receiver {
    pub(super) fn new(secret: SigningSecret, answer: Answer, delay: Duration, screen: Screen) -> Self {
        Self { secret, answer, delay, screen, times: Mutex::default() }
    }

    fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), NotVerified> {
        let one = |name: &str| {
            let mut values = headers.get_all(name);
            let value = values.next().and_then(|value| value.to_str().ok());
            value.filter(|_| values.next().is_none())
        };
        let signed = Signed {
            id: one("webhook-id"),
            timestamp: one("webhook-timestamp"),
            signature: one("webhook-signature"),
        };
        self.secret.verify(signed, body, now)
    }

    /// Counts it.
    fn came(&self, id: &str) -> u32 {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() >= MOST_KNOWN {
            times.clear();
        }
        let count = times.entry(id.to_owned()).or_default();
        *count += 1;
        *count
    }

    async fn answer(&self, headers: &HeaderMap, body: Bytes) -> (StatusCode, Bytes, Option<String>) {
        match &self.answer {
            Answer::Always(status) => (*status, Bytes::new(), None),
            Answer::From(forward) => match forward.pass(headers, body).await {
                Ok(Passed { status, body }) => (status, body, None),
                Err(error) => {
                    (StatusCode::BAD_GATEWAY, Bytes::new(), Some(format!("not passed on: {error}")))
                }
            },
        }
    }
}

/// Everything that comes, at whatever path.
pub(super) async fn receive(request: HttpRequest, body: Bytes, receiver: Data<Receiver>) -> HttpResponse {
    if request.method() != Method::POST {
        return HttpResponse::MethodNotAllowed().insert_header(("allow", "POST")).finish();
    }
    let (began, now) = (Instant::now(), Timestamp::now());
    // Verified before anything is read of it.
    let verified = receiver.verify(request.headers(), &body, now);
    let id =
        request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let (status, answer, problem, times) = match verified {
        Ok(()) => {
            let times = receiver.came(&id);
            tokio::time::sleep(receiver.delay).await;
            let (status, answer, problem) = receiver.answer(request.headers(), body.clone()).await;
            (status, answer, problem, times)
        }
        Err(reason) => (StatusCode::UNAUTHORIZED, Bytes::new(), Some(reason.to_string()), 0),
    };
    let event = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let received = Received {
        id: &id,
        event: &event,
        verified: verified.is_ok(),
        times,
        status,
        problem,
        at: now,
        took: began.elapsed(),
    };
    if let Err(error) = receiver.screen.received(&received) {
        // Nobody reads any more; the sender is answered all the same.
        tracing::debug!(%error, "an event was not shown");
    }
    HttpResponse::build(status).body(answer)
}
