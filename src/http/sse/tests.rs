use std::future::poll_fn;

use futures_util::{FutureExt, StreamExt};
use openclaw_actors::{
    answer::{Answerers, Model, synthetic::Synthetic},
    conversation::{
        directory::{ConversationOptions, Directory, Opened},
        messages::{ConversationKey, NewMessage, OnBusy},
        record::{Details, Metadata, TurnOptions},
    },
    ids::{ConversationId, MessageId, OrgId, TurnId},
    organization::Organizations,
    testing::{TestStore, test_store},
    writer::Writer,
};
use tokio::time::advance;

use super::*;

/// A conversation with nothing in it but its start.
pub(in crate::http) struct Scene {
    directory: Directory,
    key: ConversationKey,
    _store: TestStore,
}

impl Scene {
    pub(in crate::http) async fn new() -> Self {
        let store = test_store().await;
        let writer = Writer::start(&store, "test").await.unwrap();
        let silent = Synthetic { first_token_ms: 60_000, ..Synthetic::default() };
        let an_hour = Duration::from_secs(3_600);
        let options = ConversationOptions {
            rest_after: an_hour,
            passivate_after: an_hour,
            running_turns: 10,
            public_url: None,
        };
        let models = Answerers::new(vec![Model::Synthetic(silent)]);
        let organizations = Organizations::new(&store, &writer);
        let directory = Directory::new(store.clone(), writer, models, organizations, options);
        let key = (OrgId::generate(), ConversationId::generate());
        directory.start(key, Details::default(), None, None).await.unwrap();
        Self { directory, key, _store: store }
    }

    /// A reader of the whole conversation.
    pub(in crate::http) async fn reader(&self) -> Reader {
        let opened = self.directory.open(self.key, None, None).await.unwrap();
        let Opened::Reader(reader) = opened else { panic!("{opened:?}") };
        *reader
    }

    /// A stream of the whole conversation, whose greeting was read.
    async fn events(&self) -> Events {
        let reader = self.reader().await;
        let mut events = Events::new(reader, self.key.1, ActiveStream::unwatched());
        assert_eq!(next(&mut events).await, ":\n\n");
        events
    }

    pub(in crate::http) async fn say(&self) {
        let message = NewMessage {
            id: MessageId::generate(),
            turn: TurnId::generate(),
            content: "hi".into(),
            client_message_id: None,
            fingerprint: String::new(),
            metadata: Metadata::new(),
            on_busy: OnBusy::Queue,
            options: TurnOptions::default(),
            reopen: true,
            answer_while_waiting: true,
            idempotency: None,
        };
        self.directory.submit(self.key, message).await.unwrap();
    }
}

async fn next(events: &mut Events) -> String {
    let piece = events.next().await.expect("not the end").expect("never fails");
    String::from_utf8(piece.to_vec()).unwrap()
}

/// Asks for more and gets nothing: the waker is kept.
async fn nothing(events: &mut Events) {
    assert!(poll_fn(|cx| Poll::Ready(events.poll_next_unpin(cx).is_pending())).await);
}

#[actix::test]
async fn a_silent_stream_says_something_every_fifteen_seconds() {
    let scene = Scene::new().await;
    let mut events = scene.events().await;
    nothing(&mut events).await;
    tokio::time::pause();
    for _ in 0..3 {
        advance(KEEP_ALIVE_EVERY - Duration::from_millis(10)).await;
        nothing(&mut events).await;
        advance(Duration::from_millis(20)).await;
        assert_eq!(next(&mut events).await, ": keep-alive\n\n");
        nothing(&mut events).await;
    }
}

#[actix::test]
async fn everything_that_is_ready_is_one_piece_and_retry_stands_in_its_first_block() {
    let scene = Scene::new().await;
    let mut events = scene.events().await;
    scene.say().await;
    let piece = next(&mut events).await;
    let blocks: Vec<_> = piece.split_terminator("\n\n").collect();
    let [received, started] = blocks[..] else { panic!("{piece}") };
    assert!(
        received.starts_with("retry: ") && received.contains("\nevent: message.received\nid: 2\ndata: {")
    );
    assert!(started.starts_with("event: turn.started\nid: 3\ndata: {"), "{started}");
    nothing(&mut events).await;
}

#[actix::test]
async fn a_reader_that_takes_nothing_for_thirty_seconds_is_told_that_it_lags() {
    let scene = Scene::new().await;
    let (mut lagging, mut patient) = (scene.events().await, scene.events().await);
    scene.say().await;
    next(&mut lagging).await;
    next(&mut patient).await;
    // One was asked for more, as by a socket that has room; the other was not.
    nothing(&mut patient).await;
    tokio::time::pause();
    advance(LAGGING_AFTER).await;
    let last = next(&mut lagging).await;
    assert!(last.starts_with("event: stream.lagging\ndata: {\"type\":\"stream.lagging\""), "{last}");
    assert_eq!(lagging.next().now_or_never(), Some(None));
    assert_eq!(next(&mut patient).await, ": keep-alive\n\n");
}
