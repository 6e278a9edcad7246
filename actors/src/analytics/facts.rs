//! What is known of one conversation: the base of every figure, without a word or a name of anybody.

use serde::Deserialize;

use super::{histogram::Histogram, sql::LogRow, tally::Tally};
use crate::{answer::Outcome, clock::Timestamp, ids::OrgId};

/// What becomes of a conversation's status when it is erased.
pub(super) const ERASED: &str = "erased";

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whose conversation.
    pub org: OrgId,
    /// Which one; it may be erased since.
    pub conversation: String,
    /// Where it takes place now.
    pub channel: String,
    /// What it is about now.
    pub topic: Option<String>,
    /// Where it stands; `erased` if it is.
    pub status: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was completed, if it is.
    pub completed_at: Option<Timestamp>,
    /// How it was completed.
    pub resolution: Option<String>,
    /// 1 to 5.
    pub rating: Option<i64>,
    /// Of customers, assistants and agents.
    pub messages: i64,
    /// When the first and the last of those came.
    pub spoken: Option<(Timestamp, Timestamp)>,
    /// How many there were.
    pub handovers: i64,
    /// One of them was accepted.
    pub accepted: bool,
    /// Turns without an answer.
    pub unanswered: i64,
    pub(super) first_tokens: Histogram,
    pub(super) answers: Histogram,
}

/// What the log says of a turn that was completed.
#[derive(Deserialize)]
struct Document {
    turn: CompletedTurn,
}

/// The times of a completed turn.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct CompletedTurn {
    pub(super) queued_at: Timestamp,
    pub(super) first_token_at: Option<Timestamp>,
    pub(super) completed_at: Option<Timestamp>,
    outcome: Option<Outcome>,
}

/// What changes of a conversation as a whole, as it stands in its row.
#[derive(Debug, Clone)]
pub(super) struct Present {
    pub(super) channel: String,
    pub(super) topic: Option<String>,
    pub(super) status: String,
    pub(super) started_at: Timestamp,
    pub(super) completed_at: Option<Timestamp>,
    pub(super) resolution: Option<String>,
    pub(super) rating: Option<i64>,
}

impl Facts {
    /// Of a conversation of which nothing was folded yet.
    pub(super) fn begin(org: OrgId, conversation: String, present: Present) -> Self {
        let begun = Self {
            org,
            conversation,
            channel: String::new(),
            topic: None,
            status: String::new(),
            started_at: present.started_at,
            completed_at: None,
            resolution: None,
            rating: None,
            messages: 0,
            spoken: None,
            handovers: 0,
            accepted: false,
            unanswered: 0,
            first_tokens: Histogram::default(),
            answers: Histogram::default(),
        };
        begun.with_present(present)
    }

    /// The same with what its row says now: figures are about a conversation's present channel, topic and state.
    pub(super) fn with_present(self, present: Present) -> Self {
        let Present { channel, topic, status, started_at, completed_at, resolution, rating } = present;
        Self { channel, topic, status, started_at, completed_at, resolution, rating, ..self }
    }

    /// Folds one event.
    pub(super) fn fold(&mut self, event: &LogRow) {
        match event.kind.as_str() {
            "message.received" => self.spoke(event.at),
            // The system's own messages are nobody's.
            "message.sent" if event.role.as_deref().is_some_and(|role| role != "system") => {
                self.spoke(event.at);
            }
            "turn.completed" => {
                let document = event.data.as_deref().and_then(|data| serde_json::from_str(data).ok());
                if let Some(Document { turn }) = document {
                    self.unanswered += i64::from(turn.outcome == Some(Outcome::Unanswered));
                    self.answered(&turn);
                }
            }
            "handover.requested" => self.handovers += 1,
            "handover.accepted" => self.accepted = true,
            _ => {}
        }
    }

    fn spoke(&mut self, at: Timestamp) {
        self.messages += 1;
        self.spoken = Some(self.spoken.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
    }

    /// Counts how long a turn took.
    pub(super) fn answered(&mut self, turn: &CompletedTurn) {
        let since = |at: Timestamp| at.0 - turn.queued_at.0;
        if let Some(at) = turn.first_token_at {
            self.first_tokens.record(since(at));
        }
        if let Some(at) = turn.completed_at {
            self.answers.record(since(at));
        }
    }

    /// From the first message to the last.
    #[must_use]
    pub fn duration_ms(&self) -> i64 {
        self.spoken.map_or(0, |(first, last)| last.0 - first.0)
    }

    /// What it adds to the sums of its day, channel and topic.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally {
            first_tokens: self.first_tokens.clone(),
            answers: self.answers.clone(),
            ..Tally::default()
        };
        let completed = self.completed_at.is_some();
        let numbers = &mut tally.numbers;
        numbers.conversations = 1;
        numbers.messages = self.messages;
        numbers.unanswered = self.unanswered;
        numbers.handovers = i64::from(self.handovers > 0);
        if completed {
            numbers.completed = 1;
            numbers.resolved = i64::from(self.resolution.as_deref() == Some("resolved"));
            numbers.duration_ms = self.duration_ms();
            numbers.contained = i64::from(!self.accepted);
        }
        let rated = self.rating.and_then(|score| usize::try_from(score - 1).ok());
        if let Some(count) = rated.and_then(|place| numbers.ratings.get_mut(place)) {
            *count = 1;
        }
        tally
    }
}

impl CompletedTurn {
    /// Of which only its times are known.
    pub(super) fn of_times(
        queued_at: Timestamp,
        first_token_at: Option<Timestamp>,
        completed_at: Option<Timestamp>,
    ) -> Self {
        Self { queued_at, first_token_at, completed_at, outcome: None }
    }
}
