//! The actor behind one live conversation: the shell that carries out what its [`Machine`] decides.
//!
//! It is the only writer of its conversation. A turn outlives its reader: the answer is completed and stored anyway.
//! It may die at any line: what was acknowledged is in the store, and a successor goes on from there.

use std::{sync::Arc, time::Duration};

use actix::{fut::wrap_future, prelude::*};
use futures_util::{StreamExt, future, stream};
use tokio::{sync::oneshot, time::Instant};
use tracing::{error, warn};

use super::{
    directory::{ConversationOptions, Directory, Permit},
    feed::{Closing, Feed},
    handover::{Policy, reply_to_request},
    history::History,
    machine::{Effect, Found, LookUp, Machine, Stamp},
    messages::{Ask, Command, ConversationKey, Interrupted, Refusal, Reply},
    sql::{self, Loaded, handovers, read},
    turn::Change,
};
use crate::{
    answer::{AnswerError, AnswerStream, Chunk, Finished, Outcome, Usage, grounded},
    clock::Timestamp,
    organization::Settings,
    store::StoreError,
    supervision::End,
    writer::Op,
};

/// Commands that wait while the conversation is being loaded; afterwards the machine's own bound holds.
const MAILBOX_CAPACITY: usize = 16;

/// The pause between two tries to store the end of an answer.
const COMMIT_AGAIN_AFTER: Duration = Duration::from_millis(500);

type Sender = oneshot::Sender<Result<Reply, Interrupted>>;

enum Life {
    /// The state is being read.
    Loading,
    Live(Box<Machine<Sender>>),
    /// The store could not be read: those who wait are refused, and the actor ends.
    Unreadable,
}

/// See the module.
pub(super) struct ConversationActor {
    directory: Directory,
    key: ConversationKey,
    generation: u32,
    life: Life,
    /// Held while a turn is open, so that its text has somewhere to be.
    feed: Option<Arc<Feed>>,
    /// What was said; loaded when the model is first asked, dropped when idle.
    history: Option<Box<History>>,
    /// The model's call.
    model: Option<SpawnHandle>,
    /// Counts the running turn.
    permit: Option<Permit>,
    active_at: Instant,
    /// Idle for a while, as the directory knows.
    rests: bool,
    timer: Option<SpawnHandle>,
    leaving: Option<oneshot::Sender<()>>,
}

/// Store what is being stored, then stop.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Leave;

/// Stop, if nothing has happened since the directory looked.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct LeaveIfResting;

/// What the model's stream gives.
struct FromModel {
    stamp: Stamp,
    item: Result<Chunk, AnswerError>,
}

impl ConversationActor {
    /// Starts an actor on this thread. A conversation that is `fresh` has no rows yet.
    pub(super) fn activate(
        directory: Directory,
        key: ConversationKey,
        generation: u32,
        fresh: bool,
    ) -> Addr<Self> {
        let (life, history) = match fresh {
            true => {
                let outbox = directory.writer().outbox().clone();
                let machine = Machine::new(None, Timestamp::now(), outbox);
                (Life::Live(Box::new(machine)), Some(Box::new(History::empty())))
            }
            false => (Life::Loading, None),
        };
        Self {
            directory,
            key,
            generation,
            life,
            feed: None,
            history,
            model: None,
            permit: None,
            active_at: Instant::now(),
            rests: false,
            timer: None,
            leaving: None,
        }
        .start()
    }

    fn loaded(&mut self, loaded: Result<Option<Loaded>, StoreError>, ctx: &mut Context<Self>) {
        match loaded {
            Ok(loaded) => {
                if let Some(feed) = self.directory.watched(self.key) {
                    // What a dead actor showed of an open answer is not the answer any more.
                    feed.forget_answer();
                }
                let outbox = self.directory.writer().outbox().clone();
                self.life = Life::Live(Box::new(Machine::new(loaded, Timestamp::now(), outbox)));
                self.carry_out(ctx);
            }
            Err(error) => {
                warn!(org.id = %self.key.0, conversation.id = %self.key.1, error = %error, "a conversation was not loaded");
                self.life = Life::Unreadable;
                self.directory.leave(self.key, self.generation);
                // Those who are in the mailbox already are answered first.
                ctx.run_later(Duration::from_secs(1), |_, ctx| ctx.stop());
            }
        }
    }

    fn machine(&mut self) -> Option<&mut Machine<Sender>> {
        match &mut self.life {
            Life::Live(machine) => Some(machine),
            Life::Loading | Life::Unreadable => None,
        }
    }

