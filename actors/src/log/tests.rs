//! Promises of the log, on a real store with several writers.

use std::{collections::BTreeMap, future::poll_fn};

use futures_util::future::join_all;

use super::{
    Log,
    reader::{LogFrame, LogReader},
    wanted::Wanted,
};
use crate::{
    clock::Timestamp,
    event::{EventKind, EventRow},
    ids::{ConversationId, EventId, OrgId},
    position::Position,
    testing::test_store,
    writer::{Op, Writer},
};

/// Events of each writer.
const EVENTS: i64 = 300;

fn event(org: OrgId, stream: &str, sequence: i64) -> Op {
    let row = EventRow {
        stream_id: stream.into(),
        sequence,
        id: EventId::generate(),
        org,
        kind: EventKind::ConversationUpdated,
        turn: None,
        data: "{}".into(),
        at: Timestamp::now(),
    };
    Op { events: vec![row], ..Op::default() }
}

/// Writes a conversation's events one by one, several conversations at once, so that commits hold groups.
async fn write(writer: &Writer, org: OrgId) {
    let conversations = (0..10).map(|_| async move {
        let stream = ConversationId::generate().to_string();
        for sequence in 1..=EVENTS / 10 {
            writer.commit(event(org, &stream, sequence)).await.unwrap();
        }
    });
    join_all(conversations).await;
}

async fn frames(reader: &mut LogReader) -> Vec<LogFrame> {
    let mut frames = Vec::new();
    poll_fn(|cx| reader.poll_frames(cx, &mut frames)).await.unwrap();
    frames
}

#[derive(Default)]
struct Seen {
    sequences: BTreeMap<String, i64>,
    count: i64,
}

impl Seen {
    /// Each conversation's events come in order, each once: a number that is missing or comes again is seen here.
    fn add(&mut self, json: &[u8]) {
        let event: serde_json::Value = serde_json::from_slice(json).unwrap();
        let last = self.sequences.entry(event["conversation_id"].to_string()).or_default();
        *last += 1;
        assert_eq!(event["sequence"], *last);
        self.count += 1;
    }
}

#[actix::test]
async fn several_writers_at_once_hide_nothing_from_a_reader_that_passes_them() {
    let store = test_store().await;
    let (org, other) = (OrgId::generate(), OrgId::generate());
    let mut writers = Vec::new();
    for name in ["one", "two", "three"] {
        writers.push(Writer::start(&store, name).await.unwrap());
    }
    // It is told of the first writer's commits alone: the others are as other processes.
    let log = Log::follow(&store, &writers[0]);
    let all = Wanted::new(&[], |_| true);
    let mut reader = log.open(org, Some(Position::default()), all.clone()).await.unwrap();
    let written = join_all(writers.iter().flat_map(|writer| [write(writer, org), write(writer, other)]));
    let streamed = async {
        let mut seen = Seen::default();
        while seen.count < 3 * EVENTS {
            for frame in frames(&mut reader).await {
                let LogFrame::Event(event, _) = frame else { panic!("{frame:?}") };
                seen.add(&event.json);
            }
        }
    };
    let polled = async {
        let mut seen = Seen::default();
        let mut after = Position::default();
        while seen.count < 3 * EVENTS {
            let page = log.page(org, after, &all, 7).await.unwrap();
            page.events.iter().for_each(|event| seen.add(&event.json));
            // Through its text, as a client would.
            after = page.next.to_string().parse().unwrap();
            tokio::task::yield_now().await;
        }
    };
    futures_util::future::join3(written, streamed, polled).await;
}

#[actix::test]
async fn a_reader_resumes_between_any_two_events_of_any_writers() {
    let store = test_store().await;
    let org = OrgId::generate();
    let (one, two) =
        (Writer::start(&store, "one").await.unwrap(), Writer::start(&store, "two").await.unwrap());
    let log = Log::follow(&store, &one);
    let all = Wanted::new(&[], |_| true);
    futures_util::future::join(write(&one, org), write(&two, org)).await;
    let whole = log.page(org, Position::default(), &all, usize::MAX / 2).await.unwrap();
    assert_eq!(whole.events.len() as i64, 2 * EVENTS);
    for first in [1, 2, 17, 299, 300, 301, 599] {
        let begin = log.page(org, Position::default(), &all, first).await.unwrap();
        assert_eq!((begin.events.len(), begin.has_more), (first, true));
        let rest = log.page(org, begin.next, &all, usize::MAX / 2).await.unwrap();
        let ids: Vec<_> = begin.events.iter().chain(&rest.events).map(|event| event.json.clone()).collect();
        assert_eq!(ids, whole.events.iter().map(|event| event.json.clone()).collect::<Vec<_>>());
        assert!(!rest.has_more);
    }
}

#[actix::test]
async fn a_closed_log_ends_its_readers_wherever_they_are() {
    let store = test_store().await;
    let org = OrgId::generate();
    let writer = Writer::start(&store, "test").await.unwrap();
    let log = Log::follow(&store, &writer);
    let all = Wanted::new(&[], |_| true);
    let mut waiting = log.open(org, None, all.clone()).await.unwrap();
    let mut begun = log.open(OrgId::generate(), None, all).await.unwrap();
    let (closed, ()) = futures_util::future::join(frames(&mut waiting), async {
        tokio::task::yield_now().await;
        log.close();
    })
    .await;
    for last in [closed, frames(&mut begun).await] {
        assert!(matches!(last.last(), Some(LogFrame::Closing)), "{last:?}");
    }
}
