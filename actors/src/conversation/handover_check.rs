//! A model check of handovers: from every state, every sequence of up to six operations gives what the table declares,
//! whatever crashes in between.
//!
//! The table ([`Table`]) is written from the contract's words, without the rules it is compared with: what each
//! operation answers, which events it makes, and where handover, owner, epoch and conversation stand afterwards. Each
//! operation on a handover is also tried with a crash before and behind its commit: then it is sent again to a
//! successor, and must come to the same.

use std::collections::{HashMap, HashSet};

use super::{
    handover::{Around, Handover, HandoverReason, HandoverState, Policy},
    machine::{Effect, Found, LookUp, Machine, Stamp},
    messages::{
        Command, Interrupted, NewConversation, NewHandover, NewMessage, OnBusy, Refusal, Reply, Verb,
    },
    record::{Author, Details, Message, Metadata, Owner, StopReason, TurnOptions},
    sql::Loaded,
    turn::{Change, State},
};
use crate::{
    answer::{AnswerError, Finished, Outcome, Usage},
    clock::Timestamp,
    event::{EventKind, EventRow},
    ids::{ConversationId, HandoverId, MessageId, OrgId, TurnId},
    outbox::Outbox,
    store::Attempting,
    writer::WriteError,
};

/// Operations after a state was reached.
const DEPTH: usize = 6;

const NOW: Timestamp = Timestamp(1_000);
const TIMEOUT_MS: i64 = 1_000;

/// When whatever has a deadline is due.
const DUE: Timestamp = Timestamp(NOW.0 + TIMEOUT_MS);

