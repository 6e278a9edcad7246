//! Promises of the fold of the log that HTTP cannot bring about: there, it never falls behind by so much.

use futures_util::future::join_all;
use jiff::{civil::date, tz::TimeZone};

use openclaw_actors::{
    analytics::{
        Analytics, AnalyticsError,
        answer::{Question, Selection},
        calendar::Interval,
    },
    answer::Outcome,
    clock::Timestamp,
    conversation::rehearsal::{Act, Played},
    ids::OrgId,
    testing::test_store,
    writer::Writer,
};

/// 2026-03-01, noon in UTC.
const NOON: Timestamp = Timestamp(1_772_366_400_000);

/// Events that are folded at once.
const BATCH: i64 = 2_000;

/// What a conversation of one turn writes.
async fn play(writer: &Writer, org: OrgId) {
    let (mut played, begun) = Played::begin(org, "web", None, NOON).unwrap();
    let mut ops = vec![begun];
    ops.extend(played.act(Act::Say("Where is my parcel?"), NOON.plus_ms(10)));
    ops.extend(played.act(Act::Answer(Outcome::Answered, 300), NOON.plus_ms(700)));
    ops.extend(played.act(Act::Complete(None), NOON.plus_ms(60_000)));
    for op in ops {
        writer.commit(op).await.unwrap();
    }
}

#[actix::test]
async fn a_log_of_many_batches_is_folded_to_its_end() {
    const CONVERSATIONS: i64 = 700;
    let store = test_store().await;
    // Of several processes, because each has its own end of the log.
    let (one, two) =
        (Writer::start(&store, "one").await.unwrap(), Writer::start(&store, "two").await.unwrap());
    let org = OrgId::generate();
    join_all((0..CONVERSATIONS).map(|n| play(if n % 3 == 0 { &two } else { &one }, org))).await;
    let events = store.heads().await.unwrap();
    let written: i64 = events.iter().map(|(_, head)| head).sum();
    assert!(written > 2 * BATCH, "{written} events are no more than a batch or two");

    let analytics = Analytics::start(&store, &one);
    let day = date(2026, 3, 1);
    let zone = TimeZone::get("Europe/Amsterdam").unwrap();
    let question = || Question {
        selection: Selection { zone: zone.clone(), from: day, to: day, channels: vec![], topics: vec![] },
        interval: Interval::Day,
        group_by: None,
    };
    let figures = loop {
        match analytics.answer(org, question()).await {
            // It has only just been started.
            Err(AnalyticsError::NotYet) => tokio::task::yield_now().await,
            figures => break figures.unwrap(),
        }
    };
    let shown = serde_json::to_value(figures.totals.view(6.0)).unwrap();
    let counted = ["conversations", "completed", "messages"].map(|figure| shown[figure].as_i64().unwrap());
    assert_eq!(counted, [CONVERSATIONS, CONVERSATIONS, 2 * CONVERSATIONS]);
}
