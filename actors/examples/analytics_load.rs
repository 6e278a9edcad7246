//! How fast the log is folded, and how fast questions are answered over many conversations.
//!
//! ```sh
//! cargo run --release -p openclaw-actors --example analytics_load -- \
//!     [--conversations 1000000] [--events 300000] [--queries 400] [--database-url postgres://…]
//! ```
//!
//! It fills a store of its own: events of played conversations, which are folded, and facts of many more, which are what
//! answers depend on. Without a database's address it is a SQLite file in a temporary directory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that cannot be made should fail loudly"
)]

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use jiff::{
    ToSpan,
    civil::{Date, date},
    tz::TimeZone,
};
use openclaw_actors::{
    analytics::{
        Analytics,
        answer::{GroupBy, Question, Selection},
        calendar::Interval,
        rehearsal,
    },
    answer::Outcome,
    clock::Timestamp,
    conversation::{
        record::Resolution,
        rehearsal::{Act, Played},
    },
    ids::OrgId,
    store::Store,
    writer::{Op, Writer},
};

const CHANNELS: [&str; 4] = ["web", "app", "mail", "api"];
const TOPICS: usize = 20;
const DAYS: i64 = 365;
const FIRST: Date = date(2025, 11, 1);

struct Options {
    conversations: usize,
    events: usize,
    queries: usize,
    database_url: Option<String>,
}

