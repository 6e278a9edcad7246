//! A model check of the state machine: every sequence of up to five inputs from every phase, with a crash possible
//! wherever a commit is in flight, keeps the promises of a turn.
//!
//! The world around the machine is the obvious one: a list of what is on disk, a list of what was shown, and a reply
//! slot per command. After each sequence the world is let run to its end, and judged.

use std::{collections::HashMap, sync::Arc};

use super::{
    handover::{Around, Policy},
    machine::{Effect, Machine, Stamp},
    messages::{Command, Interrupted, NewConversation, NewMessage, OnBusy, Patch, Refusal, Reply},
    record::{Details, Message, Metadata, Role, TurnOptions, TurnStatus},
    sql::Loaded,
    turn::{Change, State},
};
use crate::{
    answer::{AnswerError, Finished, Outcome, Usage},
    clock::Timestamp,
    event::{EventKind, EventRow},
    ids::{ConversationId, MessageId, OrgId, TurnId},
    outbox::Outbox,
    store::Attempting,
    writer::WriteError,
};

/// Inputs after the phase was reached.
const DEPTH: usize = 5;

const NOW: Timestamp = Timestamp(1_000);

/// Everything that can happen to a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Submit(OnBusy),
    StopRunning,
    StopWaiting,
    Retry,
    Complete,
    Patch,
    Delete,
    Text,
    Done,
    Fail,
    /// The append in flight is on disk.
    Stored,
    /// It is not, and never will be.
    Refused,
    /// The process dies; the append in flight had reached the disk.
    CrashAfter,
    /// The process dies; it had not.
    CrashBefore,
}

const INPUTS: [Input; 17] = [
    Input::Submit(OnBusy::Queue),
    Input::Submit(OnBusy::Reject),
    Input::Submit(OnBusy::Interrupt),
    Input::Submit(OnBusy::Merge),
    Input::StopRunning,
    Input::StopWaiting,
    Input::Retry,
    Input::Complete,
    Input::Patch,
    Input::Delete,
    Input::Text,
    Input::Done,
    Input::Fail,
    Input::Stored,
    Input::Refused,
    Input::CrashAfter,
    Input::CrashBefore,
];

/// How each phase is reached.
const PHASES: [(&str, &[Input]); 10] = {
    use Input::{Complete, CrashBefore, Done, Fail, Stored, Submit, Text};
    const ASK: Input = Submit(OnBusy::Queue);
    [
        ("idle", &[]),
        ("opening", &[ASK]),
        ("waiting", &[ASK, Stored]),
        ("speaking", &[ASK, Stored, Text]),
        ("sealing", &[ASK, Stored, Text, Done]),
        ("speaking, one waits", &[ASK, Stored, Text, ASK, Stored]),
        ("speaking, two wait", &[ASK, Stored, Text, ASK, Stored, ASK, Stored]),
        ("ended", &[ASK, Stored, Text, Fail, Stored]),
        ("completed", &[ASK, Stored, Text, Done, Stored, Complete, Stored]),
        ("third attempt", &[ASK, Stored, CrashBefore, Stored, Text, CrashBefore, Stored, Text]),
    ]
};

#[derive(Clone)]
struct World {
    machine: Machine<usize>,
    /// On disk.
    stored: Option<State>,
    events: Vec<(EventRow, Option<Message>)>,
    erased: bool,
    /// A commit was asked for and its outcome is open.
    committing: bool,
    /// What readers were shown of the answer that is open.
    shown: String,
    sealed: Option<Stamp>,
    asked: Vec<Stamp>,
    /// The model's call that is open.
    model: Option<Stamp>,
    commands: Vec<Command>,
    replies: HashMap<usize, Result<Reply, Interrupted>>,
}

