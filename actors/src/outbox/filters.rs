//! Which events a webhook is told of.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Every type that a webhook may ask for.
const TYPES: [&str; 17] = [
    "conversation.started",
    "conversation.updated",
    "conversation.reopened",
    "conversation.rated",
    "conversation.completed",
    "conversation.deleted",
    "message.received",
    "message.sent",
    "handover.requested",
    "handover.accepted",
    "handover.returned",
    "handover.closed",
    "handover.expired",
    "handover.cancelled",
    "knowledge.indexed",
    "knowledge.failed",
    "webhook.disabled",
];

/// Which events: `*`, `handover.*`, or one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventPattern(String);

/// The text names no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be *, a family such as handover.*, or one of the types of events")]
pub struct UnknownEvent;

impl FromStr for EventPattern {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        let is_known = match text.strip_suffix('*') {
            Some(prefix) => {
                prefix.is_empty()
                    || prefix.ends_with('.') && TYPES.iter().any(|known| known.starts_with(prefix))
            }
            None => TYPES.contains(&text),
        };
        if is_known { Ok(Self(text.to_owned())) } else { Err(UnknownEvent) }
    }
}

impl TryFrom<String> for EventPattern {
    type Error = UnknownEvent;

    fn try_from(text: String) -> Result<Self, UnknownEvent> {
        text.parse()
    }
}

impl From<EventPattern> for String {
    fn from(pattern: EventPattern) -> Self {
        pattern.0
    }
}

impl EventPattern {
    /// Is it about events of that type?
    #[must_use]
    pub fn matches(&self, kind: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => self.0 == kind,
        }
    }
}

/// Which events a webhook is told of. An empty list lets all pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filters {
    /// Of these types.
    pub events: Vec<EventPattern>,
    /// Of conversations that take place there.
    pub channels: Vec<String>,
    /// Of conversations about that.
    pub topics: Vec<String>,
}

/// Where a conversation takes place and what it is about.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its channel.
    pub channel: &'a str,
    /// Its topic, if it has one.
    pub topic: Option<&'a str>,
}

impl Filters {
    /// Does the event pass? One that belongs to no conversation has no place, and passes those filters.
    #[must_use]
    pub fn pass(&self, kind: &str, place: Option<Place<'_>>) -> bool {
        let by_type = self.events.is_empty() || self.events.iter().any(|pattern| pattern.matches(kind));
        let Some(Place { channel, topic }) = place else { return by_type };
        let has = |names: &[String], name: Option<&str>| {
            names.is_empty() || name.is_some_and(|name| names.iter().any(|known| known == name))
        };
        by_type && has(&self.channels, Some(channel)) && has(&self.topics, topic)
    }
}

/// The filters as they are stored.
///
/// # Errors
/// They are not what we write.
pub fn stored_filters(events: &str, channels: &str, topics: &str) -> Result<Filters, sqlx::Error> {
    let list = |text: &str| {
        serde_json::from_str::<Vec<String>>(text).map_err(|error| sqlx::Error::Decode(error.into()))
    };
    // A type that this version does not know matches nothing it makes.
    let events = list(events)?.into_iter().map(EventPattern).collect();
    Ok(Filters { events, channels: list(channels)?, topics: list(topics)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    #[test]
    fn a_pattern_is_all_a_family_or_a_type_that_exists() {
        for good in ["*", "handover.*", "conversation.*", "message.sent"] {
            assert!(good.parse::<EventPattern>().is_ok(), "{good}");
        }
        for bad in ["", "hand*", "turn.*", "turn.completed", "message", "message.sent.*", "MESSAGE.*", ".*"] {
            assert!(bad.parse::<EventPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn channel_and_topic_must_both_match_and_let_events_of_no_conversation_pass() {
        let filters = Filters {
            events: vec!["message.*".parse().unwrap(), "knowledge.*".parse().unwrap()],
            channels: vec!["web".to_owned()],
            topics: vec!["returns".to_owned()],
        };
        let place = |channel, topic| Some(Place { channel, topic });
        assert!(filters.pass("message.sent", place("web", Some("returns"))));
        assert!(!filters.pass("message.sent", place("web", None)));
        assert!(!filters.pass("message.sent", place("app", Some("returns"))));
        assert!(!filters.pass("conversation.started", place("web", Some("returns"))));
        assert!(filters.pass("knowledge.indexed", None));
        assert!(Filters::default().pass("conversation.started", place("app", None)));
    }

    #[test]
    fn every_type_that_is_told_can_be_asked_for() {
        for kind in TYPES {
            assert!(EventKind::parse(kind).is_some_and(EventKind::is_told_to_webhooks), "{kind}");
        }
    }
}