fn options() -> Options {
    let mut options = Options { conversations: 1_000_000, events: 300_000, queries: 400, database_url: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().expect("a value after each name");
        match name.as_str() {
            "--conversations" => options.conversations = value.parse().expect("a number"),
            "--events" => options.events = value.parse().expect("a number"),
            "--queries" => options.queries = value.parse().expect("a number"),
            "--database-url" => options.database_url = Some(value),
            other => panic!("{other} is not known"),
        }
    }
    options
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

fn main() {
    actix::System::new().block_on(run(options()));
}

async fn run(options: Options) {
    let directory = tempfile::tempdir().unwrap();
    let store = match &options.database_url {
        Some(url) => Store::connect_postgres(url).await.unwrap(),
        None => Store::open_sqlite(directory.path()).await.unwrap(),
    };
    let writer = Writer::start(&store, "analytics-load").await.unwrap();
    fold(&store, &writer, options.events).await;
    let org = OrgId::generate();
    let since = Instant::now();
    fill(&writer, org, options.conversations).await;
    println!(
        "{} conversations are known after {:.1} s",
        options.conversations,
        since.elapsed().as_secs_f64()
    );
    let analytics = Analytics::start(&store, &writer);
    settle(&analytics).await;
    ask(&analytics, org, "Europe/Amsterdam", options.queries).await;
    ask(&analytics, org, "America/New_York", options.queries).await;
    ask_beside_folds(&store, &writer, &analytics, org, options.queries).await;
    // As after a restart: what was built is there, and nothing is in memory.
    let again = Analytics::start(&store, &writer);
    settle(&again).await;
    ask(&again, org, "Europe/Amsterdam", options.queries / 4).await;
    writer.close().await;
    store.close().await;
}

async fn settle(analytics: &Analytics) {
    while analytics.catch_up().await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a conversation of two turns writes, in about ten events.
fn played(org: OrgId, dice: &mut Dice, at: Timestamp) -> Vec<Op> {
    let topic = format!("topic-{}", dice.roll(TOPICS));
    let (mut played, begun) = Played::begin(org, CHANNELS[dice.roll(4)], Some(&topic), at).unwrap();
    let mut ops = vec![begun];
    let acts = [
        (Act::Say("Where is my parcel?"), 10),
        (Act::Answer(Outcome::Answered, 300), 700),
        (Act::Say("And the other one?"), 20_000),
        (Act::Answer(Outcome::Unanswered, 250), 900),
        (Act::Complete(Some(Resolution::Resolved)), 60_000),
    ];
    let mut at = at;
    for (act, later) in acts {
        at = at.plus_ms(later);
        ops.extend(played.act(act, at));
    }
    ops
}

/// Writes that many events, then folds them.
async fn fold(store: &Store, writer: &Writer, events: usize) {
    let (org, mut dice) = (OrgId::generate(), Dice(0x9E37_79B9_7F4A_7C15));
    let since = Instant::now();
    let mut written = 0;
    while written < events {
        let batch: Vec<Vec<Op>> = (0..256)
            .map(|_| {
                let day = dice.roll(DAYS as usize) as i64 * 86_400_000;
                played(org, &mut dice, Timestamp(1_762_000_000_000 + day))
            })
            .collect();
        written += batch.iter().flatten().map(|op| op.events.len()).sum::<usize>();
        stream::iter(batch)
            .for_each_concurrent(256, async |ops| {
                for op in ops {
                    writer.commit(op).await.unwrap();
                }
            })
            .await;
    }
    println!("{written} events were written in {:.1} s", since.elapsed().as_secs_f64());
    let since = Instant::now();
    let analytics = Analytics::start(store, writer);
    while analytics.catch_up().await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = since.elapsed().as_secs_f64();
    println!("fold: {written} events in {took:.2} s, {:.0} events/s", written as f64 / took);
    analytics.stop();
}

async fn fill(writer: &Writer, org: OrgId, conversations: usize) {
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    let mut left = conversations;
    while left > 0 {
        let count = left.min(2_000);
        let mut op = Op::default();
        for _ in 0..count {
            let topic = format!("topic-{}", dice.roll(TOPICS));
            let day = dice.roll(DAYS as usize) as i64;
            let at = FIRST.to_zoned(TimeZone::UTC).unwrap().timestamp().as_millisecond();
            let at = Timestamp(at + day * 86_400_000 + dice.roll(86_400_000) as i64);
            let answers: Vec<(i64, i64)> = (0..1 + dice.roll(3))
                .map(|_| {
                    let first = 100 + (dice.roll(900) * dice.roll(900) / 400) as i64;
                    (first, first + 200 + (dice.roll(3_000) * dice.roll(1_000) / 500) as i64)
                })
                .collect();
            rehearsal::known(
                &mut op,
                org,
                (CHANNELS[dice.roll(4)], &topic),
                at,
                &answers,
                dice.roll(12) as i64,
            );
        }
        writer.commit(op).await.unwrap();
        left -= count;
    }
}

fn question(dice: &mut Dice, zone: &str) -> Question {
    let last = FIRST.checked_add((DAYS - 1).days()).unwrap();
    let (from, to) = match dice.roll(3) {
        0 => (FIRST, last),
        _ => {
            let from = FIRST.checked_add((dice.roll(300) as i64).days()).unwrap();
            (from, from.checked_add((dice.roll(60) as i64).days()).unwrap())
        }
    };
    let channels = (0..dice.roll(4)).map(|_| CHANNELS[dice.roll(4)].to_owned()).collect();
    let topics = (0..dice.roll(8)).map(|_| format!("topic-{}", dice.roll(TOPICS))).collect();
    let (channels, topics) = if dice.roll(2) == 0 { (Vec::new(), Vec::new()) } else { (channels, topics) };
    Question {
        selection: Selection { zone: TimeZone::get(zone).unwrap(), from, to, channels, topics },
        interval: [Interval::Day, Interval::Week, Interval::Month][dice.roll(3)],
        group_by: [None, Some(GroupBy::Channel), Some(GroupBy::Topic)][dice.roll(3)],
    }
}

async fn ask(analytics: &Analytics, org: OrgId, zone: &str, queries: usize) {
    let mut dice = Dice(0xD1B5_4A32_D192_ED03);
    let since = Instant::now();
    while let Err(error) = analytics.answer(org, question(&mut dice, zone)).await {
        assert!(since.elapsed() < Duration::from_secs(600), "{error}");
    }
    println!("{zone}: the first question took {:.0} ms", since.elapsed().as_secs_f64() * 1_000.0);
    let mut times = Vec::new();
    for _ in 0..queries {
        let question = question(&mut dice, zone);
        let since = Instant::now();
        let figures = analytics.answer(org, question).await.unwrap();
        // As it is shown: percentiles are found then.
        for (_, bucket) in &figures.series {
            std::hint::black_box(bucket.view(6.0));
        }
        for (_, bucket) in &figures.groups {
            std::hint::black_box(bucket.view(6.0));
        }
        times.push(since.elapsed());
    }
    report(zone, times);
}

/// The same while conversations go on.
async fn ask_beside_folds(store: &Store, writer: &Writer, analytics: &Analytics, org: OrgId, queries: usize) {
    let (mut dice, mut other) = (Dice(77), Dice(78));
    let heads = store.heads().await.unwrap();
    let mut times = Vec::new();
    for _ in 0..queries {
        let at = Timestamp(1_790_000_000_000 + dice.roll(1_000_000_000) as i64);
        for op in played(org, &mut dice, at) {
            writer.commit(op).await.unwrap();
        }
        let question = question(&mut other, "Europe/Amsterdam");
        let since = Instant::now();
        std::hint::black_box(analytics.answer(org, question).await.unwrap());
        times.push(since.elapsed());
    }
    assert!(store.heads().await.unwrap() != heads);
    report("while conversations go on", times);
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| {
        let place = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1;
        times[place].as_secs_f64() * 1_000.0
    };
    println!(
        "{what}: {} questions, p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        times.len(),
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    );
}