impl World {
    fn begin() -> Self {
        let key = (OrgId::generate(), ConversationId::generate());
        let mut world = Self {
            machine: Machine::new(None, NOW, Outbox::of_nobody()),
            stored: None,
            events: Vec::new(),
            erased: false,
            committing: false,
            shown: String::new(),
            sealed: None,
            asked: Vec::new(),
            model: None,
            commands: Vec::new(),
            replies: HashMap::new(),
        };
        let begun = NewConversation { key, details: Details::default(), message: None, idempotency: None };
        world.command(Command::Start(Box::new(begun)));
        assert!(world.input(Input::Stored));
        world
    }

    fn command(&mut self, command: Command) {
        self.commands.push(command.clone());
        self.machine.command(self.commands.len() - 1, command, NOW, false);
        self.carry_out();
    }

    /// Does one input; `false` if it means nothing here.
    fn input(&mut self, input: Input) -> bool {
        let before = self.machine.state().cloned();
        match input {
            Input::Submit(on_busy) => self.command(Command::Submit(message(on_busy))),
            Input::StopRunning => self.command(Command::Stop { turn: None, disconnected: false }),
            Input::StopWaiting => {
                let Some(turn) = before.and_then(|state| state.open.get(1).map(|turn| turn.id)) else {
                    return false;
                };
                self.command(Command::Stop { turn: Some(turn), disconnected: true });
            }
            Input::Retry => {
                let Some(of) = before.and_then(|state| state.last.map(|turn| turn.id)) else { return false };
                self.command(Command::Retry { of, turn: TurnId::generate(), idempotency: None });
            }
            Input::Complete => self.command(Command::Complete {
                resolution: None,
                by: None,
                quiet_since: None,
                idempotency: None,
            }),
            Input::Patch => {
                let topic = Some(Some(format!("topic {}", self.commands.len())));
                self.command(Command::Patch(Patch { topic, ..Patch::default() }));
            }
            Input::Delete => {
                self.command(Command::Delete { if_version: None, quiet_since: None, noted: None })
            }
            Input::Text | Input::Done | Input::Fail => return self.model_says(input),
            Input::Stored | Input::Refused => return self.commit_ends(input == Input::Stored),
            Input::CrashAfter => return self.committing && self.crash(true),
            Input::CrashBefore => return self.crash(false),
        }
        true
    }

    fn model_says(&mut self, input: Input) -> bool {
        let Some(stamp) = self.model else { return false };
        match input {
            Input::Text => {
                if let Some(text) = self.machine.text(stamp, "né ".to_owned(), || NOW) {
                    assert_ne!(self.sealed, Some(stamp), "no byte is shown after a seal");
                    self.shown.push_str(&text);
                }
            }
            Input::Done => self.machine.ended(stamp, Ok(finished()), NOW),
            _ => {
                let failed = AnswerError { code: "model_failed", message: "failed" };
                self.machine.ended(stamp, Err(failed), NOW);
            }
        }
        self.carry_out();
        true
    }

    fn commit_ends(&mut self, stored: bool) -> bool {
        if !self.committing {
            return false;
        }
        self.committing = false;
        if stored {
            let change = self.machine.in_flight().expect("a commit is in flight").clone();
            self.store(&change);
            self.machine.committed(Ok(()), NOW);
        } else {
            let away: Result<(), _> = Err(sqlx::Error::PoolClosed).attempting("commit");
            let error = WriteError::Unavailable(Arc::new(away.expect_err("is an error")));
            self.machine.committed(Err(error), NOW);
        }
        self.carry_out();
        true
    }

    /// The actor dies; those who wait are sent on to a successor, which knows only what is on disk.
    fn crash(&mut self, commit_took_effect: bool) -> bool {
        if let Some(change) = self.machine.in_flight().filter(|_| commit_took_effect && self.committing) {
            let change = change.clone();
            self.store(&change);
        }
        self.reload();
        true
    }

    fn reload(&mut self) {
        self.committing = false;
        self.model = None;
        let loaded = self.stored.clone().map(|State { conversation, open, last }| Loaded {
            conversation,
            open: open.into(),
            last: last.map(|turn| *turn),
        });
        self.machine = Machine::new(loaded, NOW, Outbox::of_nobody());
        // A restarted answer begins at 0; a sealed one is another attempt now.
        self.sealed = None;
        self.carry_out();
    }

