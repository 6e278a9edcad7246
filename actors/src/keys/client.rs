//! Tokens for browsers: they say themselves what they are for, under a seal that only this server can make.
//!
//! A *client token* acts as the customer of one conversation. A *stream ticket* opens its streams from a URL, where no
//! key is ever accepted. Nothing is stored for either, so a start costs no row for them; both end with the key that
//! stands behind them.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::pepper::Pepper;
use crate::{
    clock::Timestamp,
    ids::{ConversationId, KeyId, OrgId},
};

/// What client tokens are sealed for. Tickets have a purpose of their own, so that neither passes for the other.
const TOKENS: &str = "client tokens";
const TICKETS: &str = "stream tickets";

/// 128 bits: nobody guesses one over the network, and the text stays short enough for a URL.
const SEAL: usize = 16;

/// What a ticket begins with.
pub const TICKET_PREFIX: &str = "oc_st_";

/// What a client token begins with.
pub const CLIENT_TOKEN_PREFIX: &str = "oc_ct_";

/// Whom a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The only conversation that it opens.
    pub conversation: ConversationId,
    /// Whose requests are counted together: a token renews itself without getting another's worth.
    pub bucket: KeyId,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What a client token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientToken {
    pub(super) org: OrgId,
    /// The key that stands behind it.
    pub(super) key: KeyId,
    pub(super) client: Client,
}

/// Where a ticket may be used from: a digest of the origin, so that the text keeps its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginMark([u8; SEAL]);

impl OriginMark {
    /// That of an origin; this server's own is the empty one.
    #[must_use]
    pub fn of(origin: &str) -> Self {
        let mut mark = [0; SEAL];
        mark.copy_from_slice(&Sha256::digest(origin.as_bytes())[..SEAL]);
        Self(mark)
    }
}

/// What a stream ticket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// This very ticket.
    pub id: KeyId,
    /// Whose conversation.
    pub org: OrgId,
    /// The only one that it opens.
    pub conversation: ConversationId,
    /// The key that stands behind it.
    pub key: KeyId,
    /// Which secret of that key asked for it; 0 for a client token.
    pub secret: i64,
    /// Whose streams are counted together, if a client token asked for it.
    pub client: Option<KeyId>,
    /// Since when.
    pub made_at: Timestamp,
    /// When the credential that asked for it ends; none is never.
    pub credential_ends_at: Option<Timestamp>,
    /// The only origin that may use it.
    pub origin: OriginMark,
}

impl ClientToken {
    pub(super) fn text(&self, pepper: &Pepper) -> String {
        let mut says = Fields::default();
        says.number(self.org.as_u128()).number(self.key.as_u128());
        says.number(self.client.conversation.as_u128()).number(self.client.bucket.as_u128());
        says.time(self.client.expires_at.0);
        sealed(pepper, CLIENT_TOKEN_PREFIX, TOKENS, &says.0)
    }

    /// Reads what a client presented; `None` is no token of ours. Whether it has ended is not asked here.
    pub(super) fn read(pepper: &Pepper, text: &str) -> Option<Self> {
        let says = opened(pepper, text.strip_prefix(CLIENT_TOKEN_PREFIX)?, TOKENS)?;
        let mut says = Reading(&says);
        let (org, key) = (OrgId::from_u128(says.number()?), KeyId::from_u128(says.number()?));
        let conversation = ConversationId::from_u128(says.number()?);
        let bucket = KeyId::from_u128(says.number()?);
        let expires_at = Timestamp(says.time()?);
        says.is_empty().then_some(Self { org, key, client: Client { conversation, bucket, expires_at } })
    }
}

impl Ticket {
    pub(super) fn text(&self, pepper: &Pepper) -> String {
        let mut says = Fields::default();
        says.number(self.id.as_u128()).number(self.org.as_u128()).number(self.conversation.as_u128());
        says.number(self.key.as_u128()).time(self.secret).number(self.client.map_or(0, KeyId::as_u128));
        says.time(self.made_at.0).time(self.credential_ends_at.map_or(0, |end| end.0));
        says.0.extend_from_slice(&self.origin.0);
        sealed(pepper, TICKET_PREFIX, TICKETS, &says.0)
    }