    /// Does what the machine decided, until it has nothing more to do.
    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        self.active_at = Instant::now();
        if std::mem::take(&mut self.rests) {
            self.directory.stirs(self.key, self.generation);
        }
        while let Some(effects) = self.machine().map(Machine::effects).filter(|effects| !effects.is_empty()) {
            for effect in effects {
                self.carry_out_one(effect, ctx);
            }
        }
        self.note_state(ctx);
    }

    fn carry_out_one(&mut self, effect: Effect<Sender>, ctx: &mut Context<Self>) {
        match effect {
            Effect::LookUp(look_up) => self.look_up(look_up, ctx),
            Effect::Recall => self.recall(Duration::ZERO, ctx),
            Effect::RecallLater => self.recall(COMMIT_AGAIN_AFTER, ctx),
            Effect::Commit(op) => self.commit(op, Duration::ZERO, ctx),
            Effect::CommitLater(op) => self.commit(op, COMMIT_AGAIN_AFTER, ctx),
            Effect::Publish(change) => self.publish(&change),
            Effect::Ask(stamp) => self.ask(stamp, ctx),
            Effect::StopModel => {
                if let Some(model) = self.model.take() {
                    ctx.cancel_future(model);
                }
            }
            Effect::Seal => {
                if let Some(feed) = &self.feed {
                    feed.seal();
                }
            }
            Effect::Reply(sender, reply) => self.reply(sender, reply),
            Effect::Typing(by) => {
                if let Some(feed) = self.directory.watched(self.key) {
                    let notice =
                        serde_json::json!({"type": "typing", "conversation_id": self.key.1, "by": by});
                    feed.notice(notice.to_string().into());
                }
            }
            Effect::Erased => {
                if let Some(feed) = self.directory.watched(self.key) {
                    feed.close(Closing::Deleted);
                }
            }
            Effect::Leave => {
                self.directory.leave(self.key, self.generation);
                ctx.stop();
            }
        }
    }

    /// Keeps what others ask about this actor up to date: is a turn open, does one run, may it leave?
    fn note_state(&mut self, ctx: &mut Context<Self>) {
        let Life::Live(machine) = &self.life else { return };
        match (machine.running().is_some(), &self.permit) {
            (true, None) => self.permit = Some(self.directory.count_running()),
            (false, Some(_)) => self.permit = None,
            _ => {}
        }
        if machine.is_settled()
            && let Some(left) = self.leaving.take()
        {
            self.leave(ctx);
            // Whoever asked may have given up waiting.
            let _ = left.send(());
        } else if self.timer.is_none() && machine.is_idle() {
            self.watch_idleness(self.directory.options().rest_after, ctx);
        }
    }

    fn leave(&mut self, ctx: &mut Context<Self>) {
        self.directory.leave(self.key, self.generation);
        ctx.stop();
    }

    /// Lets go of what the store can give again, and tells the directory that this actor rests. No timer is kept
    /// beyond that: the directory looks for those who have rested for long.
    fn watch_idleness(&mut self, after: Duration, ctx: &mut Context<Self>) {
        self.timer = Some(ctx.run_later(after, |act, ctx| {
            act.timer = None;
            let Life::Live(machine) = &mut act.life else { return };
            if !machine.is_idle() {
                return;
            }
            let ConversationOptions { passivate_after, rest_after, .. } = *act.directory.options();
            let idle = act.active_at.elapsed();
            if idle >= passivate_after {
                return act.leave(ctx);
            }
            if idle < rest_after {
                return act.watch_idleness(rest_after.min(passivate_after) - idle, ctx);
            }
            machine.rest();
            act.history = None;
            act.rests = true;
            act.directory.rests(act.key, act.generation);
        }));
    }

    fn look_up(&mut self, look_up: LookUp, ctx: &mut Context<Self>) {
        let (store, key) = (self.directory.store().clone(), self.key);
        let found = async move {
            let (message, client_message_id) = match look_up {
                LookUp::Message { message, client_message_id } => (message, client_message_id),
                LookUp::Handover(id) => {
                    let found = handovers::of_conversation(&store, key, id).await?;
                    return Ok(found.map(|handover| Found::Handover(Box::new(handover))));
                }
            };
            let by_client = match &client_message_id {
                Some(id) => read::client_message(&store, key, id).await?,
                None => None,
            };
            let found = match by_client {
                Some(found) => Some(found),
                None => read::message(&store, key, message).await?,
            };
            let Some(message) = found else { return Ok(None) };
            let turn = match message.turn_id {
                Some(turn) => read::turn(&store, key, turn).await?,
                None => None,
            };
            Ok::<_, StoreError>(Some(Found::Message(Box::new(message), turn.map(Box::new))))
        };
        ctx.spawn(wrap_future(found).map(|found, act: &mut Self, ctx| {
            let at = Timestamp::now();
            match (act.machine(), found) {
                (Some(machine), Ok(found)) => machine.looked_up(found, at),
                (Some(machine), Err(error)) => {
                    warn!(error = %error, "what a command may have stored could not be looked up");
                    machine.look_up_failed(at);
                }
                (None, _) => {}
            }
            act.carry_out(ctx);
        }));
    }

    /// Reads what a handover's event is made of.
    fn recall(&mut self, after: Duration, ctx: &mut Context<Self>) {
        let (directory, key) = (self.directory.clone(), self.key);
        let around = async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            directory.around(key).await
        };
        ctx.spawn(wrap_future(around).map(|around, act: &mut Self, ctx| {
            let at = Timestamp::now();
            match (act.machine(), around) {
                (Some(machine), Ok(around)) => machine.recalled(around, at),
                (Some(machine), Err(error)) => {
                    warn!(error = %error, "what a handover is made of could not be read");
                    machine.recall_failed(at);
                }
                (None, _) => {}
            }
            act.carry_out(ctx);
        }));
    }

    fn commit(&mut self, op: Op, after: Duration, ctx: &mut Context<Self>) {
        let writer = self.directory.writer().clone();
        let committed = async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            writer.commit(op).await
        };
        ctx.spawn(wrap_future(committed).map(|result, act: &mut Self, ctx| {
            if let Err(error) = &result {
                warn!(org.id = %act.key.0, conversation.id = %act.key.1, error = %error, "a change was not stored");
            }
            if let Some(machine) = act.machine() {
                machine.committed(result, Timestamp::now());
            }
            act.carry_out(ctx);
        }));
    }

    /// Shows what is on disk now.
    fn publish(&mut self, change: &Change) {
        let open = !change.next.open.is_empty() && !change.erases;
        if open && self.feed.is_none() {
            self.feed = Some(self.directory.feed(self.key));
        }
        if change.erases {
            self.directory.answerers().forget(self.key.1);
        }
        if let Some(history) = &mut self.history {
            history.extend(change.events.iter().filter_map(|(_, message)| message.as_ref()));
        }
        if let Some(handover) = change.requested_handover() {
            self.directory.expects_handovers();
            self.directory.summarise(self.key, handover, &change.next.conversation);
        }
        for turn in change.ended_turns() {
            self.directory.figures().count(turn.status);
        }
        let feed = self.feed.clone().or_else(|| self.directory.watched(self.key)).filter(|_| !change.erases);
        if let Some(feed) = feed {
            let rendered = change.events.iter().map(|(row, message)| sql::durable(row, message.as_ref()));
            match rendered.map(|event| event.map(Arc::new)).collect::<Result<Vec<_>, _>>() {
                Ok(events) => feed.publish(events),
                Err(error) => error!(error = %error, "an event could not be rendered"),
            }
        }
        if !open {
            self.feed = None;
        }
    }

    fn reply(&mut self, sender: Sender, mut reply: Result<Reply, Interrupted>) {
        if let Ok(Reply::Accepted(accepted)) = &mut reply {
            let feed = self.feed.clone().unwrap_or_else(|| self.directory.feed(self.key));
            feed.learn_head(accepted.conversation.sequence);
            accepted.feed = Some(feed);
        }
        // Whoever asked may have hung up; what was asked is done all the same.
        let _ = sender.send(reply);
    }

    /// Asks the model, after the history and the organization's settings are there.
    fn ask(&mut self, stamp: Stamp, ctx: &mut Context<Self>) {
        let is_whole = self.history.get_or_insert_default().is_whole();
        if is_whole && let Some(organization) = self.directory.organizations().lately(self.key.0) {
            return self.ask_now(stamp, &organization.settings, ctx);
        }
        let (directory, key) = (self.directory.clone(), self.key);
        let read = async move {
            let earlier = match is_whole {
                true => None,
                false => Some(History::load(directory.store(), key).await?),
            };
            Ok::<_, StoreError>((earlier, directory.organizations().recent(key.0).await?))
        };
        self.model = Some(ctx.spawn(wrap_future(read).map(move |read, act: &mut Self, ctx| match read {
            Ok((earlier, organization)) => {
                if let Some(earlier) = earlier {
                    act.history.get_or_insert_default().complete(earlier);
                }
                // Erased just now: whatever is said, nobody reads it.
                let settings = organization.map(|found| found.settings.clone()).unwrap_or_default();
                act.ask_now(stamp, &settings, ctx);
            }
            Err(error) => {
                warn!(error = %error, "what a conversation's answer needs could not be read");
                let away = AnswerError { code: "unavailable", message: "the history could not be read" };
                act.listen(stamp, stream::iter([Err(away)]).boxed_local(), ctx);
            }
        })));
    }

    fn ask_now(&mut self, stamp: Stamp, settings: &Settings, ctx: &mut Context<Self>) {
        let Life::Live(machine) = &mut self.life else { return };
        let now = Timestamp::now();
        machine.set_policy(Policy::of(settings, now));
        let Some((history, state)) = self.history.as_ref().zip(machine.state()) else { return };
        let Some(question) = history.question(state) else { return };
        // A load test wants the answer that it describes.
        let asks_freely = question.synthetic.is_none();
        let reply = asks_freely
            .then(|| reply_to_request(&history.asked(state), &state.conversation, settings, now))
            .flatten();
        let answer = match reply {
            Some(text) => handed_over(text),
            None => self.directory.answerers().ask(&question),
        };
        self.listen(stamp, answer, ctx);
    }

    fn listen(&mut self, stamp: Stamp, answer: AnswerStream, ctx: &mut Context<Self>) {
        let broken = AnswerError { code: "model_failed", message: "the answer ended before it was whole" };
        let items = answer.chain(stream::iter([Err(broken)])).map(move |item| FromModel { stamp, item });
        self.model = Some(ctx.add_stream(items));
    }
}

