//! Identifiers: a kind, an underscore and 26 characters that sort by time of creation.
//!
//! The body is a UUIDv7 in Crockford's base 32 (lower case), so that ids of one kind sort as they were made,
//! in a database and in a log alike. An id is 16 bytes and `Copy`; the text form exists only at the edges.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use sqlx::{Database, Decode, Encode, Type, encode::IsNull, error::BoxDynError};
use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// 128 bits in groups of five, the first group holding the top three.
const BODY_LEN: usize = 26;

/// The text is not an id of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid identifier")]
pub struct MalformedId;

fn encode_body(value: u128) -> [u8; BODY_LEN] {
    let mut body = [0; BODY_LEN];
    for (place, slot) in body.iter_mut().enumerate() {
        let shift = 5 * (BODY_LEN - 1 - place);
        *slot = ALPHABET[(value >> shift) as usize & 31];
    }
    body
}

/// Only the one spelling that [`encode_body`] makes: two texts never name the same thing.
fn decode_body(body: &str) -> Result<u128, MalformedId> {
    if body.len() != BODY_LEN || body.as_bytes()[0] > b'7' {
        return Err(MalformedId);
    }
    body.bytes().try_fold(0u128, |value, byte| {
        let digit = ALPHABET.iter().position(|&known| known == byte).ok_or(MalformedId)?;
        Ok(value << 5 | digit as u128)
    })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// What stands before the body.
            pub const PREFIX: &'static str = $prefix;

            /// A new id, later in order than all that this process made before.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7().as_u128())
            }

            /// What sorts before every id that is made from that time on, and after those that were made earlier.
            #[must_use]
            pub fn edge_at(time: crate::clock::Timestamp) -> Self {
                // A UUIDv7 begins with 48 bits of milliseconds.
                Self((time.0.max(0) as u128) << 80)
            }

            /// Of a bare number: one that was taken out by [`as_u128`](Self::as_u128), or a hash.
            #[must_use]
            pub fn from_u128(number: u128) -> Self {
                Self(number)
            }

            /// The bare number, for hashing and for seeds.
            #[must_use]
            pub fn as_u128(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let body = encode_body(self.0);
                f.write_str($prefix)?;
                f.write_str(std::str::from_utf8(&body).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, MalformedId> {
                text.strip_prefix($prefix).ok_or(MalformedId).and_then(decode_body).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        // Read back from our own rows and documents; a client's id is parsed in the path, where malformed is 404.
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl<DB: Database> Type<DB> for $name
        where
            String: Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <String as Type<DB>>::type_info()
            }

            fn compatible(ty: &DB::TypeInfo) -> bool {
                <String as Type<DB>>::compatible(ty)
            }
        }

        impl<'q, DB: Database> Encode<'q, DB> for $name
        where
            String: Encode<'q, DB>,
        {
            fn encode_by_ref(&self, buf: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
                self.to_string().encode(buf)
            }
        }

        impl<'r, DB: Database> Decode<'r, DB> for $name
        where
            &'r str: Decode<'r, DB>,
        {
            fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
                Ok(<&str as Decode<DB>>::decode(value)?.parse()?)
            }
        }
    };
}

id!(
    /// An organization: the tenant that everything belongs to.
    OrgId,
    "org_"
);
id!(
    /// An API key.
    KeyId,
    "key_"
);
id!(
    /// A conversation.
    ConversationId,
    "conv_"
);
id!(
    /// A message of a conversation.
    MessageId,
    "msg_"
);
impl MessageId {
    /// The id of the reply to a turn, known before there is one: a turn has at most one, and clients that show it while
    /// it comes must be able to recognise it.
    #[must_use]
    pub fn of_reply_to(turn: TurnId) -> Self {
        // The last random bit turned: no id is drawn twice, so the neighbour of one is nobody's.
        Self(turn.0 ^ 1)
    }
}

id!(
    /// A turn: one attempt at answering.
    TurnId,
    "turn_"
);
id!(
    /// A handover to a person.
    HandoverId,
    "hdo_"
);
id!(
    /// A durable event.
    EventId,
    "evt_"
);
id!(
    /// An article of the knowledge base.
    ArticleId,
    "art_"
);
id!(
    /// An import of articles.
    ImportId,
    "imp_"
);
id!(
    /// A webhook: an endpoint that is told of events.
    WebhookId,
    "whk_"
);
id!(
    /// One event on its way to one webhook.
    DeliveryId,
    "dlv_"
);
id!(
    /// An entry of the audit log.
    AuditId,
    "aud_"
);
id!(
    /// A replay: what a webhook is sent once more.
    ReplayId,
    "rpl_"
);
id!(
    /// A request, as it stands in `X-Request-Id` and in logs.
    RequestId,
    "req_"
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_reads_back_as_itself_and_sorts_as_its_number(a: u128, b: u128) {
            let (left, right) = (ConversationId(a), ConversationId(b));
            prop_assert_eq!(left.to_string().parse(), Ok(left));
            prop_assert_eq!(left.to_string().cmp(&right.to_string()), a.cmp(&b));
        }
    }

    #[test]
    fn an_edge_lies_between_what_was_made_before_and_after() {
        let now = crate::clock::Timestamp::now();
        let made = ConversationId::generate();
        assert!(ConversationId::edge_at(now.plus_ms(-1)) < made);
        assert!(ConversationId::edge_at(now.plus_ms(60_000)) > made);
    }

    #[test]
    fn another_spelling_of_an_id_is_refused() {
        let id = ConversationId::generate().to_string();
        for other in [
            id.to_uppercase(),
            id.replace("conv_", "msg_"),
            format!("{id}0"),
            id[..id.len() - 1].to_owned(),
            format!("conv_8{}", &id[6..]),
            format!("conv_é{}", &id[7..]),
        ] {
            assert_eq!(other.parse::<ConversationId>(), Err(MalformedId), "{other}");
        }
    }
}
