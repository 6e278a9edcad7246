//! Promises of live conversations: real actors, a real store, the synthetic model.

use std::{sync::atomic::Ordering, task::Poll, time::Duration};

use futures_util::{StreamExt, future::poll_fn, stream};
use proptest::prelude::*;

use super::{
    directory::{ConversationOptions, Directory, Opened, REST_AFTER},
    messages::{Accepted, ConversationKey, NewMessage, OnBusy, Refusal},
    reader::{Cursor, Frame, Reader, Scope, Start},
    record::{Details, Metadata, TurnOptions, TurnStatus},
    sql::read,
};
use crate::{
    answer::{Answerers, Model, synthetic::Synthetic},
    clock::Timestamp,
    event::{DurableEvent, EventKind},
    ids::{ConversationId, MessageId, OrgId, TurnId},
    organization::{self, Organization, OrganizationPatch, Organizations},
    patch::Change,
    testing::{TestStore, test_store},
    writer::{Op, Writer},
};

/// As fast as possible.
fn quick(tokens: u32) -> Synthetic {
    Synthetic { first_token_ms: 0, tokens_per_second: 0.0, tokens, ..Synthetic::default() }
}

/// Says one word and then nothing for longer than any test runs.
fn held() -> Synthetic {
    Synthetic { first_token_ms: 0, tokens_per_second: 0.001, tokens: 2, ..Synthetic::default() }
}

fn says(content: &str, synthetic: Synthetic) -> NewMessage {
    NewMessage {
        id: MessageId::generate(),
        turn: TurnId::generate(),
        content: content.into(),
        client_message_id: None,
        fingerprint: content.to_owned(),
        metadata: Metadata::new(),
        on_busy: OnBusy::Queue,
        options: TurnOptions { model: None, synthetic: Some(synthetic) },
        reopen: true,
        answer_while_waiting: true,
        idempotency: None,
    }
}

fn options() -> ConversationOptions {
    let passivate_after = Duration::from_secs(3_600);
    ConversationOptions { passivate_after, rest_after: REST_AFTER, running_turns: 100_000, public_url: None }
}

struct Scene {
    directory: Directory,
    writer: Writer,
    store: TestStore,
    org: OrgId,
}

impl Scene {
    async fn with(passivate_after: Duration) -> Self {
        Self::with_options(ConversationOptions { passivate_after, ..options() }).await
    }

    async fn resting_at_once() -> Self {
        Self::with_options(ConversationOptions { rest_after: Duration::ZERO, ..options() }).await
    }

    async fn with_options(options: ConversationOptions) -> Self {
        let store = test_store().await;
        let writer = Writer::start(&store, "test").await.expect("a writer");
        let answerers = Answerers::new(vec![Model::Synthetic(Synthetic::default())]);
        let organizations = Organizations::new(&store, &writer);
        let directory = Directory::new(store.clone(), writer.clone(), answerers, organizations, options);
        let patch =
            OrganizationPatch { name: Change::Set("Acme".to_owned()), ..OrganizationPatch::default() };
        let organization = Organization::new(patch, Timestamp::now()).expect("it has a name");
        let mut op = Op::default();
        organization::insert(&mut op, &organization);
        writer.commit(op).await.expect("stored");
        // As whoever asks has always done.
        directory.organizations().recent(organization.id).await.expect("readable");
        Self { directory, writer, store, org: organization.id }
    }

    async fn new() -> Self {
        Self::with_options(options()).await
    }

    async fn start(&self, message: NewMessage) -> (ConversationKey, Accepted) {
        let key = (self.org, ConversationId::generate());
        let started = self.directory.start(key, Details::default(), Some(message), None).await;
        (key, started.expect("a conversation begins"))
    }

    /// Reads an accepted message's stream to its end.
    async fn finish(&self, key: ConversationKey, accepted: &Accepted) -> Vec<Frame> {
        read_to_end(self.directory.follow(key, accepted)).await
    }
}

