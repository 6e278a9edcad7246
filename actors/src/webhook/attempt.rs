//! One attempt: written before anything is sent, sent within its deadline, and what came of it written.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use awc::http::StatusCode;
use bytes::Bytes;
use tracing::{debug, warn};

use super::{
    Shared,
    endpoint::Webhook,
    exchange::{Answer, Exchange, Failure, Message},
    ledger::{Begun, Ledger, PATIENCE},
    schedule::{ATTEMPTS, draw},
    sql::{
        self,
        deliveries::{self, Due, Ended},
    },
};
use crate::{
    clock::Timestamp,
    metrics::METRICS,
    writer::{Op, WriteError},
};

/// How often it is tried to store that, and how long after each other: then the delivery goes on when its lease ends.
const STORE_TRIES: u32 = 20;
const STORE_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// An endpoint that failed for so long without a success is disabled.
const DISABLED_AFTER_MS: i64 = 5 * 24 * 3_600 * 1_000;

/// What an attempt says of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It took what it was sent, within that time.
    Took(Duration),
    /// It did not, and may have asked to be left alone for that long.
    Failed(Option<Duration>),
    /// Nothing was sent: somebody else has the delivery, or it is settled.
    Nothing,
    /// Nothing was sent: the store is away, or the server stops.
    NotNow,
}

/// What attempts are made with, on one thread.
pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    pub(super) exchange: Exchange,
    pub(super) ledger: Rc<Ledger>,
}

impl Desk {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let exchange = Exchange::new(shared.policy.clone(), shared.trust.clone());
        Self { shared: Arc::clone(shared), exchange, ledger: Ledger::new(shared) }
    }
}

/// Makes one attempt at a delivery.
pub(super) async fn make(desk: &Desk, webhook: &Rc<Webhook>, mut due: Due) -> Outcome {
    let shared = &desk.shared;
    let Some(body) = due.body.take() else { return settle_unsent(shared, webhook, &due, "cancelled").await };
    if due.attempt_count >= ATTEMPTS {
        // The last one was cut off by a crash; it counts.
        return settle_unsent(shared, webhook, &due, "exhausted").await;
    }
    let due = Rc::new(due);
    let at = match desk.ledger.begin(webhook.org, &due).await {
        Begun::At(at) => at,
        Begun::Not => return Outcome::Nothing,
        Begun::NotNow => return Outcome::NotNow,
    };
    let began = Instant::now();
    let message = Message { id: due.event_id.clone(), at, body: Bytes::from(body) };
    let answered = tokio::time::timeout(shared.schedule.timeout, desk.exchange.send(webhook, &message)).await;
    let answered = answered.unwrap_or(Err(Failure::TimedOut));
    note(desk, webhook, &due, Attempted { at, took: began.elapsed(), answered }).await
}

async fn settle_unsent(shared: &Shared, webhook: &Webhook, due: &Due, state: &'static str) -> Outcome {
    let mut op = Op::default();
    if due.under_way != 0 {
        deliveries::interrupted(&mut op, webhook.org, due);
    }
    deliveries::settle(&mut op, due.id, state, Timestamp::now());
    METRICS.webhook(state);
    if store(shared, op).await { Outcome::Nothing } else { Outcome::NotNow }
}

/// What came of an attempt.
struct Attempted {
    at: Timestamp,
    took: Duration,
    answered: Result<Answer, Failure>,
}

/// Writes down what came of an attempt, and what that means for the endpoint.
async fn note(desk: &Desk, webhook: &Webhook, due: &Due, attempted: Attempted) -> Outcome {
    let number = due.attempt_count + 1;
    let (took, now) = (attempted.took, Timestamp::now());
    let (result, asked, gone) = read(attempted, webhook, number);
    let succeeded = result.error.is_none();
    if succeeded {
        METRICS.webhook("delivered");
        METRICS.webhook_delivered(Duration::from_millis((now.0 - due.created_at.0).max(0) as u64));
        // Most end here: with others, in a few statements.
        if webhook.failing_since.is_none() && desk.ledger.taken(due.id, result.clone()).await.is_ok() {
            return Outcome::Took(took);
        }
    }
    let shared = &desk.shared;
    let mut op = Op { patience: PATIENCE, ..Op::default() };
    deliveries::ended(&mut op, due.id, result);
    if succeeded {
        deliveries::settle(&mut op, due.id, "delivered", now);
    } else if gone || number >= ATTEMPTS {
        deliveries::settle(&mut op, due.id, "exhausted", now);
        METRICS.webhook("exhausted");
    } else {
        let wait = shared.schedule.wait(number, draw(), asked);
        deliveries::again(&mut op, due.id, number, now.plus_ms(wait.as_millis() as i64));
        METRICS.webhook("failed");
    }
    match (succeeded, webhook.failing_since) {
        (true, Some(_)) => sql::failing(&mut op, webhook.org, webhook.id, None),
        (false, None) => sql::failing(&mut op, webhook.org, webhook.id, Some(now)),
        _ => {}
    }
    let failed_for = webhook.failing_since.map_or(0, |since| now.0 - since.0);
    let reason = match (succeeded, gone) {
        (true, _) => None,
        (false, true) => Some("gone"),
        (false, false) => (failed_for >= DISABLED_AFTER_MS).then_some("failing"),
    };
    let stored = match reason {
        Some(reason) => disable(shared, webhook, reason, op).await,
        None => store(shared, op).await,
    };
    if !stored {
        warn!(org.id = %webhook.org, webhook.id = %webhook.id, "what came of an attempt was not stored; it counts all the same");
    }
    if succeeded { Outcome::Took(took) } else { Outcome::Failed(asked) }
}

/// The attempt as it is stored, how long the endpoint wants to be left alone, and whether it is gone for good.
fn read(attempted: Attempted, webhook: &Webhook, number: i64) -> (Ended, Option<Duration>, bool) {
    let Attempted { at, took, answered } = attempted;
    let duration_ms = took.as_millis() as i64;
    let ended =
        Ended { org: webhook.org, number, began: at, status: None, duration_ms, error: None, body: None };
    match answered {
        Ok(answer) => {
            let error = match answer.status {
                status if status.is_success() => None,
                StatusCode::GONE => Some("gone"),
                status if status.is_redirection() => Some("redirect_not_followed"),
                _ => Some("unsuccessful_status"),
            };
            let status = Some(i64::from(answer.status.as_u16()));
            let result = Ended { status, error, body: Some(answer.body), ..ended };
            (result, answer.retry_after, answer.status == StatusCode::GONE)
        }
        Err(failure) => (Ended { error: Some(failure.as_str()), ..ended }, None, false),
    }
}

async fn disable(shared: &Shared, webhook: &Webhook, reason: &'static str, attempt: Op) -> bool {
    for _ in 0..STORE_TRIES {
        match shared.disable(webhook.org, webhook.id, reason, attempt.clone()).await {
            Ok(()) => return true,
            Err(error) => debug!(webhook.id = %webhook.id, %error, "a webhook was not disabled yet"),
        }
        tokio::time::sleep(STORE_AGAIN_AFTER).await;
    }
    false
}

async fn store(shared: &Shared, op: Op) -> bool {
    for _ in 0..STORE_TRIES {
        match shared.writer.commit(op.clone()).await {
            Ok(()) => return true,
            Err(WriteError::Stopped) => return false,
            Err(error) => debug!(%error, "what came of an attempt was not stored yet"),
        }
        tokio::time::sleep(STORE_AGAIN_AFTER).await;
    }
    false
}
