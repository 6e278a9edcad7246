//! Promises of the writer, on a real store.

use std::{
    sync::{Arc, atomic::AtomicU8},
    time::Duration,
};

use futures_util::future::join_all;

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    Command, MOST_PATIENCE, Op, QUEUE_CAPACITY, Queued, Table, WriteError, Writer,
    claim::Claim,
    gather,
    group::Committer,
    link::{Link, Refusal, refusal},
};
use crate::{
    clock::Timestamp,
    event::{EventKind, EventRow},
    ids::{ConversationId, EventId, OrgId},
    on_pool,
    store::Store,
    testing::test_store,
};

static CURSORS: Table = Table {
    into: "idempotency (scope, key, fingerprint, effect, conversation_id, created_at)",
    columns: 6,
    key: 2,
    on_conflict: "",
};

static REPLACED: Table = Table {
    into: "idempotency (scope, key, fingerprint, effect, conversation_id, created_at)",
    columns: 6,
    key: 2,
    on_conflict: "ON CONFLICT (scope, key) DO UPDATE SET effect = excluded.effect",
};

fn row(op: &mut Op, table: &'static Table, key: &str, effect: &str) {
    op.insert(table, vec!["test".into(), key.into(), "".into(), effect.into(), "".into(), 0.into()]);
}

fn insert(key: &str) -> Op {
    let mut op = Op::default();
    row(&mut op, &CURSORS, key, "first");
    op
}

fn event(stream: ConversationId, sequence: i64) -> Op {
    let row = EventRow {
        stream_id: stream.to_string().into(),
        sequence,
        id: EventId::generate(),
        org: OrgId::generate(),
        kind: EventKind::ConversationUpdated,
        turn: None,
        data: "{}".into(),
        at: Timestamp(0),
    };
    Op { events: vec![row], ..Op::default() }
}

async fn effects(store: &Store) -> Vec<(String, String)> {
    const SELECT: &str = "SELECT key, effect FROM idempotency WHERE scope = 'test' ORDER BY key";
    on_pool!(store, |pool| sqlx::query_as(SELECT).fetch_all(pool).await).expect("readable")
}

async fn positions(store: &Store) -> Vec<(i64, i64)> {
    const SELECT: &str = "SELECT writer_id, position FROM events ORDER BY writer_id, position";
    on_pool!(store, |pool| sqlx::query_as(SELECT).fetch_all(pool).await).expect("readable")
}

#[actix::test]
async fn what_is_acknowledged_is_in_the_store() {
    let store = test_store().await;
    let writer = Writer::start(&store, "test").await.expect("a writer");
    writer.commit(insert("a")).await.expect("stored");
    assert_eq!(effects(&store).await, [("a".to_owned(), "first".to_owned())]);
}

#[actix::test]
async fn a_bad_op_never_fails_its_neighbours() {
    let store = test_store().await;
    let writer = Writer::start(&store, "test").await.expect("a writer");
    writer.commit(insert("taken")).await.expect("stored");
    let mut ops: Vec<_> = (0..50).map(|index| insert(&format!("n{index:02}"))).collect();
    ops.insert(20, insert("taken"));
    let mut unexpected = Op::default();
    row(&mut unexpected, &CURSORS, "unexpected", "first");
    unexpected
        .run_on_one("UPDATE idempotency SET effect = $1 WHERE key = $2", vec!["x".into(), "nobody".into()]);
    ops.insert(30, unexpected);
    let results = join_all(ops.into_iter().map(|op| writer.commit(op))).await;
    for (index, result) in results.iter().enumerate() {
        let bad = index == 20 || index == 30;
        assert_eq!(bad, matches!(result, Err(WriteError::Conflict)), "{index}: {result:?}");
        assert_eq!(bad, result.is_err(), "{index}: {result:?}");
    }
    let stored = effects(&store).await;
    assert_eq!(stored.len(), 51, "all but the two, and the one before");
    assert!(!stored.iter().any(|(key, _)| key == "unexpected"), "nothing of a refused op is stored");
}

#[actix::test]
async fn positions_follow_the_order_of_commits_without_a_gap_also_after_refusals() {
    let store = test_store().await;
    let writer = Writer::start(&store, "test").await.expect("a writer");
    let streams: Vec<_> = (0..8).map(|_| ConversationId::generate()).collect();
    for sequence in 1..=10 {
        // Every stream twice: one of the two is refused.
        let both = streams.iter().chain(&streams).map(|stream| writer.commit(event(*stream, sequence)));
        let stored = join_all(both).await.into_iter().filter(Result::is_ok).count();
        assert_eq!(stored, streams.len());
    }
    let positions: Vec<_> = positions(&store).await.into_iter().map(|(_, position)| position).collect();
    assert!(positions.into_iter().eq(1..=80));
}

