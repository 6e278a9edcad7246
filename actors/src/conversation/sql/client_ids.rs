//! Conversations by their clients' own ids: of each key its own.

use crate::{
    clock::Timestamp,
    conversation::messages::ConversationKey,
    ids::{ConversationId, KeyId, OrgId},
    on_pool,
    store::{Attempting, Store, StoreError},
    writer::{Row, Table},
};

static CLIENT_IDS: Table = Table {
    into: "client_ids (key_id, client_id, org_id, conversation_id, created_at)",
    columns: 5,
    key: 2,
    // Whoever comes second finds that the id is taken, and whose it is.
    on_conflict: "",
};

/// What remembers that a conversation is the one that its client calls `client_id`.
#[must_use]
pub fn row(key: KeyId, client_id: &str, (org, conversation): ConversationKey) -> Row {
    let values = vec![key.into(), client_id.into(), org.into(), conversation.into(), Timestamp::now().into()];
    Row { table: &CLIENT_IDS, values }
}

/// The conversation that clients of `key` call `client_id`.
///
/// # Errors
/// The store failed.
pub async fn find(
    store: &Store,
    org: OrgId,
    key: KeyId,
    client_id: &str,
) -> Result<Option<ConversationId>, StoreError> {
    const SELECT: &str =
        "SELECT conversation_id FROM client_ids WHERE key_id = $1 AND client_id = $2 AND org_id = $3";
    on_pool!(store, |pool| sqlx::query_scalar(SELECT)
        .bind(key)
        .bind(client_id)
        .bind(org)
        .fetch_optional(pool)
        .await)
    .attempting("find a conversation by its client's id")
}
