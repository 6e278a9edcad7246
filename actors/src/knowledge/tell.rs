//! What became of articles, told on the organization's own stream and noted beside them.
//!
//! An article is committed as pending. Once the index has taken it in, its state and the event `knowledge.indexed` or
//! `knowledge.failed` are committed together: a crash in between leaves it pending, and whoever looks next tells it. A
//! version that was replaced before it was told of is not told of: the latest always is.

use std::sync::{Arc, Weak, atomic::Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tracing::{debug, warn};

use super::article::{Article, Fields};
use super::handle::{Knowledge, Shared};
use super::import;
use super::messages::{CatchUp, Indexed, KnowledgeError};
use super::shelf::Shelf;
use super::sql;
use crate::clock::Timestamp;
use crate::event::{EventKind, EventRow, complete};
use crate::ids::{EventId, OrgId};
use crate::outbox::{self, Outbox};
use crate::store::StoreError;
use crate::writer::{Op, WriteError};

/// Articles told of in one commit; more than any one write has.
const PAGE: i64 = 512;

/// How often it is decided anew what to tell, because another process told something in between.
const DECISIONS: usize = 5;

/// How often somebody looks for what was left pending, and for what is due to be tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is pending for longer was left so by a process that is gone, or waits for one that is slow.
const ABANDONED_AFTER_MS: i64 = 1_000;

/// A lease that ended this long ago is nobody's: the clocks of two machines may differ by less.
const DEAD_AFTER_MS: i64 = 60_000;

/// How often imports that ended long ago are dropped.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Imports dropped at a time, and lines of one in one commit: others' writes wait that long.
const SWEPT_IMPORTS: i64 = 100;
const SWEPT_LINES: i64 = 2_000;

const DIED: &str = "the server ended while the import was running; send it again";

/// Tells what became of the shelf's articles, soon and once for many.
pub(super) fn soon(shared: &Arc<Shared>, shelf: &Arc<Shelf>) {
    if shelf.to_be_told.swap(true, Ordering::AcqRel) {
        return;
    }
    let (shared, shelf) = (Arc::clone(shared), Arc::clone(shelf));
    let arbiter = shared.arbiter.clone();
    arbiter.spawn(async move { now(&shared, &shelf).await });
}

/// Tells what became of the shelf's articles, unless whoever closes does.
pub(super) async fn now(shared: &Shared, shelf: &Shelf) {
    let telling = shelf.telling.lock().await;
    if !shared.closing.load(Ordering::Acquire) {
        told(shared, shelf).await;
    }
    drop(telling);
}

/// Tells it for the last time.
pub(super) async fn last(shared: &Shared, shelf: &Shelf) {
    let telling = shelf.telling.lock().await;
    told(shared, shelf).await;
    drop(telling);
}

async fn told(shared: &Shared, shelf: &Shelf) {
    shelf.to_be_told.store(false, Ordering::Release);
    if let Err(error) = tell(shared, shelf).await {
        // The rows are still pending: the next look finds them.
        debug!(org.id = %shelf.org, %error, "what became of articles was not told yet");
    }
}

async fn tell(shared: &Shared, shelf: &Shelf) -> Result<(), KnowledgeError> {
    let mut decisions = 0;
    loop {
        // Before the rows: what another process tells after this look is refused to us.
        let sequence = outbox::stream_length(&shared.store, shelf.org).await?;
        let head = shelf.head();
        let mut untold = sql::states::untold(&shared.store, shelf.org, head, PAGE).await?;
        if untold.len() as i64 == PAGE
            && let Some(last) = untold.last().map(|untold| untold.head)
        {
            // The writes that are there as a whole.
            untold.retain(|untold| untold.head < last);
        }
        let Some(upto) = untold.last().map(|untold| untold.head) else { return Ok(()) };
        let known: Option<Vec<(Article, Indexed)>> =
            untold.into_iter().map(|untold| known(shelf, untold.article)).collect();
        // Written anew since: its new row comes with a head that the shelf will have.
        let Some(known) = known else { return Ok(()) };
        let op = op(shared.writer.outbox(), shelf.org, sequence, upto, &known);
        match shared.writer.commit(op).await {
            Ok(()) => {}
            Err(WriteError::Conflict) if decisions < DECISIONS => decisions += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// What the shelf knows of that version, or of a later one.
fn known(shelf: &Shelf, article: Article) -> Option<(Article, Indexed)> {
    let indexed = shelf.indexed(article.id)?;
    (indexed.version >= article.version).then_some((article, indexed))
}

fn op(outbox: &Outbox, org: OrgId, sequence: i64, upto: i64, known: &[(Article, Indexed)]) -> Op {
    let mut op = Op::default();
    let now = Timestamp::now();
    for (place, (article, indexed)) in known.iter().enumerate() {
        if let Some(error) = &indexed.error {
            sql::states::failed(&mut op, org, article, error, now);
        }
        let event = event(org, sequence + 1 + place as i64, article, indexed, now);
        outbox.publish(&mut op, event, None, complete);
    }
    sql::states::indexed(&mut op, org, upto, now);
    sql::states::still_there(&mut op, org);
    outbox::grow_stream(&mut op, org, sequence, known.len());
    op
}

/// An article as an event shows it: as the API does, without its content.
#[derive(Serialize)]
struct Told<'a> {
    article: ToldArticle<'a>,
}

#[derive(Serialize)]
struct ToldArticle<'a> {
    id: crate::ids::ArticleId,
    external_id: Option<&'a str>,
    source: Option<&'a str>,
    version: i64,
    title: &'a str,
    format: &'static str,
    language: &'a str,
    topic: Option<&'a str>,
    url: Option<&'a str>,
    metadata: &'a std::collections::BTreeMap<String, String>,
    published: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
    index: ToldIndex<'a>,
}

#[derive(Serialize)]
struct ToldIndex<'a> {
    state: &'static str,
    version: i64,
    indexed_at: Option<Timestamp>,
    lag_ms: Option<i64>,
    error: Option<&'a str>,
}

fn event(org: OrgId, sequence: i64, article: &Article, indexed: &Indexed, at: Timestamp) -> EventRow {
    let failed = indexed.error.is_some();
    let Fields { external_id, source, title, format, language, topic, url, metadata, published } =
        &article.fields;
    let told = Told {
        article: ToldArticle {
            id: article.id,
            external_id: external_id.as_deref(),
            source: source.as_deref(),
            version: article.version,
            title,
            format: format.as_str(),
            language,
            topic: topic.as_deref(),
            url: url.as_deref(),
            metadata,
            published: *published,
            created_at: article.created_at,
            updated_at: article.updated_at,
            index: ToldIndex {
                state: if failed { "failed" } else { "indexed" },
                version: indexed.version,
                indexed_at: (!failed).then_some(indexed.at),
                lag_ms: indexed.lag_ms,
                error: indexed.error.as_deref(),
            },
        },
    };
    EventRow {
        stream_id: org.to_string().into(),
        sequence,
        id: EventId::generate(),
        org,
        kind: if failed { EventKind::KnowledgeFailed } else { EventKind::KnowledgeIndexed },
        turn: None,
        // Text and numbers always serialize.
        data: serde_json::to_string(&told).unwrap_or_default().into(),
        at,
    }
}

/// What had failed and can be found now is pending again, for [`soon`] to tell of.
pub(super) async fn recovered(shared: &Shared, shelf: &Shelf) -> Result<(), KnowledgeError> {
    let failed = sql::states::failed_of(&shared.store, shelf.org).await?;
    let mut op = Op::default();
    for (id, version) in failed {
        let is_indexed = |known: &Indexed| known.version >= version && known.error.is_none();
        if shelf.indexed(id).as_ref().is_some_and(is_indexed) {
            sql::states::tried_again(&mut op, shelf.org, id, version);
        }
    }
    if op.is_empty() { Ok(()) } else { Ok(shared.writer.commit(op).await?) }
}

/// What a process does for all organizations as long as it runs.
pub(super) async fn look_after(shared: Weak<Shared>) {
    // What could not be indexed by the process before is tried again by this one.
    let mut retried = false;
    let mut swept: Option<Instant> = None;
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let knowledge = Knowledge::of(shared);
        if swept.is_none_or(|swept| swept.elapsed() > SWEEP_EVERY) {
            match sweep(&knowledge).await {
                // There may be more: the next look goes on.
                Ok(more) => swept = (!more).then(Instant::now),
                Err(error) => debug!(%error, "old imports were not dropped"),
            }
        }
        if let Err(error) = look(&knowledge, &mut retried).await {
            debug!(%error, "what was left pending could not be looked for");
        }
        drop(knowledge);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn look(knowledge: &Knowledge, retried: &mut bool) -> Result<(), StoreError> {
    let now = Timestamp::now();
    let store = knowledge.store();
    for org in sql::states::abandoned(store, now.plus_ms(-ABANDONED_AFTER_MS)).await? {
        catch_up(knowledge, org, false).await;
    }
    if !*retried {
        for org in sql::states::with_failed(store).await? {
            catch_up(knowledge, org, true).await;
        }
        *retried = true;
    }
    for org in knowledge.with_due() {
        catch_up(knowledge, org, true).await;
    }
    if sql::imports::running(store).await? > 0 {
        let mut op = Op::default();
        sql::imports::end_abandoned(&mut op, now.plus_ms(-DEAD_AFTER_MS), DIED, now);
        if let Err(error) = knowledge.writer().commit(op).await {
            debug!(%error, "imports of processes that are gone still count as running");
        }
    }
    Ok(())
}

/// Drops some of the imports that are not shown any more. Says whether there may be more.
async fn sweep(knowledge: &Knowledge) -> Result<bool, KnowledgeError> {
    let before = Timestamp::now().plus_ms(-import::KEPT_FOR_MS);
    let old = sql::imports::ended_before(knowledge.store(), before, SWEPT_IMPORTS).await?;
    for (org, id) in &old {
        let mut op = Op::default();
        sql::imports::drop_some(&mut op, *org, *id, SWEPT_LINES);
        knowledge.writer().commit(op).await?;
    }
    Ok(!old.is_empty())
}

async fn catch_up(knowledge: &Knowledge, org: OrgId, retry: bool) {
    if let Err(error) = knowledge.catch_up(CatchUp { org, retry }).await {
        warn!(org.id = %org, %error, "an index could not be brought up to date");
    }
}

/// Imports that an earlier process of this name left running have failed: nobody else bears its name.
pub(super) async fn end_imports_before(shared: &Shared) -> Result<(), WriteError> {
    let mut op = Op::default();
    sql::imports::end_those_of(&mut op, shared.writer.node(), DIED, Timestamp::now());
    shared.writer.commit(op).await
}
