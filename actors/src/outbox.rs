//! The outbox: an event and what is to be delivered of it are written in the transaction that caused them.
//!
//! Every writer knows the webhooks there are. Whoever makes an event passes it through [`Outbox::publish`], which adds
//! to the same op one delivery per matching webhook and, once, the bytes that all of them send. Nothing is read for it,
//! and where an organization has no webhook nothing is rendered. Whether a webhook is enabled decides not what is
//! written but when it is sent, so switching it on and off cannot miss an event.
//!
//! A webhook that is made or changed through this process is known here before its client is answered. Other processes
//! on the same database notice within a second ([`Outbox::refresh`]).

mod filters;
mod registry;
mod sql;

use std::sync::Arc;

use bytes::Bytes;

pub use self::{
    filters::{EventPattern, Filters, Place, UnknownEvent, stored_filters},
    registry::{Changing, Nudge, Subscription},
    sql::{erase_conversation, grow_stream, note_change, put_body_again, put_delivery, stream_length},
};
use crate::{
    event::EventRow,
    ids::{ConversationId, OrgId, WebhookId},
    writer::Op,
};

/// See the module. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Outbox(Arc<registry::Shared>);

impl Outbox {
    /// Adds an event to the op that causes it, with what is to be delivered of it. `body` makes the bytes that
    /// webhooks get; it is asked only if one matches.
    pub fn publish(
        &self,
        op: &mut Op,
        event: EventRow,
        place: Option<Place<'_>>,
        body: impl FnOnce(&EventRow) -> Option<Bytes>,
    ) {
        self.publish_to_others(op, event, place, None, body);
    }

    /// The same, where one webhook is not told.
    pub fn publish_to_others(
        &self,
        op: &mut Op,
        event: EventRow,
        place: Option<Place<'_>>,
        not_told: Option<WebhookId>,
        body: impl FnOnce(&EventRow) -> Option<Bytes>,
    ) {
        if !self.is_empty() && event.kind.is_told_to_webhooks() {
            let mut matching = self.matching(event.org, event.kind.as_str(), place);
            matching.retain(|webhook| Some(*webhook) != not_told);
            if !matching.is_empty()
                && let Some(body) = body(&event)
            {
                self.deliver(op, &event, &body, matching);
            }
        }
        op.events.push(event);
    }

    fn deliver(&self, op: &mut Op, event: &EventRow, body: &Bytes, matching: Vec<WebhookId>) {
        // JSON is UTF-8.
        let Ok(body) = std::str::from_utf8(body) else { return };
        sql::put_body(op, event, body);
        for webhook in matching {
            put_delivery(op, webhook, &Announced::of(event), Origin::Event, event.at.0);
            self.nudge(op, event.org, webhook);
        }
    }
}

fn conversation_of(event: &EventRow) -> String {
    event.stream_id.parse::<ConversationId>().map(|id| id.to_string()).unwrap_or_default()
}

/// Why something is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It happened.
    Event,
    /// Somebody asked for it again.
    Redelivery,
    /// Somebody asked for all of a time.
    Replay,
}

impl Origin {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Redelivery => "redelivery",
            Self::Replay => "replay",
        }
    }
}

/// What a delivery says of its event.
#[derive(Debug, Clone)]
pub struct Announced {
    /// Whose.
    pub org: OrgId,
    /// Which event.
    pub event: String,
    /// Its type.
    pub kind: String,
    /// Its conversation, or empty.
    pub conversation: String,
    /// Its place there.
    pub sequence: i64,
}

impl Announced {
    fn of(event: &EventRow) -> Self {
        Self {
            org: event.org,
            event: event.id.to_string(),
            kind: event.kind.as_str().to_owned(),
            conversation: conversation_of(event),
            sequence: event.sequence,
        }
    }
}
