//! Whether the conversation of a kept answer is still there.

use crate::{
    ids::{ConversationId, OrgId},
    on_pool,
    store::{Attempting, Store, StoreError},
};

pub(super) async fn exists(
    store: &Store,
    org: OrgId,
    conversation: ConversationId,
) -> Result<bool, StoreError> {
    const SELECT: &str = "SELECT id FROM conversations WHERE org_id = $1 AND id = $2";
    let row: Result<Option<ConversationId>, _> = on_pool!(store, |pool| sqlx::query_scalar(SELECT)
        .bind(org)
        .bind(conversation)
        .fetch_optional(pool)
        .await);
    Ok(row.attempting("look for the conversation of an answer")?.is_some())
}
