//! Memory of what a server holds by the thousand: live idle conversations, and open idle streams.
//!
//! `cargo bench --bench memory [conversations] [streams]`
//!
//! Every conversation is begun with a message and answered, as in the field; its actor is then left alone until it
//! has let its history go. The figure is the growth of the process's resident memory, divided by their number.

use std::{env, fs, future::poll_fn, task::Poll, time::Duration};

use futures_util::{StreamExt, stream};
use openclaw_actors::{
    answer::{Answerers, Model, synthetic::Synthetic},
    conversation::{
        directory::{ConversationOptions, Directory, Opened, REST_AFTER},
        messages::{ConversationKey, NewMessage, OnBusy},
        reader::Reader,
        record::{Customer, Details, Metadata, TurnOptions},
    },
    ids::{ConversationId, MessageId, OrgId, TurnId},
    organization::Organizations,
    store::Store,
    writer::Writer,
};

/// The server's own, whose figures these are.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Longer than a conversation keeps its history.
const SETTLE: Duration = Duration::from_secs(12);

/// Begun before anything is measured, in the same way as those that are.
const WARM_UP: usize = 10_000;

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

fn message() -> NewMessage {
    NewMessage {
        id: MessageId::generate(),
        turn: TurnId::generate(),
        content: "Where is my parcel?".into(),
        client_message_id: None,
        fingerprint: String::new(),
        metadata: Metadata::new(),
        on_busy: OnBusy::Queue,
        options: TurnOptions::default(),
        reopen: true,
        answer_while_waiting: true,
        idempotency: None,
    }
}

async fn talk(directory: &Directory, key: ConversationKey) {
    let customer = Customer { id: Some("c-17".to_owned()), name: Some("Ada".to_owned()), email: None };
    let details = Details { channel: "web".to_owned(), customer, ..Details::default() };
    match directory.start(key, details, Some(message()), None).await {
        Ok(accepted) => read_to_end(directory.follow(key, &accepted)).await,
        Err(refusal) => eprintln!("not begun: {refusal}"),
    }
}

async fn read_to_end(mut reader: Reader) {
    loop {
        let mut frames = Vec::new();
        match poll_fn(|cx| reader.poll_frames(cx, &mut frames)).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return eprintln!("not read: {error}"),
        }
    }
}

fn argument(index: usize, default: usize) -> usize {
    let numbers = env::args().skip(1).filter_map(|argument| argument.parse().ok());
    numbers.collect::<Vec<_>>().get(index).copied().unwrap_or(default)
}

async fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let (conversations, streams) = (argument(0, 100_000), argument(1, 10_000));
    let place = tempfile::tempdir()?;
    let store = Store::open_sqlite(place.path()).await?;
    let writer = Writer::start(&store, "memory").await?;
    let quick = Synthetic { first_token_ms: 0, tokens_per_second: 0.0, ..Synthetic::default() };
    let options = ConversationOptions {
        passivate_after: Duration::from_secs(86_400),
        rest_after: REST_AFTER,
        running_turns: 10_000,
        public_url: None,
    };
    let organizations = Organizations::new(&store, &writer);
    let models = Answerers::new(vec![Model::Synthetic(quick)]);
    let directory = Directory::new(store, writer, models, organizations, options);
    let org = OrgId::generate();
    let keys = |count: usize| (0..count).map(|_| (org, ConversationId::generate())).collect::<Vec<_>>();

    // What the first of them bring with them (the database's page caches, pools, arenas) is not a conversation's.
    stream::iter(keys(WARM_UP)).for_each_concurrent(256, |key| talk(&directory, key)).await;
    tokio::time::sleep(SETTLE).await;
    let (live_before, before) = (directory.live(), resident_bytes());
    let held = keys(conversations);
    stream::iter(&held).for_each_concurrent(256, |key| talk(&directory, *key)).await;
    tokio::time::sleep(SETTLE).await;
    let (live, after) = (directory.live() - live_before, resident_bytes());
    println!("live idle conversations {live}: {} bytes each", (after - before) / live.max(1) as u64);

    let before = resident_bytes();
    let mut readers = Vec::new();
    for key in held.iter().take(streams) {
        if let Opened::Reader(mut reader) = directory.open(*key, None, None).await? {
            // Polled once, as by a connection that waits.
            let mut frames = Vec::new();
            poll_fn(|cx| match reader.poll_frames(cx, &mut frames) {
                Poll::Ready(_) | Poll::Pending => Poll::Ready(()),
            })
            .await;
            readers.push(reader);
        }
    }
    let each = resident_bytes().saturating_sub(before) / readers.len().max(1) as u64;
    println!("open idle streams {}: {each} bytes each, without their connections", readers.len());
    Ok(())
}

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if env::args().any(|argument| argument == "--test") || !env::args().any(|argument| argument == "--bench")
    {
        return;
    }
    if let Err(error) = actix::System::new().block_on(measure()) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