/// The answer to a customer who asks for a person: no model is asked.
fn handed_over(text: String) -> AnswerStream {
    let finished = Finished {
        outcome: Outcome::Handover,
        citations: Vec::new(),
        confidence: None,
        usage: Usage::default(),
        model: grounded::MODEL.to_owned(),
        cached: false,
    };
    stream::iter([Ok(Chunk::Text(text)), Ok(Chunk::Done(finished))]).boxed_local()
}

/// The same as a [`Lifeline`](crate::supervision::Lifeline), without its box: there may be a hundred thousand of these.
impl Drop for ConversationActor {
    fn drop(&mut self) {
        let turn_open = matches!(&self.life, Life::Live(machine) if machine.has_open_turn());
        self.directory.ended(self.key, self.generation, End::of_this_thread(), turn_open);
    }
}

impl Actor for ConversationActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(MAILBOX_CAPACITY);
        if matches!(self.life, Life::Loading) {
            let (directory, key) = (self.directory.clone(), self.key);
            let loaded = async move { directory.load(key).await };
            ctx.wait(wrap_future(loaded).map(|loaded, act: &mut Self, ctx| act.loaded(loaded, ctx)));
        }
    }
}

impl Handler<Ask> for ConversationActor {
    type Result = ResponseFuture<Result<Reply, Interrupted>>;

