//! What keys hand out for browsers: client tokens and stream tickets.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::{
    client::{Client, ClientToken, OriginMark, Ticket},
    commands::KeyError,
    ring::{AuthError, KeyRing, Principal},
    scope::Scope,
    sql,
};
use crate::{
    clock::Timestamp,
    ids::{ConversationId, KeyId, OrgId},
    store::StoreError,
    writer::{Op, WriteError},
};

/// Requests of a customer's page in any 60 seconds: one every two seconds, by hand.
const CLIENT_QUOTA: NonZeroU32 = NonZeroU32::new(30).unwrap();

/// The number of a token's secret, which it has none of.
const NO_SECRET: i64 = 0;

impl KeyRing {
    /// The customer for whom that key stands, as long as any of its secrets holds.
    pub(super) async fn customer(
        &self,
        org: OrgId,
        key: KeyId,
        client: Client,
    ) -> Result<Option<Principal>, Arc<StoreError>> {
        let now = Timestamp::now();
        let key = self.record(key).await?.filter(|key| key.org == org && now < client.expires_at);
        let behind = key.and_then(|key| {
            let secret = key.live_secrets(now).next()?.number;
            self.principal(&key, secret, now)
        });
        Ok(behind.map(|behind| Principal {
            secret: NO_SECRET,
            scopes: [Scope::ConversationsRead, Scope::ConversationsWrite].into_iter().collect(),
            quota: Some(CLIENT_QUOTA),
            expires_at: Some(client.expires_at),
            client: Some(client),
            ..behind
        }))
    }

    /// A token for the customer of that conversation, and whom it stands for. It ends no later than the key behind it.
    /// One that a token asks for is counted together with it.
    ///
    /// # Errors
    /// The key has ended meanwhile, or the store is away.
    pub async fn client_token(
        &self,
        by: &Principal,
        conversation: ConversationId,
        ttl: Duration,
    ) -> Result<(String, Principal), AuthError> {
        let key = self.record(by.key).await?.ok_or(AuthError::Refused)?;
        let wanted = Timestamp::now().plus_ms(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
        let expires_at = key.expires_at.map_or(wanted, |end| end.min(wanted));
        let bucket = by.client.map_or_else(KeyId::generate, |client| client.bucket);
        let client = Client { conversation, bucket, expires_at };
        let customer = self.customer(by.org, by.key, client).await?.ok_or(AuthError::Refused)?;
        Ok((ClientToken { org: by.org, key: by.key, client }.text(&self.pepper), customer))
    }

    /// A ticket for the streams of that conversation, to be used from that origin.
    #[must_use]
    pub fn stream_ticket(
        &self,
        by: &Principal,
        conversation: ConversationId,
        origin: OriginMark,
    ) -> (String, Ticket) {
        let ticket = Ticket {
            id: KeyId::generate(),
            org: by.org,
            conversation,
            key: by.key,
            secret: by.secret,
            client: by.client.map(|client| client.bucket),
            made_at: Timestamp::now(),
            credential_ends_at: by.expires_at,
            origin,
        };
        (ticket.text(&self.pepper), ticket)
    }

    /// Reads a ticket; `None` is none of ours.
    #[must_use]
    pub fn read_ticket(&self, text: &str) -> Option<Ticket> {
        Ticket::read(&self.pepper, text)
    }

    /// Whom a ticket stands for by now; none once its credential has ended.
    ///
    /// # Errors
    /// The store is away.
    pub async fn holder(&self, ticket: &Ticket) -> Result<Option<Principal>, Arc<StoreError>> {
        let now = Timestamp::now();
        if ticket.credential_ends_at.is_some_and(|end| end <= now) {
            return Ok(None);
        }
        if let Some(bucket) = ticket.client {
            let expires_at = ticket.credential_ends_at.unwrap_or(now);
            let client = Client { conversation: ticket.conversation, bucket, expires_at };
            return self.customer(ticket.org, ticket.key, client).await;
        }
        let key = self.record(ticket.key).await?.filter(|key| key.org == ticket.org);
        Ok(key.and_then(|key| self.principal(&key, ticket.secret, now)))
    }

    /// Whose starts are counted together: a key's from one address. The address cannot be read out of it.
    #[must_use]
    pub fn bucket_of_address(&self, key: KeyId, address: &[u8]) -> KeyId {
        let mut text = key.as_u128().to_be_bytes().to_vec();
        text.extend_from_slice(address);
        let digest = self.pepper.digest(&text);
        let number = digest.first_chunk::<16>().copied().unwrap_or_default();
        KeyId::from_u128(u128::from_be_bytes(number))
    }

    /// Is the ticket one that was used before, or that may be used for the first time and now is? What is used is
    /// remembered.
    ///
    /// # Errors
    /// The store is away.
    pub async fn use_ticket(&self, ticket: &Ticket, may_begin: bool) -> Result<bool, KeyError> {
        if sql::tickets::is_used(&self.store, ticket.id).await? {
            return Ok(true);
        }
        if !may_begin {
            return Ok(false);
        }
        let mut op = Op::default();
        sql::tickets::used(&mut op, ticket);
        match self.writer.commit(op).await {
            // Two connections at once: both are its first.
            Ok(()) | Err(WriteError::Conflict) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets the use of tickets that were made before.
    ///
    /// # Errors
    /// The store is away.
    pub async fn forget_tickets(&self, made_before: Timestamp) -> Result<(), WriteError> {
        let mut op = Op::default();
        sql::tickets::forget(&mut op, made_before);
        self.writer.commit(op).await
    }
}