async fn some_frames(reader: &mut Reader) -> Option<Vec<Frame>> {
    let mut frames = Vec::new();
    let more = poll_fn(|cx| match reader.poll_frames(cx, &mut frames) {
        Poll::Ready(more) => Poll::Ready(more.expect("the store can be read")),
        Poll::Pending => Poll::Pending,
    });
    more.await.then_some(frames)
}

async fn read_to_end(mut reader: Reader) -> Vec<Frame> {
    let mut all = Vec::new();
    while let Some(frames) = some_frames(&mut reader).await {
        all.extend(frames);
    }
    all
}

fn text_of(frames: &[Frame]) -> String {
    let mut joined = String::new();
    for frame in frames {
        match frame {
            Frame::Delta { offset, text, .. } => {
                assert_eq!(*offset, joined.len(), "deltas meet exactly");
                joined.push_str(text);
            }
            Frame::Event(event, _) if event.kind.opens_answer() => joined.clear(),
            _ => {}
        }
    }
    joined
}

fn kinds(frames: &[Frame]) -> Vec<&'static str> {
    let events = frames.iter().filter_map(|frame| match frame {
        Frame::Event(event, _) => Some(event.kind.as_str()),
        _ => None,
    });
    events.collect()
}

#[actix::test]
async fn a_turns_stream_tells_the_whole_story_in_order() {
    let scene = Scene::new().await;
    let (key, accepted) = scene.start(says("hello", quick(5))).await;
    let frames = scene.finish(key, &accepted).await;
    assert_eq!(
        kinds(&frames),
        ["conversation.started", "message.received", "turn.started", "message.sent", "turn.completed"]
    );
    let turn = accepted.turn.expect("the AI owns the conversation");
    let stored = read::turn(&scene.store, key, turn.id).await.expect("readable").expect("stored");
    let reply = read::message(&scene.store, key, stored.reply_id.expect("has a reply")).await;
    assert_eq!(text_of(&frames), &*reply.expect("readable").expect("stored").content);
}