#[actix::test]
async fn within_one_commit_the_last_row_of_a_key_wins() {
    let store = test_store().await;
    let writer = Writer::start(&store, "test").await.expect("a writer");
    let ops = (0..40).map(|index| {
        let mut op = Op::default();
        row(&mut op, &REPLACED, if index % 2 == 0 { "even" } else { "odd" }, &index.to_string());
        writer.commit(op)
    });
    assert!(join_all(ops).await.iter().all(Result::is_ok));
    let expected = [("even".to_owned(), "38".to_owned()), ("odd".to_owned(), "39".to_owned())];
    assert_eq!(effects(&store).await, expected);
}

#[actix::test]
async fn an_update_sees_the_ops_before_it_and_not_those_after() {
    let store = test_store().await;
    let writer = Writer::start(&store, "test").await.expect("a writer");
    let mut update = Op::default();
    update.run("UPDATE idempotency SET effect = $1 WHERE scope = $2", vec!["seen".into(), "test".into()]);
    let results = join_all([insert("before"), update, insert("later")].map(|op| writer.commit(op))).await;
    assert!(results.iter().all(Result::is_ok));
    let expected = [("before".to_owned(), "seen".to_owned()), ("later".to_owned(), "first".to_owned())];
    assert_eq!(effects(&store).await, expected);
}

#[actix::test]
async fn a_full_queue_refuses_at_once_and_stores_nothing_of_it() {
    let store = test_store().await;
    let writer = Writer::start(&store, "test").await.expect("a writer");
    let ops: Vec<_> = (0..QUEUE_CAPACITY * 3).map(|index| insert(&format!("{index:05}"))).collect();
    let results = join_all(ops.into_iter().map(|op| writer.commit(op))).await;
    let stored = results.iter().filter(|result| result.is_ok()).count();
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(WriteError::Overloaded))));
    assert!(stored >= QUEUE_CAPACITY, "what fits is stored");
    assert_eq!(effects(&store).await.len(), stored);
}

#[actix::test]
async fn a_barrier_waits_for_everything_queued_before_it() {
    let store = test_store().await;
    let writer = Writer::start(&store, "test").await.expect("a writer");
    let commits: Vec<_> = (0..100).map(|index| insert(&format!("{index:03}"))).collect();
    let queued = join_all(commits.into_iter().map(|op| writer.commit(op)));
    let (_, barrier, seen) = {
        let waiting = async {
            let barrier = writer.barrier().await;
            (barrier, effects(&store).await.len())
        };
        let (results, (barrier, seen)) = futures_util::future::join(queued, waiting).await;
        (results, barrier, seen)
    };
    barrier.expect("passed");
    assert_eq!(seen, 100);
}

#[actix::test]
async fn a_writer_that_lost_its_lease_takes_another_and_loses_nothing() {
    let store = test_store().await;
    let first = Writer::start(&store, "one node").await.expect("a writer");
    let stream = ConversationId::generate();
    first.commit(event(stream, 1)).await.expect("stored");
    // A process of the same name, as after a crash: the lease is taken over at once.
    let second = Writer::start(&store, "one node").await.expect("a writer");
    second.commit(event(stream, 2)).await.expect("stored");
    first.commit(event(stream, 3)).await.expect("stored under another lease");
    assert!(matches!(first.commit(event(stream, 3)).await, Err(WriteError::Conflict)));
    let positions: Vec<_> = positions(&store).await.into_iter().map(|(_, position)| position).collect();
    assert_eq!(positions, [1, 2, 3], "one writer's row, numbered on");
}

#[actix::test]
async fn writers_of_different_processes_number_their_own_rows() {
    let store = test_store().await;
    let server = Writer::start(&store, "server").await.expect("a writer");
    let command = Writer::start(&store, "command").await.expect("a writer");
    let stream = ConversationId::generate();
    for sequence in 1..=6 {
        let writer = if sequence % 2 == 0 { &server } else { &command };
        writer.commit(event(stream, sequence)).await.expect("stored");
    }
    command.close().await;
    let expected = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)];
    assert_eq!(positions(&store).await, expected);
    let third = Writer::start(&store, "another command").await.expect("a writer");
    third.commit(event(stream, 7)).await.expect("stored");
    assert!(positions(&store).await.contains(&(2, 4)), "a lease that was given back is used again");
}