    fn store(&mut self, change: &Change) {
        for (event, message) in &change.events {
            if event.kind == EventKind::MessageSent
                && let Some(reply) = message.as_ref().filter(|message| message.role == Role::Assistant)
            {
                assert_eq!(&*reply.content, self.shown, "the stored answer is what was shown of it");
            }
            if event.kind.opens_answer() {
                self.shown.clear();
            }
        }
        if change.erases {
            self.events.clear();
            self.stored = None;
            self.erased = true;
        } else {
            self.events.extend(change.events.iter().cloned());
            self.stored = Some(change.next.clone());
        }
    }

    fn carry_out(&mut self) {
        while self.machine.has_effects() {
            for effect in self.machine.effects() {
                if let Effect::Leave = effect {
                    return self.reload();
                }
                self.carry_out_one(effect);
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect<usize>) {
        match effect {
            Effect::Commit(op) | Effect::CommitLater(op) => {
                assert!(!self.committing, "one append in flight at a time");
                assert!(!op.is_empty());
                self.committing = true;
            }
            Effect::Seal => self.sealed = self.asked.last().copied(),
            Effect::Ask(stamp) => {
                assert!(!self.asked.contains(&stamp), "a turn's attempt is asked once");
                assert!(self.model.is_none(), "one call at a time");
                self.asked.push(stamp);
                self.model = Some(stamp);
            }
            Effect::StopModel => self.model = None,
            Effect::Reply(sender, reply) => self.replied(sender, reply),
            Effect::Publish(change) => {
                assert!(self.is_stored(&change), "nothing is shown before it is on disk")
            }
            Effect::LookUp(_) => panic!("no message has an id of the client's own here"),
            Effect::Recall | Effect::RecallLater => self.machine.recalled(self.around(), NOW),
            Effect::Typing(_) | Effect::Erased | Effect::Leave => {}
        }
    }

    /// The last messages on disk, under settings that never ask for a person by themselves.
    fn around(&self) -> Around {
        let tail = self.events.iter().filter_map(|(_, message)| message.clone()).collect();
        let policy = Policy { is_open: true, on_failure: false, timeout_ms: None };
        Around { tail, policy, public_url: None }
    }

    fn is_stored(&self, change: &Change) -> bool {
        change.erases
            || change
                .events
                .iter()
                .all(|(event, _)| self.events.iter().any(|(stored, _)| stored.id == event.id))
    }

    fn replied(&mut self, sender: usize, reply: Result<Reply, Interrupted>) {
        if let Ok(Reply::Accepted(accepted)) = &reply
            && let Some(message) = &accepted.message
        {
            let stored = self.events.iter().filter_map(|(_, message)| message.as_ref());
            assert!(
                stored.into_iter().any(|stored| stored.id == message.id),
                "an acknowledged message is on disk"
            );
        }
        assert!(self.replies.insert(sender, reply).is_none(), "a command is answered once");
    }

    /// Every commit succeeds and every model answers, until nothing is left to do.
    fn run_to_the_end(&mut self) {
        for _ in 0..100 {
            let moved =
                self.commit_ends(true) || self.model_says(Input::Text) && self.model_says(Input::Done);
            if !moved {
                return assert!(self.machine.is_idle(), "everything comes to an end");
            }
        }
        panic!("it never ends");
    }

    fn judge(&self) {
        let sequences: Vec<_> = self.events.iter().map(|(event, _)| event.sequence).collect();
        if let Some(state) = &self.stored {
            let all: Vec<_> = (1..=state.conversation.sequence).collect();
            assert_eq!(sequences, all, "sequences have no gap");
            assert!(
                state.open.is_empty() && state.conversation.active_turn_id.is_none(),
                "every turn has ended"
            );
        }
        let mut terminal: HashMap<TurnId, usize> = HashMap::new();
        for (event, message) in &self.events {
            if let Some(turn) = event.turn.filter(|_| event.kind.is_terminal()) {
                *terminal.entry(turn).or_default() += 1;
            }
            if event.kind == EventKind::MessageReceived {
                let message = message.as_ref().expect("has a message");
                let turn = message.turn_id.expect("the AI owns the conversation, so the message has a turn");
                terminal.entry(turn).or_default();
            }
        }
        assert!(
            terminal.values().all(|&count| count == 1),
            "each turn has exactly one terminal event: {terminal:?}"
        );
        let statuses = self.stored.iter().flat_map(|state| &state.last);
        assert!(statuses.into_iter().all(|turn| turn.status != TurnStatus::Running));
    }
}

fn message(on_busy: OnBusy) -> NewMessage {
    NewMessage {
        id: MessageId::generate(),
        turn: TurnId::generate(),
        content: "?".into(),
        client_message_id: None,
        fingerprint: String::new(),
        metadata: Metadata::new(),
        on_busy,
        options: TurnOptions::default(),
        reopen: true,
        answer_while_waiting: true,
        idempotency: None,
    }
}

fn finished() -> Finished {
    Finished {
        outcome: Outcome::Answered,
        citations: Vec::new(),
        confidence: None,
        usage: Usage::default(),
        model: "model".to_owned(),
        cached: false,
    }
}

/// Tries every input after `path`, and judges each end. Gives the number of sequences.
fn explore(world: &World, path: &mut Vec<Input>, depth: usize) -> u64 {
    let mut sequences = 0;
    for input in INPUTS {
        path.push(input);
        let mut next = world.clone();
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if !next.input(input) {
                return None;
            }
            let mut end = next.clone();
            end.run_to_the_end();
            end.judge();
            Some(next)
        }));
        match checked {
            Ok(Some(next)) => {
                sequences += 1;
                // A refusal changes nothing: what follows it was tried without it.
                let refused = next.replies.len() > world.replies.len()
                    && next.machine.state() == world.machine.state()
                    && !next.committing
                    && !world.committing;
                if depth > 1 && !refused && !next.erased {
                    sequences += explore(&next, path, depth - 1);
                }
            }
            Ok(None) => {}
            Err(_) => panic!("after {path:?}"),
        }
        path.pop();
    }
    sequences
}

