//! What the server does by itself, now and then, for as long as it runs.

use std::time::{Duration, Instant};

use actix_web::web;
use openclaw_actors::{
    audit::{Action, Audit, By, Entry, Target},
    clock::Timestamp,
    conversation::directory::Directory,
    idempotency::Idempotency,
    keys::KeyRing,
    store::StoreError,
    webhook::Webhooks,
};
use tracing::{info, warn};

use super::Parts;
use crate::http::tickets::Tickets;

/// Workers start within milliseconds; without them what was cut off goes on here.
const WORKERS_START_WITHIN: Duration = Duration::from_secs(1);
const LOOK_FOR_WORKERS_EVERY: Duration = Duration::from_millis(5);

/// Often enough that each sweep is small.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Organizations read at once to see how long they keep conversations.
const ORGANIZATIONS_AT_ONCE: i64 = 1_000;

/// How often idle conversations are looked for: as exact as the setting.
const LOOK_FOR_IDLE_EVERY: Duration = Duration::from_secs(60);

/// How often resting conversations are looked for: looking at a hundred thousand takes some milliseconds.
const PASSIVATE_EVERY: Duration = Duration::from_secs(5);

/// Begins all of it on this thread. `workers` serve HTTP.
pub(super) fn begin(parts: &web::Data<Parts>, workers: usize) {
    actix::spawn(recover(parts.clone(), workers));
    actix::spawn(sweep(parts.idempotency.clone()));
    actix::spawn(sweep_tickets(parts.tickets.clone(), parts.keys.clone()));
    actix::spawn(sweep_webhooks(parts.webhooks.clone()));
    actix::spawn(sweep_audit(parts.audit.clone()));
    actix::spawn(erase(parts.clone()));
    if let Some(idle_for) = parts.config.conversations.idle_completion() {
        actix::spawn(complete_idle(parts.directory.clone(), idle_for));
    }
    actix::spawn(passivate(parts.directory.clone()));
    actix::spawn(expire_handovers(parts.clone()));
}

/// Turns that a crash cut off go on, spread over the workers.
async fn recover(parts: web::Data<Parts>, workers: usize) {
    let since = Instant::now();
    while parts.homes.all().len() < workers && since.elapsed() < WORKERS_START_WITHIN {
        tokio::time::sleep(LOOK_FOR_WORKERS_EVERY).await;
    }
    match parts.directory.recover(&parts.homes.all()).await {
        Ok(0) => {}
        Ok(woken) => info!(conversations = woken, "conversations that were cut off go on"),
        // Each goes on with its next message.
        Err(error) => warn!(%error, "conversations that were cut off could not be found"),
    }
}

/// Lets conversations that have rested for long leave memory.
async fn passivate(directory: Directory) {
    loop {
        tokio::time::sleep(PASSIVATE_EVERY).await;
        directory.passivate();
    }
}

/// Ends handovers that nobody accepts in time, on whichever workers there are.
async fn expire_handovers(parts: web::Data<Parts>) {
    parts.directory.expire_handovers(|| parts.homes.all()).await;
}

/// Drops what requests did more than a day ago.
async fn sweep(idempotency: Idempotency) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        if let Err(error) = idempotency.sweep().await {
            warn!(%error, "old requests were not forgotten");
        }
    }
}

/// Completes conversations in which nobody says anything any more.
async fn complete_idle(directory: Directory, idle_for: Duration) {
    loop {
        match directory.complete_idle(idle_for).await {
            Ok(0) => {}
            Ok(completed) => info!(conversations = completed, "idle conversations were completed"),
            Err(error) => warn!(%error, "idle conversations could not be looked for"),
        }
        tokio::time::sleep(LOOK_FOR_IDLE_EVERY).await;
    }
}

/// Goes on with erasures that were cut off, and erases what organizations keep no longer.
async fn erase(parts: web::Data<Parts>) {
    loop {
        if let Err(error) = parts.directory.finish_erasures().await {
            warn!(%error, "unfinished erasures could not be looked for");
        }
        if let Err(error) = erase_what_is_past_its_time(&parts).await {
            warn!(%error, "what organizations keep no longer could not be looked for");
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

async fn erase_what_is_past_its_time(parts: &Parts) -> Result<(), StoreError> {
    let now = Timestamp::now();
    let mut after = None;
    loop {
        let some = parts.organizations.oldest(after, ORGANIZATIONS_AT_ONCE).await?;
        let Some(last) = some.last() else { return Ok(()) };
        after = Some(last.id);
        for organization in &some {
            let Some(before) = organization.settings.kept_since(now) else { continue };
            let org = organization.id;
            let noted = Entry::new(org, By::System, Action::ConversationsErased, Target::Conversations);
            match parts.directory.erase_quiet_since(org, before, &noted).await {
                Ok(0) => {}
                Ok(erased) => info!(org.id = %org, conversations = erased, "old conversations were erased"),
                Err(error) => warn!(org.id = %org, %error, "not all old conversations were erased yet"),
            }
        }
    }
}

/// Drops entries of the audit log that are older than they are kept.
async fn sweep_audit(audit: Audit) {
    loop {
        if let Err(error) = audit.sweep().await {
            warn!(%error, "old entries of the audit log were not dropped");
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

/// Forgets stream tickets that open nothing any more.
async fn sweep_tickets(tickets: Tickets, keys: KeyRing) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        if let Err(error) = tickets.sweep(&keys).await {
            warn!(%error, "old stream tickets were not forgotten");
        }
    }
}

/// Drops deliveries that are older than they are kept.
async fn sweep_webhooks(webhooks: Webhooks) {
    loop {
        if let Err(error) = webhooks.sweep().await {
            warn!(%error, "old deliveries were not dropped");
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}