/// Everything that can be done to a handover or matters to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Request,
    RequestAndAccept(&'static str),
    Accept(&'static str),
    /// Of one that expired before another was asked for.
    AcceptEarlier(&'static str),
    Return,
    Close,
    Cancel,
    /// The timer looks before the time is up.
    TooEarly,
    TimeIsUp,
    Complete,
    /// The customer says something; if it is answered, the answer begins.
    Message,
    /// A person says something.
    Say,
    Answered,
    /// An answer below the confidence line.
    Low,
    /// The answer to a customer who asks for a person.
    Asked,
    Failed,
}

/// The operations of the table.
const VERBS: [Does; 10] = [
    Does::Request,
    Does::Accept("Ada"),
    Does::Accept("Bob"),
    Does::Return,
    Does::Close,
    Does::Cancel,
    Does::TooEarly,
    Does::TimeIsUp,
    Does::Complete,
    Does::Message,
];

const ALL: [Does; 17] = [
    Does::Request,
    Does::RequestAndAccept("Ada"),
    Does::Accept("Ada"),
    Does::Accept("Bob"),
    Does::AcceptEarlier("Ada"),
    Does::Return,
    Does::Close,
    Does::Cancel,
    Does::TooEarly,
    Does::TimeIsUp,
    Does::Complete,
    Does::Message,
    Does::Say,
    Does::Answered,
    Does::Low,
    Does::Asked,
    Does::Failed,
];

/// How each state of the table is reached.
const STATES: [(&str, &[Does]); 7] = [
    ("none", &[]),
    ("requested", &[Does::Request]),
    ("accepted", &[Does::Request, Does::Accept("Ada")]),
    ("expired", &[Does::Request, Does::TimeIsUp]),
    ("returned", &[Does::Request, Does::Accept("Ada"), Does::Return]),
    ("closed", &[Does::Request, Does::Accept("Ada"), Does::Close]),
    ("cancelled", &[Does::Request, Does::Cancel]),
];

/// How an operation is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// It happened, or held already. Of a request: it made the handover.
    Done { created: bool },
    /// 409 `handover_state`
    Refused,
    /// The same, naming who has it.
    Taken(&'static str),
    /// 409 `conversation_completed`
    Completed,
}

const DONE: Answer = Answer::Done { created: false };

/// The table: what should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Table {
    handovers: Vec<(&'static str, Option<&'static str>)>,
    /// The one touched last.
    current: usize,
    owner: &'static str,
    epoch: i64,
    status: &'static str,
    low: i64,
    /// The AI is speaking.
    speaks: bool,
}

impl Table {
    fn new() -> Self {
        let (owner, status) = ("ai", "active");
        Self { handovers: Vec::new(), current: 0, owner, epoch: 1, status, low: 0, speaks: false }
    }

    fn state(&self) -> &'static str {
        self.handovers.get(self.current).map_or("none", |handover| handover.0)
    }

    fn agent(&self) -> Option<&'static str> {
        self.handovers.get(self.current)?.1
    }

    fn is_open(&self) -> bool {
        matches!(self.state(), "requested" | "accepted")
    }

    fn moves(&mut self, state: &'static str, status: &'static str) {
        self.handovers[self.current].0 = state;
        (self.status, self.low) = (status, 0);
    }

    /// What the AI was saying ends.
    fn silenced(&mut self) -> Vec<&'static str> {
        match std::mem::take(&mut self.speaks) {
            true => vec!["message.sent", "turn.stopped"],
            false => Vec::new(),
        }
    }

    fn requests(&mut self) -> Vec<&'static str> {
        self.handovers.push(("requested", None));
        self.current = self.handovers.len() - 1;
        (self.status, self.low) = ("waiting_for_human", 0);
        vec!["handover.requested"]
    }

    fn accepts(&mut self, agent: &'static str) -> Vec<&'static str> {
        let mut events = self.silenced();
        self.handovers[self.current] = ("accepted", Some(agent));
        (self.owner, self.epoch, self.status) = ("human", self.epoch + 1, "with_human");
        events.push("handover.accepted");
        events
    }

    fn completes(&mut self) -> Vec<&'static str> {
        let mut events = self.silenced();
        match self.state() {
            "requested" => {
                self.moves("cancelled", "completed");
                events.push("handover.cancelled");
            }
            "accepted" => {
                self.moves("closed", "completed");
                events.push("handover.closed");
            }
            _ => {}
        }
        self.status = "completed";
        events.push("conversation.completed");
        events
    }

    /// What the operation comes to; `None` where it means nothing.
    fn does(&mut self, does: Does) -> Option<(Answer, Vec<&'static str>)> {
        let none = Vec::new;
        let done = |events| Some((DONE, events));
        let refused = Some((Answer::Refused, Vec::new()));
        match does {
            Does::Request | Does::RequestAndAccept(_) if self.status == "completed" => {
                Some((Answer::Completed, none()))
            }
            Does::Request if self.is_open() => done(none()),
            Does::RequestAndAccept(agent) if self.is_open() => self.does(Does::Accept(agent)),
            Does::Request => Some((Answer::Done { created: true }, self.requests())),
            Does::RequestAndAccept(agent) => {
                let mut events = self.requests();
                events.extend(self.accepts(agent));
                Some((Answer::Done { created: true }, events))
            }
            Does::Accept(agent) => match self.state() {
                "none" => None,
                "requested" => done(self.accepts(agent)),
                "accepted" if self.agent() == Some(agent) => done(none()),
                "accepted" => Some((Answer::Taken(self.agent()?), none())),
                "expired" if self.status != "completed" => done(self.accepts(agent)),
                _ => refused,
            },
            Does::AcceptEarlier(agent) => {
                let earlier = (0..self.handovers.len())
                    .find(|&at| at != self.current && self.handovers[at].0 == "expired")?;
                if self.is_open() || self.status == "completed" {
                    return refused;
                }
                self.current = earlier;
                done(self.accepts(agent))
            }
            Does::Return => match self.state() {
                "none" => None,
                "accepted" => {
                    self.moves("returned", "active");
                    (self.owner, self.epoch) = ("ai", self.epoch + 1);
                    done(vec!["handover.returned", "message.sent"])
                }
                "returned" => done(none()),
                _ => refused,
            },
            Does::Close => match self.state() {
                "none" => None,
                "accepted" => done(self.completes()),
                "closed" => done(none()),
                _ => refused,
            },
            Does::Cancel => match self.state() {
                "none" => None,
                "requested" => {
                    self.moves("cancelled", "active");
                    done(vec!["handover.cancelled"])
                }
                "cancelled" => done(none()),
                _ => refused,
            },
            Does::TooEarly if self.state() == "none" => None,
            Does::TooEarly => done(none()),
            Does::TimeIsUp => match self.state() {
                "none" => None,
                "requested" => {
                    self.moves("expired", "active");
                    done(vec!["handover.expired", "message.sent"])
                }
                _ => done(none()),
            },
            Does::Complete if self.status == "completed" => done(none()),
            Does::Complete => done(self.completes()),
            Does::Message => self.hears(),
            Does::Say if self.owner == "human" => done(vec!["message.sent"]),
            Does::Say => refused,
            Does::Answered | Does::Low | Does::Asked | Does::Failed => self.answered(does),
        }
    }

    fn hears(&mut self) -> Option<(Answer, Vec<&'static str>)> {
        if self.speaks {
            return None;
        }
        let mut events = Vec::new();
        if self.status == "completed" {
            if self.owner == "human" {
                (self.owner, self.epoch) = ("ai", self.epoch + 1);
            }
            (self.status, self.low) = ("active", 0);
            events.push("conversation.reopened");
        }
        events.push("message.received");
        if self.owner == "ai" {
            self.speaks = true;
            events.push("turn.started");
        }
        Some((DONE, events))
    }

    fn answered(&mut self, does: Does) -> Option<(Answer, Vec<&'static str>)> {
        if !self.speaks {
            return None;
        }
        self.speaks = false;
        let mut events = vec!["message.sent"];
        let asks = match does {
            Does::Low => self.low + 1 >= 2,
            Does::Asked | Does::Failed => true,
            _ => false,
        };
        match does {
            Does::Answered => self.low = 0,
            Does::Low => self.low += 1,
            _ => {}
        }
        if asks && !self.is_open() {
            events.extend(self.requests());
        }
        events.push(if does == Does::Failed { "turn.failed" } else { "turn.completed" });
        Some((DONE, events))
    }
}