fn check(phase: usize) {
    let (name, way) = PHASES[phase];
    let mut world = World::begin();
    for input in way {
        assert!(world.input(*input), "{name}: {input:?} leads on");
    }
    let sequences = explore(&world, &mut Vec::new(), DEPTH);
    println!("{name}: {sequences} sequences");
    assert!(sequences > 1_000, "{name}: the check looked at next to nothing");
}

macro_rules! phases {
    ($($name:ident = $index:literal,)*) => {$(
        #[test]
        fn $name() {
            check($index);
        }
    )*};
}

phases! {
    every_sequence_from_idle_keeps_the_promises = 0,
    every_sequence_from_opening_keeps_the_promises = 1,
    every_sequence_from_waiting_keeps_the_promises = 2,
    every_sequence_from_speaking_keeps_the_promises = 3,
    every_sequence_from_sealing_keeps_the_promises = 4,
    every_sequence_with_a_waiting_turn_keeps_the_promises = 5,
    every_sequence_with_two_waiting_turns_keeps_the_promises = 6,
    every_sequence_from_an_ended_turn_keeps_the_promises = 7,
    every_sequence_from_completed_keeps_the_promises = 8,
    every_sequence_from_the_third_attempt_keeps_the_promises = 9,
}

#[test]
fn the_ninth_waiting_turn_is_refused_and_nothing_of_it_is_stored() {
    let mut world = World::begin();
    for _ in 0..9 {
        world.input(Input::Submit(OnBusy::Queue));
        assert!(world.input(Input::Stored));
    }
    let events = world.events.len();
    world.input(Input::Submit(OnBusy::Queue));
    assert!(!world.committing);
    assert_eq!(world.events.len(), events);
    let last = world.replies.get(&(world.commands.len() - 1));
    assert!(matches!(last, Some(Err(Interrupted::Refused(Refusal::TurnQueueFull)))));
}
