//! Which types of events somebody asks for and may see.

use std::str::FromStr;

use crate::{
    event::EventKind,
    outbox::{EventPattern, UnknownEvent},
};

/// Some types, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// None: all.
    kinds: Option<Vec<EventKind>>,
}

/// A type, or a family of them: what webhooks take, and the types that only the log has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPattern(String);

impl FromStr for LogPattern {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        let of_the_log = |prefix: &str| EventKind::ALL.iter().any(|kind| kind.as_str().starts_with(prefix));
        let is_known = text.parse::<EventPattern>().is_ok()
            || match text.strip_suffix('*') {
                Some(prefix) => prefix.ends_with('.') && of_the_log(prefix),
                None => EventKind::parse(text).is_some(),
            };
        if is_known { Ok(Self(text.to_owned())) } else { Err(UnknownEvent) }
    }
}

impl LogPattern {
    fn matches(&self, kind: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => self.0 == kind,
        }
    }
}

impl Wanted {
    /// What one of the patterns matches, all if there is none, and `may_see` allows.
    pub fn new(patterns: &[LogPattern], may_see: impl Fn(EventKind) -> bool) -> Self {
        let asked = |kind: EventKind| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(kind.as_str()))
        };
        let kinds: Vec<EventKind> =
            EventKind::ALL.iter().copied().filter(|&kind| asked(kind) && may_see(kind)).collect();
        Self { kinds: (kinds.len() < EventKind::ALL.len()).then_some(kinds) }
    }

    /// Is it asked for?
    #[must_use]
    pub fn has(&self, kind: EventKind) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    }

    /// None: all.
    pub(super) fn kinds(&self) -> Option<&[EventKind]> {
        self.kinds.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(patterns: &[&str]) -> Wanted {
        let patterns: Vec<LogPattern> = patterns.iter().map(|text| text.parse().unwrap()).collect();
        Wanted::new(&patterns, |kind| !kind.as_str().starts_with("webhook."))
    }

    #[test]
    fn patterns_are_those_of_webhooks_and_of_turns() {
        assert!(wanted(&[]).has(EventKind::TurnCompleted));
        assert!(!wanted(&["*"]).has(EventKind::WebhookDisabled), "it may not be seen");
        assert!(wanted(&["turn.*", "message.sent"]).has(EventKind::MessageSent));
        assert!(!wanted(&["turn.*"]).has(EventKind::MessageSent));
        assert_eq!(wanted(&["webhook.*"]).kinds(), Some(&[][..]));
        for unknown in ["", "turn", "turn.", "tur*", "turn.done", "nothing.*", "Message.sent"] {
            assert!(unknown.parse::<LogPattern>().is_err(), "{unknown:?}");
        }
    }
}
