//! One attempt: written before anything is sent, sent within its deadline, and what came of it written.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use awc::http::StatusCode;
use bytes::Bytes;
use tracing::{debug, warn};

use super::{
    Shared,
    endpoint::Webhook,
    exchange::{Answer, Exchange, Failure, Message},
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

/// How long after the deadline of an attempt the next may begin if nothing is known of it: long beside a commit.
const LEASE_GRACE: Duration = Duration::from_secs(1);

/// How long what came of an attempt can wait for others to be stored with it.
const PATIENCE: Duration = Duration::from_millis(1);

/// How often it is tried to store that, and how long after each other: then the delivery goes on when its lease ends.
const STORE_TRIES: u32 = 20;
const STORE_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// An endpoint that failed for so long without a success is disabled.
const DISABLED_AFTER_MS: i64 = 5 * 24 * 3_600 * 1_000;

/// What an attempt says of its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It took what it was sent.
    Took,
    /// It did not, and may have asked to be left alone for that long.
    Failed(Option<Duration>),
    /// Nothing was sent: somebody else has the delivery, or it is settled.
    Nothing,
    /// Nothing was sent: the store is away, or the server stops.
    NotNow,
}

/// Makes one attempt at a delivery.
pub(super) async fn make(shared: &Shared, exchange: &Exchange, webhook: &Rc<Webhook>, due: Due) -> Outcome {
    let Some(body) = due.body.clone() else { return settle_unsent(shared, &due, "cancelled").await };
    if due.attempt_count >= ATTEMPTS {
        // The last one was cut off by a crash; it counts.
        return settle_unsent(shared, &due, "exhausted").await;
    }
    let schedule = &shared.schedule;
    let at = Timestamp::now();
    let lease = at.plus_ms((schedule.timeout + LEASE_GRACE).as_millis() as i64);
    let mut begin = Op::default();
    deliveries::begin(&mut begin, webhook.org, &due, at, lease);
    match shared.writer.commit(begin).await {
        Ok(()) => {}
        Err(WriteError::Conflict) => return Outcome::Nothing,
        Err(error) => {
            debug!(%error, "an attempt was not begun");
            return Outcome::NotNow;
        }
    }
    let began = Instant::now();
    let message = Message { id: due.event_id.clone(), at, body: Bytes::from(body) };
    let answered = tokio::time::timeout(schedule.timeout, exchange.send(webhook, &message)).await;
    let answered = answered.unwrap_or(Err(Failure::TimedOut));
    note(shared, webhook, &due, answered, began.elapsed()).await
}

async fn settle_unsent(shared: &Shared, due: &Due, state: &'static str) -> Outcome {
    let mut op = Op::default();
    if due.under_way != 0 {
        deliveries::interrupted(&mut op, due);
    }
    deliveries::settle(&mut op, due.id, state, Timestamp::now());
    METRICS.webhook(state);
    if store(shared, op).await { Outcome::Nothing } else { Outcome::NotNow }
}

/// Writes down what came of an attempt, and what that means for the endpoint.
async fn note(
    shared: &Shared,
    webhook: &Webhook,
    due: &Due,
    answered: Result<Answer, Failure>,
    took: Duration,
) -> Outcome {
    let number = due.attempt_count + 1;
    let now = Timestamp::now();
    let mut op = Op { patience: PATIENCE, ..Op::default() };
    let (result, asked, gone) = read(&answered, took);
    let succeeded = result.error.is_none();
    deliveries::ended(&mut op, due.id, number, result);
    if succeeded {
        deliveries::settle(&mut op, due.id, "delivered", now);
        METRICS.webhook("delivered");
        METRICS.webhook_delivered(Duration::from_millis((now.0 - due.created_at.0).max(0) as u64));
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
    if succeeded { Outcome::Took } else { Outcome::Failed(asked) }
}

/// The attempt as it is stored, how long the endpoint wants to be left alone, and whether it is gone for good.
fn read(answered: &Result<Answer, Failure>, took: Duration) -> (Ended, Option<Duration>, bool) {
    let duration_ms = took.as_millis() as i64;
    match answered {
        Ok(answer) => {
            let error = match answer.status {
                status if status.is_success() => None,
                StatusCode::GONE => Some("gone"),
                status if status.is_redirection() => Some("redirect_not_followed"),
                _ => Some("unsuccessful_status"),
            };
            let status = Some(i64::from(answer.status.as_u16()));
            let result = Ended { status, duration_ms, error, body: Some(answer.body.clone()) };
            (result, answer.retry_after, answer.status == StatusCode::GONE)
        }
        Err(failure) => {
            let result = Ended { status: None, duration_ms, error: Some(failure.as_str()), body: None };
            (result, None, false)
        }
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
