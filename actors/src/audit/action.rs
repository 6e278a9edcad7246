//! What can be done, by name.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What was done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Action {$(
            $(#[$doc])*
            $name,
        )*}

        impl Action {
            /// All of them.
            const ALL: &[Self] = &[$(Self::$name,)*];

            /// As it is stored and shown.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {$(
                    Self::$name => $text,
                )*}
            }
        }
    };
}

actions! {
    /// A key was made.
    KeyCreated = "key.created",
    /// Fields of a key were changed.
    KeyChanged = "key.changed",
    /// A key got a new secret.
    KeyRotated = "key.rotated",
    /// A key was ended, or all secrets of a primary or secondary one.
    KeyRevoked = "key.revoked",
    /// The secret that a rotation replaced was ended before its grace.
    KeyPreviousEnded = "key.previous_ended",
    /// A webhook was made.
    WebhookCreated = "webhook.created",
    /// Fields of a webhook were changed.
    WebhookChanged = "webhook.changed",
    /// A webhook may be sent to again.
    WebhookEnabled = "webhook.enabled",
    /// A webhook may not be sent to any more.
    WebhookDisabled = "webhook.disabled",
    /// A webhook got a new secret.
    WebhookSecretRotated = "webhook.secret_rotated",
    /// A webhook was deleted.
    WebhookDeleted = "webhook.deleted",
    /// A person was asked for.
    HandoverRequested = "handover.requested",
    /// A person took over.
    HandoverAccepted = "handover.accepted",
    /// The person gave the conversation back.
    HandoverReturned = "handover.returned",
    /// The conversation was ended while the person had it.
    HandoverClosed = "handover.closed",
    /// Nobody is asked for any more.
    HandoverCancelled = "handover.cancelled",
    /// Nobody came in time.
    HandoverExpired = "handover.expired",
    /// A conversation was erased.
    ConversationErased = "conversation.erased",
    /// All conversations of a customer were erased.
    CustomerErased = "customer.erased",
    /// Conversations older than the organization keeps them were erased.
    ConversationsErased = "conversations.erased",
}

/// One action, or all that begin alike: `key.created`, `key.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionFilter {
    /// As `LIKE` takes it.
    pub(super) pattern: String,
}

/// The text names no action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must be an action, such as key.created, or a family of them, such as key.*")]
pub struct UnknownAction;

impl FromStr for ActionFilter {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        let is_known = |known: &Action| match text.strip_suffix('*') {
            Some(family) => family.ends_with('.') && known.as_str().starts_with(family),
            None => known.as_str() == text,
        };
        let known = Action::ALL.iter().any(is_known);
        // What stands for one character in a pattern is in our own names only as itself.
        known.then(|| Self { pattern: text.replace('*', "%") }).ok_or(UnknownAction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_asked_for_by_its_name_or_by_its_family() {
        let pattern = |text: &str| text.parse::<ActionFilter>().map(|filter| filter.pattern);
        assert_eq!(pattern("key.created").as_deref(), Ok("key.created"));
        assert_eq!(pattern("webhook.*").as_deref(), Ok("webhook.%"));
        for other in ["", "*", "key", "key*", "key.%", "keys.*", "key.created.*", "KEY.*"] {
            assert_eq!(pattern(other), Err(UnknownAction), "{other}");
        }
    }
}