    fn handle(&mut self, ask: Ask, ctx: &mut Context<Self>) -> Self::Result {
        let Ask { command, at, repeat } = ask;
        let overloaded = self.directory.is_overloaded();
        let Some(machine) = self.machine() else {
            return Box::pin(future::ready(Err(Interrupted::Refused(Refusal::Unavailable))));
        };
        if overloaded && starts_a_turn(&command) && !machine.has_open_turn() {
            return Box::pin(future::ready(Err(Interrupted::Refused(Refusal::Overloaded))));
        }
        let (sender, reply) = oneshot::channel();
        machine.command(sender, command, at, repeat);
        self.carry_out(ctx);
        // Dropped with an actor that died: then the store knows what became of the command.
        Box::pin(async move { reply.await.unwrap_or(Err(Interrupted::Reload)) })
    }
}

fn starts_a_turn(command: &Command) -> bool {
    match command {
        Command::Start(begun) => begun.message.is_some(),
        command => matches!(command, Command::Submit(_) | Command::Retry { .. }),
    }
}

impl Handler<Leave> for ConversationActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Leave, ctx: &mut Context<Self>) -> Self::Result {
        let (left, leaving) = oneshot::channel();
        self.leaving = Some(left);
        self.note_state(ctx);
        Box::pin(async move { drop(leaving.await) })
    }
}

impl Handler<LeaveIfResting> for ConversationActor {
    type Result = ();

    fn handle(&mut self, _: LeaveIfResting, ctx: &mut Context<Self>) {
        if self.rests && self.machine().is_some_and(|machine| machine.is_idle()) {
            self.leave(ctx);
        }
    }
}

impl StreamHandler<FromModel> for ConversationActor {
    fn handle(&mut self, FromModel { stamp, item }: FromModel, ctx: &mut Context<Self>) {
        let Some(machine) = self.machine() else { return };
        match item {
            Ok(Chunk::Text(text)) => {
                let shown = machine.text(stamp, text, Timestamp::now);
                let goes_on = !machine.has_effects();
                if let (Some(text), Some(feed)) = (shown, &self.feed) {
                    feed.append(stamp.turn, stamp.attempt, &text);
                }
                // A token changes nothing but the feed.
                if goes_on {
                    return;
                }
            }
            Ok(Chunk::Done(finished)) => machine.ended(stamp, Ok(finished), Timestamp::now()),
            Err(error) => machine.ended(stamp, Err(error), Timestamp::now()),
        }
        self.carry_out(ctx);
    }

    // The default stops the actor; here the end of an answer only ends the turn.
    fn finished(&mut self, _: &mut Context<Self>) {}
}
