//! A handover: a person is asked for, takes over, and gives back.
//!
//! Who may do what to it in which state is decided in `turn`, with the rest of a conversation's rules.
//! Here is what it is, what it looks like, and what customers are told of it.

mod object;
mod phrases;
mod words;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::object::{HandoverObject, ShownMessage};
pub(super) use self::{
    object::{TAIL, customers_words},
    phrases::{Phrases, language_of},
};
use super::record::{Author, Conversation, Message};
use crate::{answer::Language, clock::Timestamp, ids::HandoverId, organization::Settings};

words! {
    /// Where a handover stands.
    HandoverState {
        /// It waits for a person.
        Requested = "requested",
        /// A person has the conversation.
        Accepted = "accepted",
        /// The person gave it back to the AI.
        Returned = "returned",
        /// The person ended it, and the conversation with it.
        Closed = "closed",
        /// Nobody came in time; somebody still may.
        Expired = "expired",
        /// It was taken back, or the conversation was completed before anybody came.
        Cancelled = "cancelled",
    }
}

words! {
    /// Why a person was asked for.
    HandoverReason {
        /// The customer asked for one.
        CustomerRequest = "customer_request",
        /// Two answers in a row were below the confidence line.
        LowConfidence = "low_confidence",
        /// An answer failed, and the organization wants a person then.
        AnswerFailed = "answer_failed",
        /// A program asked.
        Api = "api",
        /// A rule of the organization's own asked.
        Policy = "policy",
    }
}

/// One handover, without what an agent is shown of its conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// Its id.
    pub id: HandoverId,
    /// Where it stands.
    pub state: HandoverState,
    /// Why a person was asked for.
    pub reason: HandoverReason,
    /// Whom it is meant for, in the organization's own words: a team, a queue, a person.
    pub target: Option<String>,
    /// For the agent; no customer sees it.
    pub note: Option<String>,
    /// Who accepted it.
    pub agent: Option<Author>,
    /// When a person was asked for.
    pub requested_at: Timestamp,
    /// When one took over.
    pub accepted_at: Option<Timestamp>,
    /// When it ended, also by expiring.
    pub ended_at: Option<Timestamp>,
    /// When it expires unless it is accepted, or when it did.
    pub expires_at: Option<Timestamp>,
}

impl Handover {
    /// It waits for a person, or a person has the conversation.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, HandoverState::Requested | HandoverState::Accepted)
    }
}

/// What a conversation says of its handover: enough to show who has it.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Brief<'a> {
    id: HandoverId,
    state: HandoverState,
    reason: HandoverReason,
    target: &'a Option<String>,
    agent: &'a Option<Author>,
    requested_at: Timestamp,
    accepted_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

impl<'a> Brief<'a> {
    /// `None` once it is over: an expired one is not, because it can still be accepted.
    pub(super) fn of(handover: &'a Handover) -> Option<Self> {
        let Handover {
            id, state, reason, ref target, ref agent, requested_at, accepted_at, expires_at, ..
        } = *handover;
        let is_over =
            matches!(state, HandoverState::Returned | HandoverState::Closed | HandoverState::Cancelled);
        (!is_over).then_some(Self { id, state, reason, target, agent, requested_at, accepted_at, expires_at })
    }
}

/// What an organization's settings make of handovers now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    /// People are there: outside their hours nobody is promised.
    pub(super) is_open: bool,
    /// A failed answer asks for a person.
    pub(super) on_failure: bool,
    /// How long a request waits; none is for ever.
    pub(super) timeout_ms: Option<i64>,
}

impl Policy {
    /// Of these settings, at that time.
    pub(super) fn of(settings: &Settings, at: Timestamp) -> Self {
        Self {
            is_open: settings.is_open(at),
            on_failure: settings.handover_on_failure,
            timeout_ms: settings.handover_timeout_seconds.map(|seconds| i64::from(seconds) * 1_000),
        }
    }

    /// Under which a person is asked for whenever one ever is: for finding out whether the real one matters.
    pub(super) const EAGER: Self = Self { is_open: true, on_failure: true, timeout_ms: None };
}

/// What a customer is told whose messages ask for a person; `None` where they do not. Nobody is promised while nobody
/// is there.
pub(super) fn reply_to_request(
    messages: &[&str],
    conversation: &Conversation,
    settings: &Settings,
    at: Timestamp,
) -> Option<String> {
    let named = conversation.details.language.as_deref().and_then(Language::parse);
    let spoken: Vec<_> =
        named.into_iter().chain(settings.languages.iter().filter_map(|code| Language::parse(code))).collect();
    let asked_in = messages.iter().find_map(|message| words::asks_for_a_person(message, &spoken))?;
    let phrases = Phrases::of(named.unwrap_or(asked_in));
    let is_asked = conversation.handover.as_ref().is_some_and(|handover| handover.is_open());
    Some(match (is_asked, settings.is_open(at)) {
        (true, _) => phrases.asked_before.to_owned(),
        (false, true) => phrases.asked.to_owned(),
        (false, false) => phrases.closed(settings.next_opening(at).as_ref()),
    })
}

/// What an event about a handover is made of beside the conversation's state. It is read when such an event is due.
#[derive(Debug, Clone)]
pub(super) struct Around {
    /// The last messages, oldest first.
    pub(super) tail: Vec<Message>,
    /// As of now.
    pub(super) policy: Policy,
    /// Where the server is found from outside.
    pub(super) public_url: Option<Arc<str>>,
}