/// How an operation's commit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Stored,
    /// The process dies before the commit takes effect.
    CrashBefore,
    /// The process dies behind it: nobody was answered.
    CrashAfter,
}

/// Handovers with their agents, owner, epoch, status, and low answers.
type Seen = (Vec<(&'static str, Option<String>)>, &'static str, i64, &'static str, i64);

#[derive(Clone)]
struct World {
    machine: Machine<usize>,
    stored: Option<State>,
    events: Vec<(EventRow, Option<Message>)>,
    handovers: HashMap<HandoverId, Handover>,
    /// In the order in which they were asked for.
    ids: Vec<HandoverId>,
    committing: bool,
    model: Option<Stamp>,
    replies: Vec<Option<Result<Reply, Interrupted>>>,
}

impl World {
    fn begin() -> Self {
        let mut world = Self {
            machine: Machine::new(None, NOW, Outbox::of_nobody()),
            stored: None,
            events: Vec::new(),
            handovers: HashMap::new(),
            ids: Vec::new(),
            committing: false,
            model: None,
            replies: Vec::new(),
        };
        let key = (OrgId::generate(), ConversationId::generate());
        let begun = NewConversation { key, details: Details::default(), message: None, idempotency: None };
        world.command(Command::Start(Box::new(begun)), NOW, false);
        world.settle();
        world
    }

    fn command(&mut self, command: Command, at: Timestamp, repeat: bool) {
        self.replies.push(None);
        self.machine.command(self.replies.len() - 1, command, at, repeat);
        self.carry_out();
    }

    /// Commits succeed until nothing is being stored.
    fn settle(&mut self) {
        while self.committing {
            self.store_what_is_in_flight();
            self.committing = false;
            self.machine.committed(Ok(()), NOW);
            self.carry_out();
        }
    }

    fn store_what_is_in_flight(&mut self) {
        let change = self.machine.in_flight().expect("a commit is in flight").clone();
        self.store(&change);
    }

    fn store(&mut self, change: &Change) {
        self.events.extend(change.events.iter().cloned());
        for (handover, sequence) in &change.handovers {
            let told = self.events.iter().find(|(event, _)| event.sequence == *sequence);
            assert!(told.is_some_and(|(event, _)| event.kind.as_str().starts_with("handover.")));
            if self.handovers.insert(handover.id, handover.clone()).is_none() {
                self.ids.push(handover.id);
            }
        }
        let open = self.handovers.values().filter(|handover| handover.is_open()).count();
        assert!(open <= 1, "one is open at a time");
        self.stored = Some(change.next.clone());
    }

    fn reload(&mut self) {
        (self.committing, self.model) = (false, None);
        let loaded = self.stored.clone().map(|State { conversation, open, last }| Loaded {
            conversation,
            open: open.into(),
            last: last.map(|turn| *turn),
        });
        self.machine = Machine::new(loaded, NOW, Outbox::of_nobody());
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while self.machine.has_effects() {
            for effect in self.machine.effects() {
                match effect {
                    Effect::Commit(_) | Effect::CommitLater(_) => self.committing = true,
                    Effect::Ask(stamp) => self.model = Some(stamp),
                    Effect::StopModel => self.model = None,
                    Effect::Reply(sender, reply) => {
                        let before = self.replies[sender].replace(reply);
                        assert!(before.is_none(), "a command is answered once");
                    }
                    Effect::LookUp(LookUp::Handover(id)) => {
                        let found = self.handovers.get(&id).cloned().map(Box::new).map(Found::Handover);
                        self.machine.looked_up(found, NOW);
                    }
                    Effect::Recall | Effect::RecallLater => self.machine.recalled(self.around(), NOW),
                    Effect::LookUp(LookUp::Message { .. }) => panic!("no message is sent twice here"),
                    Effect::Leave => panic!("nobody else writes here"),
                    Effect::Publish(_) | Effect::Seal | Effect::Typing(_) | Effect::Erased => {}
                }
            }
        }
    }

    fn around(&self) -> Around {
        let tail = self.events.iter().filter_map(|(_, message)| message.clone()).collect();
        let policy = Policy { is_open: true, on_failure: true, timeout_ms: Some(TIMEOUT_MS) };
        Around { tail, policy, public_url: None }
    }

    fn command_of(&self, does: Does) -> Option<Command> {
        let touched_last = self.stored.as_ref()?.conversation.handover.as_ref().map(|last| last.id);
        let verb = |verb| Some(Command::Handover { id: touched_last?, verb, by: None, idempotency: None });
        let request = |accept| Command::RequestHandover(Box::new(new_handover(accept)));
        Some(match does {
            Does::Request => request(None),
            Does::RequestAndAccept(agent) => request(Some(author(agent))),
            Does::Accept(agent) => return verb(Verb::Accept(author(agent))),
            Does::AcceptEarlier(agent) => {
                let is_expired = |id: &&HandoverId| {
                    Some(**id) != touched_last && self.handovers[*id].state == HandoverState::Expired
                };
                let id = *self.ids.iter().find(is_expired)?;
                Command::Handover { id, verb: Verb::Accept(author(agent)), by: None, idempotency: None }
            }
            Does::Return => return verb(Verb::Return { note: None }),
            Does::Close => return verb(Verb::Close { resolution: None }),
            Does::Cancel => return verb(Verb::Cancel),
            Does::TooEarly | Does::TimeIsUp => return verb(Verb::Expire),
            Does::Complete => {
                Command::Complete { resolution: None, by: None, quiet_since: None, idempotency: None }
            }
            Does::Message => Command::Submit(message()),
            Does::Say => Command::Say(said()),
            Does::Answered | Does::Low | Does::Asked | Does::Failed => return None,
        })
    }

    /// Does it, and gives how it was answered.
    fn does(&mut self, does: Does, way: Way) -> Answer {
        let Some(command) = self.command_of(does) else {
            self.model_ends(does);
            return DONE;
        };
        let at = if does == Does::TooEarly { DUE.plus_ms(-1) } else { DUE };
        self.command(command.clone(), at, false);
        if way != Way::Stored && self.committing {
            if way == Way::CrashAfter {
                self.store_what_is_in_flight();
            }
            self.reload();
            self.settle();
            self.command(command, at, true);
        }
        self.settle();
        if does == Does::Message
            && let Some(stamp) = self.model
        {
            assert!(self.machine.text(stamp, "né ".to_owned(), || NOW).is_some());
        }
        let replied = self.replies.last().and_then(Option::as_ref).expect("every command is answered");
        match replied {
            Ok(Reply::Handover { created, .. }) => Answer::Done { created: *created },
            Ok(_) => DONE,
            Err(Interrupted::Refused(Refusal::HandoverState)) => Answer::Refused,
            Err(Interrupted::Refused(Refusal::HandoverTaken(winner))) => {
                Answer::Taken(if winner.id == "Ada" { "Ada" } else { "Bob" })
            }
            Err(Interrupted::Refused(Refusal::Completed)) => Answer::Completed,
            Err(other) => panic!("{other:?}"),
        }
    }

    fn model_ends(&mut self, does: Does) {
        let stamp = self.model.take().expect("the AI speaks");
        let outcome = match does {
            Does::Low => Outcome::Unanswered,
            Does::Asked => Outcome::Handover,
            _ => Outcome::Answered,
        };
        self.machine.set_policy(self.around().policy);
        let failed = AnswerError { code: "model_failed", message: "failed" };
        let ended = if does == Does::Failed { Err(failed) } else { Ok(finished(outcome)) };
        self.machine.ended(stamp, ended, NOW);
        self.carry_out();
        self.settle();
    }

    /// What is on disk, in the table's words. `speaks` is left to the table: a crash goes on with a turn.
    fn seen(&self) -> Seen {
        let conversation = &self.stored.as_ref().expect("it exists").conversation;
        let handovers = self.ids.iter().map(|id| &self.handovers[id]);
        let handovers = handovers
            .map(|handover| (handover.state.as_str(), handover.agent.as_ref().map(|agent| agent.id.clone())))
            .collect();
        let touched = conversation.handover.as_ref().map(|touched| touched.id);
        if let Some(id) = touched {
            assert_eq!(
                conversation.handover.as_deref(),
                self.handovers.get(&id),
                "row and conversation agree"
            );
        }
        for handover in self.handovers.values() {
            let was_accepted = handover.accepted_at.is_some();
            assert!(!(was_accepted && handover.expires_at.is_some()), "what a person has does not expire");
        }
        let silent = conversation.owner == Owner::Human;
        assert!(!silent || conversation.active_turn_id.is_none(), "no turn runs while a person has it");
        (
            handovers,
            conversation.owner.as_str(),
            conversation.epoch,
            conversation.status.as_str(),
            conversation.low_answers,
        )
    }
}

fn author(name: &str) -> Author {
    Author { id: name.to_owned(), name: Some(name.to_owned()) }
}

fn new_handover(accept: Option<Author>) -> NewHandover {
    NewHandover {
        id: HandoverId::generate(),
        reason: HandoverReason::Api,
        target: None,
        note: None,
        // Due by the time of the next command.
        timeout_ms: Some(0),
        accept,
        by: None,
        idempotency: None,
    }
}

fn message() -> NewMessage {
    NewMessage {
        id: MessageId::generate(),
        turn: TurnId::generate(),
        content: "?".into(),
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

fn said() -> super::messages::AgentMessage {
    super::messages::AgentMessage {
        id: MessageId::generate(),
        content: "!".into(),
        client_message_id: None,
        fingerprint: String::new(),
        author: None,
        metadata: Metadata::new(),
        idempotency: None,
    }
}

fn finished(outcome: Outcome) -> Finished {
    Finished {
        outcome,
        citations: Vec::new(),
        confidence: None,
        usage: Usage::default(),
        model: "model".to_owned(),
        cached: false,
    }
}

/// Does one operation in the world and in the table, on every way, and compares. `None` where it means nothing.
fn step(world: &World, table: &Table, does: Does) -> Option<(World, Table)> {
    let mut should = table.clone();
    let (answer, events) = should.does(does)?;
    let expected = (
        should.handovers.iter().map(|(state, agent)| (*state, agent.map(str::to_owned))).collect::<Vec<_>>(),
        should.owner,
        should.epoch,
        should.status,
        should.low,
    );
    let mut next = world.clone();
    assert_eq!(next.does(does, Way::Stored), answer);
    let told: Vec<_> =
        next.events[world.events.len()..].iter().map(|(event, _)| event.kind.as_str()).collect();
    assert_eq!(told, events);
    assert_eq!(next.seen(), expected);
    let is_about_handovers = !matches!(does, Does::Message | Does::Say) && world.command_of(does).is_some();
    if is_about_handovers && !events.is_empty() {
        for way in [Way::CrashBefore, Way::CrashAfter] {
            let mut crashed = world.clone();
            assert_eq!(crashed.does(does, way), answer, "{way:?}");
            assert_eq!(crashed.seen(), expected, "{way:?}");
            let about = |world: &World| -> Vec<&str> {
                let kinds = world.events.iter().map(|(event, _)| event.kind.as_str());
                kinds
                    .filter(|kind| kind.starts_with("handover.") || kind.starts_with("conversation."))
                    .collect()
            };
            assert_eq!(about(&crashed), about(&next), "{way:?}: nothing happens twice");
        }
    }
    Some((next, should))
}

/// Tries every operation after `path`; gives how many sequences were looked at. A state that was looked at with as many
/// operations left comes to the same again: then it is not looked at, if `seen` keeps count.
fn explore(
    world: &World,
    table: &Table,
    operations: &[Does],
    path: &mut Vec<Does>,
    depth: usize,
    seen: &mut Option<HashSet<(Table, usize)>>,
) -> u64 {
    let mut sequences = 0;
    for &does in operations {
        path.push(does);
        let stepped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| step(world, table, does)));
        match stepped {
            Ok(Some((next, should))) => {
                sequences += 1;
                // The epoch only counts; everything else decides.
                let likeness = (Table { epoch: 0, ..should.clone() }, depth);
                let is_new = seen.as_mut().is_none_or(|seen| seen.insert(likeness));
                if depth > 1 && is_new {
                    sequences += explore(&next, &should, operations, path, depth - 1, seen);
                }
            }
            Ok(None) => {}
            Err(_) => panic!("after {path:?}"),
        }
        path.pop();
    }
    sequences
}

fn check(operations: &[Does], depth: usize, mut seen: Option<HashSet<(Table, usize)>>) {
    for (name, way) in STATES {
        let (mut world, mut table) = (World::begin(), Table::new());
        for does in way {
            (world, table) = step(&world, &table, *does).expect("leads on");
        }
        let reached = if table.handovers.is_empty() { "none" } else { table.state() };
        assert_eq!(reached, name);
        if let Some(seen) = &mut seen {
            seen.clear();
        }
        let sequences = explore(&world, &table, operations, &mut Vec::new(), depth, &mut seen);
        println!("{name}: {sequences} sequences of up to {depth}");
        assert!(sequences > 100, "{name}: the check looked at next to nothing");
    }
}

#[test]
fn every_sequence_of_six_operations_gives_what_the_table_declares() {
    check(&ALL, DEPTH, Some(HashSet::new()));
}

/// Without leaving anything out that looks alike: five in the long mode, where it takes minutes.
#[test]
fn every_sequence_of_verbs_gives_what_the_table_declares_one_by_one() {
    let is_long = std::env::var_os("OPENCLAW_TEST_LONG").is_some_and(|value| value == "1");
    check(&VERBS, if is_long { DEPTH - 1 } else { 3 }, None);
}

#[test]
fn an_accept_that_cannot_be_stored_leaves_the_owner_and_ends_the_turn_as_stopped() {
    let mut world = World::begin();
    for does in [Does::Message, Does::Request] {
        world.does(does, Way::Stored);
    }
    let accept = world.command_of(Does::Accept("Ada")).expect("there is one to accept");
    world.command(accept, DUE, false);
    assert!(world.committing);
    world.committing = false;
    let away: Result<(), _> = Err(sqlx::Error::PoolClosed).attempting("commit");
    let error = WriteError::Unavailable(std::sync::Arc::new(away.expect_err("is an error")));
    world.machine.committed(Err(error), NOW);
    world.carry_out();
    world.settle();
    let replied = world.replies.last().and_then(Option::as_ref);
    assert!(matches!(replied, Some(Err(Interrupted::Refused(Refusal::Unavailable)))));
    let state = world.stored.as_ref().expect("it exists");
    assert_eq!((state.conversation.owner, state.conversation.epoch), (Owner::Ai, 1));
    let last = state.last.as_deref().expect("the turn has ended");
    assert_eq!(last.stop_reason, Some(StopReason::Handover));
    assert_eq!(world.events.last().map(|(event, _)| event.kind), Some(EventKind::TurnStopped));
}
