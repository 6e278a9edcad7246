//! What queues the events of replays, a few per commit, for as long as there are replays.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tracing::{debug, error};

use super::Replay;
use crate::{
    clock::Timestamp,
    event::LogPlace,
    ids::ConversationId,
    metrics::METRICS,
    outbox::{self, Announced, Origin},
    supervision::{End, Lifeline},
    webhook::{
        Shared,
        endpoint::WebhookError,
        sql::replays::{self, Candidate},
    },
    writer::{Op, WriteError},
};

/// Deliveries made in one commit: whoever else writes waits some milliseconds for it.
const QUEUED_AT_ONCE: usize = 200;

/// And the bytes of their bodies, of which one event has at most some hundred thousand.
const BYTES_AT_ONCE: usize = 512 << 10;

/// Rows looked at in one read.
const LOOKED_AT_ONCE: i64 = 500;

/// Reads of one replay before another has its turn, where there is nothing to queue.
const READS_AT_ONCE: usize = 20;

/// How much of a replay waits at its endpoint at most. What happens meanwhile waits behind no more than that, and
/// whoever runs the endpoint can see what comes.
const MOST_WAITING: i64 = 1_000;

/// How soon replays that wait for their endpoints are looked at again: at first, and when nothing moves.
const SOON: Duration = Duration::from_millis(20);
const LATER: Duration = Duration::from_secs(1);

/// Queues what is to be queued, on this thread, until the server stops.
pub(in super::super) fn begin(shared: &Arc<Shared>) {
    let again = Arc::clone(shared);
    let lifeline = Lifeline::new(move |end| {
        if end == End::Panicked {
            error!("the queueing of replays panicked and is started again");
            METRICS.restarted("webhook_replays");
            let arbiter = again.arbiter.clone();
            arbiter.spawn_fn(move || begin(&again));
        }
    });
    let shared = Arc::clone(shared);
    actix::spawn(async move {
        let _lifeline = lifeline;
        run(&shared).await;
    });
}

async fn run(shared: &Shared) {
    let mut wait = SOON;
    // Closed when the server stops.
    while !shared.places.is_closed() {
        let moved = match round(shared).await {
            Ok(moved) => moved,
            Err(error) => {
                debug!(%error, "replays were not looked at");
                false
            }
        };
        if moved {
            wait = SOON;
            continue;
        }
        // Asking now and then finds what another process began, and did not live to end.
        if timeout(wait, shared.replays.notified()).await.is_err() {
            wait = (wait * 2).min(LATER);
        }
    }
}

/// Takes every replay a step further; says whether any has moved.
async fn round(shared: &Shared) -> Result<bool, WebhookError> {
    let mut moved = false;
    for replay in replays::running(&shared.store).await? {
        match step(shared, &replay).await {
            Ok(it_moved) => moved |= it_moved,
            // Another process took it further, what was looked at was erased meanwhile, or the webhook is gone.
            Err(WebhookError::Write(WriteError::Conflict)) => {
                debug!(replay.id = %replay.id, "a replay is looked at anew");
            }
            // The others go on.
            Err(error) => debug!(replay.id = %replay.id, %error, "a replay did not go on"),
        }
    }
    Ok(moved)
}

/// An event to be queued, and how many were seen in its piece up to it.
struct Wanted {
    event: Candidate,
    seen: i64,
}

/// Looks through some of what is left, and queues the first that is found there.
async fn step(shared: &Shared, replay: &Replay) -> Result<bool, WebhookError> {
    let waiting = replays::waiting(&shared.store, replay.webhook, MOST_WAITING).await?;
    let most = QUEUED_AT_ONCE.min(usize::try_from(MOST_WAITING - waiting).unwrap_or(0));
    if most == 0 {
        return Ok(false);
    }
    let mut left = replay.stretches.clone();
    for _ in 0..READS_AT_ONCE {
        let Some(stretch) = left.first().cloned() else { break };
        let upto = replays::piece(&shared.store, replay, &stretch, LOOKED_AT_ONCE).await?;
        let found = replays::look(&shared.store, replay, &stretch, &upto).await?;
        let all = found.len() as i64;
        let wanted = found.into_iter().zip(1..).map(|(event, seen)| Wanted { event, seen });
        let wanted: Vec<Wanted> = wanted.filter(|wanted| replay.wants(&wanted.event)).collect();
        if wanted.is_empty() {
            left.splice(..1, stretch.from(&upto));
            continue;
        }
        let (mut op, taken) = deliveries_of(shared, replay, &wanted[..wanted.len().min(most)]).await?;
        let (end, seen) = match wanted.get(taken) {
            None => (upto.as_str(), all),
            // The last that was taken: the next step begins behind it.
            Some(_) => (wanted[taken - 1].event.place.as_str(), wanted[taken - 1].seen),
        };
        left.splice(..1, stretch.from(end));
        replays::advance(&mut op, replay, &left, Some((&stretch, end, seen)));
        shared.writer.commit(op).await?;
        return Ok(true);
    }
    let mut op = Op::default();
    replays::advance(&mut op, replay, &left, None);
    shared.writer.commit(op).await?;
    Ok(true)
}

/// A delivery of each of these events, up to as many bytes as fit into a commit; and of how many.
async fn deliveries_of(
    shared: &Shared,
    replay: &Replay,
    wanted: &[Wanted],
) -> Result<(Op, usize), WebhookError> {
    let place = |wanted: &Wanted| -> LogPlace { (wanted.event.stream_id.clone(), wanted.event.sequence) };
    let bodies = (shared.read_log)(shared.store.clone(), wanted.iter().map(place).collect()).await?;
    let (mut op, mut bytes) = (Op::default(), 0);
    let now = Timestamp::now();
    shared.writer.outbox().nudge(&mut op, replay.org, replay.webhook);
    for (taken, Wanted { event, .. }) in wanted.iter().enumerate() {
        // Erased since it was looked at: the op will be a conflict.
        let Some(body) = bodies.get(&event.id).and_then(|body| std::str::from_utf8(body).ok()) else {
            continue;
        };
        bytes += body.len();
        if bytes > BYTES_AT_ONCE && taken > 0 {
            return Ok((op, taken));
        }
        let in_conversation = event.stream_id.parse::<ConversationId>().is_ok();
        let what = Announced {
            org: replay.org,
            event: event.id.to_string(),
            kind: event.kind.clone(),
            conversation: if in_conversation { event.stream_id.clone() } else { String::new() },
            sequence: event.sequence,
        };
        outbox::put_body_again(&mut op, &what, body, event.created_at);
        outbox::put_delivery(&mut op, replay.webhook, &what, Origin::Replay, now.0);
    }
    Ok((op, wanted.len()))
}