    pub(super) fn read(pepper: &Pepper, text: &str) -> Option<Self> {
        let says = opened(pepper, text.strip_prefix(TICKET_PREFIX)?, TICKETS)?;
        let mut says = Reading(&says);
        let (id, org) = (KeyId::from_u128(says.number()?), OrgId::from_u128(says.number()?));
        let (conversation, key) =
            (ConversationId::from_u128(says.number()?), KeyId::from_u128(says.number()?));
        let secret = says.time()?;
        let client = Some(says.number()?).filter(|&client| client != 0).map(KeyId::from_u128);
        let made_at = Timestamp(says.time()?);
        let credential_ends_at = Some(says.time()?).filter(|&end| end != 0).map(Timestamp);
        let origin = OriginMark(says.take()?);
        let ticket = Self { id, org, conversation, key, secret, client, made_at, credential_ends_at, origin };
        says.is_empty().then_some(ticket)
    }
}

/// The fields of a token, one after the other.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn number(&mut self, number: u128) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn time(&mut self, time: i64) -> &mut Self {
        self.0.extend_from_slice(&time.to_be_bytes());
        self
    }
}

struct Reading<'a>(&'a [u8]);

impl Reading<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u128> {
        self.take().map(u128::from_be_bytes)
    }

    fn time(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The pepper's version, what is said, the seal; in letters that a URL takes as they are.
fn sealed(pepper: &Pepper, prefix: &str, purpose: &str, says: &[u8]) -> String {
    let version = pepper.current();
    let mut bytes = version.to_be_bytes().to_vec();
    bytes.extend_from_slice(says);
    let seal = seal(pepper, version, purpose, says).unwrap_or_default();
    bytes.extend_from_slice(&seal);
    format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

fn opened(pepper: &Pepper, text: &str, purpose: &str) -> Option<Vec<u8>> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    let (version, rest) = bytes.split_first_chunk::<8>()?;
    let (says, presented) = rest.split_last_chunk::<SEAL>()?;
    let seal = seal(pepper, i64::from_be_bytes(*version), purpose, says)?;
    bool::from(seal.ct_eq(presented)).then(|| says.to_vec())
}

fn seal(pepper: &Pepper, version: i64, purpose: &str, says: &[u8]) -> Option<[u8; SEAL]> {
    let key = pepper.key_for(version, purpose)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(says);
    let whole: [u8; 32] = mac.finalize().into_bytes().into();
    whole.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pepper() -> Pepper {
        Pepper::open(tempfile::tempdir().unwrap().path()).unwrap()
    }

    fn token() -> ClientToken {
        let client = Client {
            conversation: ConversationId::generate(),
            bucket: KeyId::generate(),
            expires_at: Timestamp(1_800_000_000_000),
        };
        ClientToken { org: OrgId::generate(), key: KeyId::generate(), client }
    }

    fn ticket() -> Ticket {
        Ticket {
            id: KeyId::generate(),
            org: OrgId::generate(),
            conversation: ConversationId::generate(),
            key: KeyId::generate(),
            secret: 3,
            client: None,
            made_at: Timestamp(1_790_000_000_000),
            credential_ends_at: Some(Timestamp(1_800_000_000_000)),
            origin: OriginMark::of("https://shop.example"),
        }
    }

    #[test]
    fn what_is_sealed_is_read_back_and_nothing_else_is() {
        let (pepper, stranger) = (pepper(), pepper());
        let (token, ticket) = (token(), ticket());
        let (text, ticket_text) = (token.text(&pepper), ticket.text(&pepper));
        assert_eq!(ClientToken::read(&pepper, &text), Some(token));
        assert_eq!(Ticket::read(&pepper, &ticket_text), Some(ticket));
        let by_client = Ticket { client: Some(KeyId::generate()), credential_ends_at: None, ..ticket };
        assert_eq!(Ticket::read(&pepper, &by_client.text(&pepper)), Some(by_client));
        assert!(
            text.bytes()
                .chain(ticket_text.bytes())
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        );
        // Of another server, of the other kind, cut, or one letter changed anywhere.
        assert_eq!(ClientToken::read(&stranger, &text), None);
        let body = &ticket_text[TICKET_PREFIX.len()..];
        assert_eq!(ClientToken::read(&pepper, &format!("{CLIENT_TOKEN_PREFIX}{body}")), None);
        for at in CLIENT_TOKEN_PREFIX.len()..text.len() {
            assert_eq!(ClientToken::read(&pepper, &text[..at]), None);
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(ClientToken::read(&pepper, std::str::from_utf8(&changed).unwrap()), None, "{at}");
        }
    }
}