#[actix::test]
async fn an_answer_nobody_reads_is_still_stored() {
    let scene = Scene::new().await;
    let (key, accepted) = scene.start(says("hello", quick(20))).await;
    let id = accepted.turn.as_ref().expect("has a turn").id;
    drop(accepted);
    loop {
        let turn = read::turn(&scene.store, key, id).await.expect("readable").expect("stored");
        if turn.status == TurnStatus::Completed {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[actix::test]
async fn a_message_that_meets_a_leaving_actor_is_answered_all_the_same() {
    // Every actor leaves as soon as it can.
    let scene = Scene::with(Duration::ZERO).await;
    let (key, accepted) = scene.start(says("0", quick(1))).await;
    scene.finish(key, &accepted).await;
    for round in 1..50 {
        let accepted =
            scene.directory.submit(key, says(&round.to_string(), quick(1))).await.expect("accepted");
        scene.finish(key, &accepted).await;
    }
    let conversation = read::conversation(&scene.store, key).await.expect("readable").expect("stored");
    assert_eq!(conversation.message_count, 100);
}

#[actix::test]
async fn an_idle_actor_leaves_and_the_next_message_finds_everything_in_the_store() {
    let idle =
        ConversationOptions { passivate_after: Duration::ZERO, rest_after: Duration::ZERO, ..options() };
    let scene = Scene::with_options(idle).await;
    let (key, accepted) = scene.start(says("hello", quick(1))).await;
    scene.finish(key, &accepted).await;
    while scene.directory.live() > 0 {
        tokio::task::yield_now().await;
    }
    let accepted = scene.directory.submit(key, says("again", quick(1))).await.expect("accepted");
    assert_eq!(accepted.after, 5, "the sequence goes on where the store left it");
}

#[actix::test]
async fn an_actor_that_has_rested_long_enough_is_asked_to_leave_and_one_that_stirs_stays() {
    let resting = ConversationOptions {
        passivate_after: Duration::from_millis(500),
        rest_after: Duration::ZERO,
        ..options()
    };
    let scene = Scene::with_options(resting).await;
    let (key, accepted) = scene.start(says("hello", quick(1))).await;
    scene.finish(key, &accepted).await;
    let (busy, held) = scene.start(says("hello", held())).await;
    while scene.directory.live() > 1 {
        scene.directory.passivate();
        tokio::task::yield_now().await;
    }
    let stopped =
        scene.directory.stop(busy, None, false).await.expect("it is still there").expect("its turn runs");
    assert_eq!(Some(stopped.id), held.turn.map(|turn| turn.id));
    assert_eq!(scene.directory.activations(), 2);
}

#[actix::test]
async fn a_stop_is_stored_with_what_was_shown_and_the_next_turn_begins() {
    let scene = Scene::new().await;
    let (key, first) = scene.start(says("hello", held())).await;
    let mut reader = scene.directory.follow(key, &first);
    let mut frames = Vec::new();
    while text_of(&frames).is_empty() {
        frames.extend(some_frames(&mut reader).await.expect("more"));
    }
    let second = scene.directory.submit(key, says("and this?", quick(3))).await.expect("accepted");
    assert_eq!(second.turn.as_ref().expect("has a turn").status, TurnStatus::Queued);
    let stopped = scene.directory.stop(key, None, false).await.expect("stopped").expect("one ran");
    assert_eq!(Some(stopped.id), first.turn.map(|turn| turn.id));
    let reply = read::message(&scene.store, key, stopped.reply_id.expect("partial text is kept")).await;
    frames.extend(read_to_end(reader).await);
    assert_eq!(text_of(&frames), &*reply.expect("readable").expect("stored").content);
    assert_eq!(kinds(&scene.finish(key, &second).await).last(), Some(&"turn.completed"));
}

#[actix::test]
async fn a_turn_is_tried_again_also_after_its_actor_let_go_of_it() {
    let scene = Scene::resting_at_once().await;
    let (key, accepted) = scene.start(says("hello", quick(2))).await;
    scene.finish(key, &accepted).await;
    let mut of = accepted.turn.expect("has a turn").id;
    // The actor rests as soon as it is idle, and the successor is the one that knows the turn.
    while scene.directory.activations() < 3 {
        let again = scene.directory.retry(key, of, TurnId::generate(), None).await;
        let again = again.expect("the last turn has ended");
        let turn = again.turn.as_ref().expect("a new turn");
        assert_eq!(turn.retry_of, Some(of));
        of = turn.id;
        scene.finish(key, &again).await;
        tokio::task::yield_now().await;
    }
}

#[actix::test]
async fn an_interrupting_message_is_answered_at_once_and_supersedes_those_that_wait() {
    let scene = Scene::new().await;
    let (key, _running) = scene.start(says("one", held())).await;
    let waiting = scene.directory.submit(key, says("two", quick(1))).await.expect("accepted");
    let interrupting = NewMessage { on_busy: OnBusy::Interrupt, ..says("three", quick(1)) };
    let accepted = scene.directory.submit(key, interrupting).await.expect("accepted");
    assert_eq!(accepted.turn.as_ref().map(|turn| turn.status), Some(TurnStatus::Running));
    assert_eq!(
        kinds(&scene.finish(key, &waiting).await),
        ["message.received", "turn.queued", "turn.stopped"]
    );
    assert_eq!(kinds(&scene.finish(key, &accepted).await).last(), Some(&"turn.completed"));
}

#[actix::test]
async fn a_stop_behind_several_interruptions_is_answered_with_the_turn_that_ran_when_it_came() {
    let scene = Scene::new().await;
    let (key, first) = scene.start(says("one", held())).await;
    let interrupt = |text: &str| {
        let message = NewMessage { on_busy: OnBusy::Interrupt, ..says(text, held()) };
        scene.directory.submit(key, message)
    };
    // All in one mailbox: the stop arrives while the first interruption is being stored.
    let (second, third, fourth, stopped) = tokio::join!(
        interrupt("two"),
        interrupt("three"),
        interrupt("four"),
        scene.directory.stop(key, None, false)
    );
    for accepted in [second, third, fourth] {
        accepted.expect("accepted");
    }
    let stopped = stopped.expect("there is such a conversation").expect("a turn ran");
    assert_eq!(Some(stopped.id), first.turn.map(|turn| turn.id));
    assert!(stopped.status.has_ended());
    scene.directory.stop(key, None, false).await.expect("stopped").expect("the last one ran");
}

#[actix::test]
async fn a_repeated_client_message_id_stores_nothing_and_another_text_under_it_is_refused() {
    let scene = Scene::new().await;
    let named = |text: &str| NewMessage { client_message_id: Some("m-1".to_owned()), ..says(text, quick(1)) };
    let (key, first) = scene.start(named("hello")).await;
    let again = scene.directory.submit(key, named("hello")).await.expect("recognised");
    assert!(again.repeated);
    assert_eq!(again.message.map(|message| message.id), first.message.map(|message| message.id));
    assert_eq!(again.turn.map(|turn| turn.id), first.turn.map(|turn| turn.id));
    let other = scene.directory.submit(key, named("goodbye")).await;
    assert!(matches!(other, Err(Refusal::ClientMessageIdReused)));
}

#[actix::test]
async fn a_turn_that_panics_is_restarted_and_fails_after_the_third_attempt() {
    silence_expected_panics();
    let scene = Scene::new().await;
    let (key, accepted) = scene.start(says("poison", Synthetic { panic_rate: 1.0, ..quick(3) })).await;
    let frames = scene.finish(key, &accepted).await;
    assert_eq!(
        kinds(&frames),
        [
            "conversation.started",
            "message.received",
            "turn.started",
            "turn.restarted",
            "turn.restarted",
            "turn.failed"
        ]
    );
    let next = scene.directory.submit(key, says("hello", quick(1))).await.expect("the next message succeeds");
    assert_eq!(kinds(&scene.finish(key, &next).await).last(), Some(&"turn.completed"));
}

#[actix::test]
async fn a_conversation_that_dies_too_often_is_unavailable_alone() {
    silence_expected_panics();
    let scene = Scene::new().await;
    let poison = || says("poison", Synthetic { panic_rate: 1.0, ..quick(1) });
    let (key, first) = scene.start(poison()).await;
    scene.finish(key, &first).await;
    let second = scene.directory.submit(key, poison()).await.expect("accepted");
    // Six panics in all: its stream may be left waiting for the successor that is not allowed.
    while scene.directory.figures().restarts.load(Ordering::Relaxed) < 6 {
        tokio::task::yield_now().await;
    }
    drop(second);
    let refused = scene.directory.submit(key, says("hello", quick(1))).await;
    assert!(matches!(refused, Err(Refusal::Unavailable)), "{refused:?}");
    let (other, accepted) = scene.start(says("hello", quick(1))).await;
    assert_eq!(kinds(&scene.finish(other, &accepted).await).last(), Some(&"turn.completed"));
}

#[actix::test]
async fn a_thousand_panics_among_ten_thousand_actors_disturb_no_other_conversation() {
    const LIVE: usize = 10_000;
    const POISONED: usize = 1_000;
    silence_expected_panics();
    let scene = &Scene::new().await;
    let started: Vec<_> = stream::iter(0..LIVE)
        .map(|_| async move { scene.start(says("hello", quick(1))).await })
        .buffer_unordered(256)
        .collect()
        .await;
    let keys: Vec<_> = started.into_iter().map(|(key, _)| key).collect();
    assert_eq!(scene.directory.live(), LIVE);
    let say = |index: usize, key: ConversationKey| async move {
        let poisoned = index.is_multiple_of(LIVE / POISONED);
        let panic_rate = if poisoned { 1.0 } else { 0.0 };
        let message = says("and now?", Synthetic { panic_rate, ..quick(1) });
        let accepted = scene.directory.submit(key, message).await.expect("every message is accepted");
        let last = kinds(&scene.finish(key, &accepted).await).last().copied();
        assert_eq!(last, Some(if poisoned { "turn.failed" } else { "turn.completed" }));
    };
    stream::iter(keys.iter().enumerate())
        .map(|(index, key)| say(index, *key))
        .buffer_unordered(128)
        .for_each(|()| async {})
        .await;
    assert_eq!(scene.directory.figures().restarts.load(Ordering::Relaxed) as usize, 3 * POISONED);
    for key in keys.iter().step_by(LIVE / POISONED) {
        let accepted =
            scene.directory.submit(*key, says("hello", quick(1))).await.expect("the next succeeds");
        assert_eq!(kinds(&scene.finish(*key, &accepted).await).last(), Some(&"turn.completed"));
    }
}

#[actix::test]
async fn a_restart_goes_on_with_what_was_open_and_takes_no_cursor_twice() {
    let scene = Scene::new().await;
    let (key, accepted) = scene.start(says("hello", held())).await;
    let mut reader = scene.directory.follow(key, &accepted);
    let mut before = Vec::new();
    while text_of(&before).is_empty() {
        before.extend(some_frames(&mut reader).await.expect("more"));
    }
    let cursor = reader.cursor();
    scene.directory.stop_all().await;
    let successor = Directory::new(
        scene.store.clone(),
        scene.writer.clone(),
        Answerers::new(vec![Model::Synthetic(quick(4))]),
        Organizations::new(&scene.store, &scene.writer),
        options(),
    );
    assert_eq!(successor.recover(&[]).await.expect("the store can be read"), 1);
    // The turn was asked to be held again: a stop lets it end.
    successor.stop(key, None, false).await.expect("stopped");
    let Opened::Reader(reader) =
        successor.open(key, accepted.turn.map(|turn| turn.id), Some(cursor)).await.expect("readable")
    else {
        panic!("the turn's stream goes on after a restart");
    };
    let after = read_to_end(*reader).await;
    assert_eq!(kinds(&after).first(), Some(&"turn.restarted"));
    assert_eq!(kinds(&after).last(), Some(&"turn.stopped"));
}

#[actix::test]
async fn every_position_of_a_finished_turn_resumes_to_the_same_text_and_events() {
    let scene = Scene::new().await;
    let (key, accepted) = scene.start(says("hello", quick(12))).await;
    let whole = scene.finish(key, &accepted).await;
    let text = text_of(&whole);
    let turn = accepted.turn.expect("has a turn").id;
    let opened = whole.iter().find_map(|frame| match frame {
        Frame::Event(event, cursor) if event.kind == EventKind::TurnStarted => Some(cursor.sequence),
        _ => None,
    });
    let opened = opened.expect("the turn was started");
    for offset in 0..=text.len() {
        let cursor = Cursor { sequence: opened, offset };
        let Opened::Reader(reader) =
            scene.directory.open(key, Some(turn), Some(cursor)).await.expect("readable")
        else {
            panic!("not at the end yet");
        };
        let rest = read_to_end(*reader).await;
        let gap = matches!(rest.first(), Some(Frame::Gap { .. }));
        assert_eq!(gap, !text.is_char_boundary(offset), "only an offset inside a character is a gap");
        let from = text.floor_char_boundary(offset);
        let joined: String = rest
            .iter()
            .filter_map(|frame| match frame {
                Frame::Delta { text, .. } => Some(text.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(joined, &text[from..]);
        assert_eq!(kinds(&rest), ["message.sent", "turn.completed"]);
    }
}

#[actix::test]
async fn a_cursor_that_cannot_be_served_gets_a_gap_and_the_nearest_earlier_position() {
    let scene = Scene::new().await;
    let (key, accepted) = scene.start(says("hello", quick(3))).await;
    let length = text_of(&scene.finish(key, &accepted).await).len();
    for (cursor, from) in [
        (Cursor::after(99), Cursor::after(5)),
        (Cursor { sequence: 5, offset: 1 }, Cursor::after(5)),
        (Cursor { sequence: 3, offset: 10_000 }, Cursor { sequence: 3, offset: length }),
    ] {
        let Opened::Reader(mut reader) =
            scene.directory.open(key, None, Some(cursor)).await.expect("readable")
        else {
            panic!("a conversation's stream is open for ever");
        };
        let frames = some_frames(&mut reader).await.expect("a gap");
        let Some(Frame::Gap { requested, from: served }) = frames.first() else {
            panic!("{cursor}: {frames:?}")
        };
        assert_eq!((*requested, *served), (cursor, from));
    }
}

#[actix::test]
async fn a_finished_turns_stream_asked_for_past_the_head_says_so_and_ends() {
    let scene = Scene::new().await;
    let (key, accepted) = scene.start(says("hello", quick(3))).await;
    scene.finish(key, &accepted).await;
    let turn = accepted.turn.map(|turn| turn.id);
    let Opened::Reader(reader) =
        scene.directory.open(key, turn, Some(Cursor::after(99))).await.expect("readable")
    else {
        panic!("a cursor that cannot be served gets a gap");
    };
    let frames = read_to_end(*reader).await;
    assert!(matches!(frames[..], [Frame::Gap { .. }]), "{frames:?}");
}

#[actix::test]
async fn a_reader_far_behind_is_served_from_the_store_without_a_gap() {
    let scene = Scene::new().await;
    let (key, first) = scene.start(says("0", quick(1))).await;
    let mut behind = scene.directory.follow(key, &first);
    scene.finish(key, &first).await;
    for round in 1..40 {
        let accepted =
            scene.directory.submit(key, says(&round.to_string(), quick(1))).await.expect("accepted");
        scene.finish(key, &accepted).await;
    }
    let Opened::Reader(mut reader) =
        scene.directory.open(key, None, Some(Cursor::after(0))).await.expect("readable")
    else {
        panic!("a conversation's stream is open for ever");
    };
    let mut sequences = Vec::new();
    while sequences.len() < 5 + 39 * 4 {
        for frame in some_frames(&mut reader).await.expect("more") {
            if let Frame::Event(event, _) = frame {
                sequences.push(event.sequence);
            }
        }
    }
    assert!(sequences.iter().copied().eq(1..=5 + 39 * 4));
    assert_eq!(kinds(&some_frames(&mut behind).await.expect("its own turn")).last(), Some(&"turn.completed"));
}

#[actix::test]
async fn an_erased_conversation_ends_its_streams_and_is_gone() {
    let scene = Scene::new().await;
    let (key, accepted) = scene.start(says("hello", held())).await;
    let Opened::Reader(reader) = scene.directory.open(key, None, None).await.expect("readable") else {
        panic!("a conversation's stream is open for ever");
    };
    scene.directory.delete(key, None, None).await.expect("erased");
    let frames = read_to_end(*reader).await;
    assert!(matches!(frames.last(), Some(Frame::Closing(super::feed::Closing::Deleted))), "{frames:?}");
    drop(accepted);
    assert!(matches!(scene.directory.submit(key, says("hello?", quick(1))).await, Err(Refusal::NotFound)));
    assert!(matches!(scene.directory.delete(key, None, None).await, Err(Refusal::NotFound)));
    assert!(matches!(scene.directory.open(key, None, None).await, Ok(Opened::NotFound)));
}

#[actix::test]
async fn another_organization_finds_nothing_and_changes_nothing() {
    let scene = Scene::new().await;
    let (key, accepted) = scene.start(says("hello", held())).await;
    let foreign = (OrgId::generate(), key.1);
    let turn = accepted.turn.as_ref().map(|turn| turn.id);
    assert!(matches!(scene.directory.submit(foreign, says("mine?", quick(1))).await, Err(Refusal::NotFound)));
    assert!(matches!(scene.directory.stop(foreign, turn, false).await, Err(Refusal::NotFound)));
    assert!(matches!(scene.directory.delete(foreign, None, None).await, Err(Refusal::NotFound)));
    assert!(matches!(scene.directory.open(foreign, turn, None).await, Ok(Opened::NotFound)));
    let stopped = scene.directory.stop(key, None, false).await.expect("its own organization still can");
    assert_eq!(stopped.map(|turn| turn.id), turn);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A reader shown the answer in any pieces, and cut and resumed at any of them, joins the same text.
    #[test]
    fn a_reader_that_is_cut_anywhere_joins_the_same_text(
        pieces in prop::collection::vec("[a-zé€𝄞 ]{1,6}", 1..20),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        actix::System::new().block_on(async move {
            let store = test_store_on_nothing();
            let feed = std::sync::Arc::new(super::feed::Feed::new(|| {}));
            let key = (OrgId::generate(), ConversationId::generate());
            let turn = TurnId::generate();
            let started = event(1, EventKind::TurnStarted, turn, 1, None);
            feed.publish([started]);
            let whole: String = pieces.concat();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(pieces.len())).collect();
            cuts.sort_unstable();
            let start = Start::at(Cursor::after(0));
            let mut reader = Reader::new(feed.clone(), store.clone(), key, Scope::Turn(turn), &start);
            let mut frames = Vec::new();
            for (index, piece) in pieces.iter().enumerate() {
                feed.append(turn, 1, piece);
                if index % 2 == 0 {
                    frames.extend(some_frames(&mut reader).await.expect("more"));
                }
                if cuts.contains(&index) {
                    let cursor = reader.cursor();
                    let answer = (cursor.sequence > 0).then_some((turn, 1));
                    let start = Start { answer, ..Start::at(cursor) };
                    reader = Reader::new(feed.clone(), store.clone(), key, Scope::Turn(turn), &start);
                }
            }
            feed.seal();
            feed.append(turn, 1, "never shown");
            let sent = event(2, EventKind::MessageSent, turn, 0, Some(&whole));
            feed.publish([sent, event(3, EventKind::TurnCompleted, turn, 0, None)]);
            frames.extend(read_to_end(reader).await);
            assert_eq!(text_of(&frames), whole);
            assert_eq!(kinds(&frames), ["turn.started", "message.sent", "turn.completed"]);
        });
    }
}

fn event(
    sequence: i64,
    kind: EventKind,
    turn: TurnId,
    attempt: i64,
    reply: Option<&str>,
) -> std::sync::Arc<DurableEvent> {
    let (turn, reply) = (Some(turn), reply.map(Into::into));
    std::sync::Arc::new(DurableEvent { sequence, kind, turn, attempt, reply, json: "{}".into() })
}

/// For readers that never leave the feed: a pool that connects only when asked.
fn test_store_on_nothing() -> crate::store::Store {
    let options = sqlx::sqlite::SqliteConnectOptions::new();
    let pool = sqlx::sqlite::SqlitePoolOptions::new().connect_lazy_with(options.clone());
    crate::store::Store::Sqlite { pool, options: Box::new(options) }
}

/// The synthetic model's panics are the test; anything else is shown as ever.
fn silence_expected_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let told = info.payload_as_str().is_some_and(|text| text.contains("was told to panic"));
            if !told {
                usual(info);
            }
        }));
    });
}
