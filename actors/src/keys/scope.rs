//! What a key may do.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One permission. Write does not imply read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Scope {
            $($(#[$doc])* $name,)*
        }

        impl Scope {
            /// Every scope there is, in the order in which they are shown.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As it stands in requests and in the store.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The scope of that name.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

scopes! {
    /// Read conversations, messages, turns, events and streams.
    ConversationsRead = "conversations:read",
    /// Start conversations and write in them.
    ConversationsWrite = "conversations:write",
    /// Erase conversations and customers.
    ConversationsDelete = "conversations:delete",
    /// Read articles and search them.
    KnowledgeRead = "knowledge:read",
    /// Write and delete articles.
    KnowledgeWrite = "knowledge:write",
    /// Read figures.
    AnalyticsRead = "analytics:read",
    /// Read webhooks and their deliveries.
    WebhooksRead = "webhooks:read",
    /// Make and change webhooks.
    WebhooksWrite = "webhooks:write",
    /// Read keys, masked.
    KeysRead = "keys:read",
    /// Make, rotate and revoke keys, within what the key itself may do.
    KeysWrite = "keys:write",
    /// Read the organization's settings and its audit log.
    OrganizationRead = "organization:read",
    /// Change the organization's settings.
    OrganizationWrite = "organization:write",
    /// Act as a human agent.
    HandoverWrite = "handover:write",
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct ScopeSet(u16);

impl ScopeSet {
    /// No scope: what a new restricted key has.
    pub const NONE: Self = Self(0);

    /// Every scope: full access.
    #[must_use]
    pub fn all() -> Self {
        Scope::ALL.iter().copied().collect()
    }

    /// The set holds the scope.
    #[must_use]
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & Self::bit(scope) != 0
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The scopes in the order in which they are shown.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |&scope| self.contains(scope))
    }

    /// Reads what [`Display`](fmt::Display) wrote. A name that this version does not know grants nothing.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        text.split_whitespace().filter_map(Scope::parse).collect()
    }

    fn bit(scope: Scope) -> u16 {
        1 << scope as u16
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::NONE, |set, scope| Self(set.0 | Self::bit(scope)))
    }
}

/// Names with a space between them: how a set is stored.
impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, scope) in self.iter().enumerate() {
            let space = if place == 0 { "" } else { " " };
            write!(f, "{space}{scope}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Scope::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_stored_and_read_back_as_itself() {
        let some: ScopeSet = [Scope::KeysWrite, Scope::ConversationsRead].into_iter().collect();
        for set in [ScopeSet::NONE, some, ScopeSet::all()] {
            assert_eq!(ScopeSet::from_stored(&set.to_string()), set);
        }
        assert_eq!(some.to_string(), "conversations:read keys:write");
        assert_eq!(ScopeSet::all().iter().count(), Scope::ALL.len());
    }

    #[test]
    fn write_does_not_imply_read() {
        let writer: ScopeSet = [Scope::KnowledgeWrite].into_iter().collect();
        assert!(!writer.contains(Scope::KnowledgeRead));
    }
}