#[actix::test]
async fn a_commit_of_unknown_outcome_is_looked_up_rightly_either_way() {
    let store = test_store().await;
    let mut link = Link::open(&store).await.expect("a connection");
    let mut claim = Claim::take(&mut link, "test").await.expect("a lease");
    for (commits, expected) in [(true, true), (false, false)] {
        link.begin().await.expect("begun");
        let proof = claim.proof(claim.position);
        assert_eq!(link.execute(proof.sql, &proof.values).await.expect("proven"), 1);
        if commits {
            link.commit().await.expect("committed");
        } else {
            link.rollback().await;
        }
        // The connection is taken to be broken here: whether the commit worked is asked on another.
        let mut other = Link::open(&store).await.expect("a connection");
        assert_eq!(claim.took_effect(&mut other).await.expect("answered"), expected);
        if commits {
            claim.committed(claim.position);
        }
    }
}

#[actix::test]
async fn a_store_that_is_away_refuses_and_serves_again_without_a_restart() {
    let store = test_store().await;
    let health = Arc::new(AtomicU8::new(0));
    let mut committer = Committer::open((*store).clone(), "test".to_owned(), health).await.expect("a writer");
    committer.break_connection().await;
    let (outcome, answered) = tokio::sync::oneshot::channel();
    committer.commit(vec![super::Queued { op: insert("a"), outcome }]).await;
    let first = answered.await.expect("answered");
    if first.is_err() {
        let (outcome, answered) = tokio::sync::oneshot::channel();
        committer.commit(vec![super::Queued { op: insert("a"), outcome }]).await;
        answered.await.expect("answered").expect("stored on a new connection");
    }
    assert_eq!(effects(&store).await.len(), 1, "once, whatever the first try came to");
}

#[actix::test]
async fn a_duplicate_is_a_rows_fault_and_a_missing_table_is_not() {
    let store = test_store().await;
    let mut link = Link::open(&store).await.expect("a connection");
    const ADD: &str = "INSERT INTO organizations (id, name, settings, created_at) VALUES ('a', '', '', 0)";
    link.execute(ADD, &[]).await.expect("stored");
    let duplicate = link.execute(ADD, &[]).await.expect_err("refused");
    assert_eq!(refusal(&duplicate), Refusal::Row);
    let missing = link.execute("INSERT INTO nowhere (id) VALUES (1)", &[]).await.expect_err("refused");
    assert_eq!(refusal(&missing), Refusal::Store);
}

fn waits(patience: Duration) -> Command {
    Command::Commit(Queued { op: Op { patience, ..insert("a") }, outcome: oneshot::channel().0 })
}

#[actix::test]
async fn an_op_that_can_wait_shares_the_next_commit_and_waits_no_longer_than_it_said() {
    tokio::time::pause();
    let (commands, mut queue) = mpsc::channel(QUEUE_CAPACITY);
    let ms = Duration::from_millis;
    for (queued, later, together, after) in [
        (vec![ms(3)], None, 1, ms(3)),
        (vec![ms(3), ms(2)], None, 2, ms(2)),
        (vec![ms(3), ms(0)], None, 2, ms(0)),
        (vec![Duration::from_secs(60)], None, 1, MOST_PATIENCE),
        (vec![ms(4)], Some(ms(0)), 2, ms(1)),
        (vec![ms(0)], Some(ms(0)), 1, ms(0)),
    ] {
        let began = Instant::now();
        for patience in &queued {
            commands.try_send(waits(*patience)).expect("room");
        }
        let first = queue.recv().await;
        let arrives = later.map(|patience| {
            let commands = commands.clone();
            actix::spawn(async move {
                tokio::time::sleep(ms(1)).await;
                commands.try_send(waits(patience)).expect("room");
            })
        });
        let (group, closing) = gather(first, &mut queue).await;
        // Timers fire at the next whole millisecond.
        let rounding = if after.is_zero() { after } else { ms(1) };
        let waited = began.elapsed();
        assert_eq!(group.len(), together, "{queued:?}, then {later:?}");
        assert!((after..=after + rounding).contains(&waited), "{waited:?} for {queued:?}, then {later:?}");
        assert!(closing.is_none());
        if let Some(arrives) = arrives {
            arrives.await.expect("sent");
            drop(queue.try_recv());
        }
    }
}

#[actix::test]
async fn what_a_key_that_is_there_already_means_is_the_tables_own_wherever_two_fill_the_same_columns() {
    let store = test_store().await;
    let writer = Writer::start(&store, "test").await.unwrap();
    let put = |table: &'static Table, effect: &'static str| {
        let mut op = Op::default();
        row(&mut op, table, "one", effect);
        writer.commit(op)
    };
    put(&REPLACED, "first").await.unwrap();
    assert!(matches!(put(&CURSORS, "second").await, Err(WriteError::Conflict)));
    put(&REPLACED, "third").await.unwrap();
    assert!(matches!(put(&CURSORS, "fourth").await, Err(WriteError::Conflict)));
}
