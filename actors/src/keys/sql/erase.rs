//! Everything of an organization, table by table.

use crate::{
    ids::OrgId,
    on_pool, outbox,
    store::{Attempting, Store, StoreError},
    writer::Op,
};

/// Ends all access to the organization at once.
pub(in super::super) fn end_access(op: &mut Op, org: OrgId) {
    const STATEMENTS: &[&str] = &[
        // What requests of its keys left behind; an idempotency row's scope is its credential.
        "DELETE FROM idempotency WHERE scope IN (SELECT id FROM keys WHERE org_id = $1)",
        "DELETE FROM rate_logs WHERE key_id IN (SELECT id FROM keys WHERE org_id = $1)",
        "DELETE FROM key_secrets WHERE org_id = $1",
        "DELETE FROM keys WHERE org_id = $1",
    ];
    for statement in STATEMENTS {
        op.run(statement, vec![org.into()]);
    }
}

/// How many conversations are erased in one commit: other writers wait for it.
const ERASED_AT_ONCE: i64 = 200;

/// What hangs on a conversation, then the conversations themselves. Every folder that keeps something of a
/// conversation adds its table here.
const ERASE_CONVERSATIONS: &[&str] = &[
    "DELETE FROM open_conversations WHERE conversation_id IN (
        SELECT id FROM conversations WHERE org_id = $1 ORDER BY id LIMIT $2)",
    "DELETE FROM handovers WHERE conversation_id IN (
        SELECT id FROM conversations WHERE org_id = $1 ORDER BY id LIMIT $2)",
    "DELETE FROM client_ids WHERE conversation_id IN (
        SELECT id FROM conversations WHERE org_id = $1 ORDER BY id LIMIT $2)",
    "DELETE FROM unanswered WHERE conversation_id IN (
        SELECT id FROM conversations WHERE org_id = $1 ORDER BY id LIMIT $2)",
    "DELETE FROM messages WHERE conversation_id IN (
        SELECT id FROM conversations WHERE org_id = $1 ORDER BY id LIMIT $2)",
    "DELETE FROM turns WHERE conversation_id IN (
        SELECT id FROM conversations WHERE org_id = $1 ORDER BY id LIMIT $2)",
    "DELETE FROM events WHERE stream_id IN (
        SELECT id FROM conversations WHERE org_id = $1 ORDER BY id LIMIT $2)",
    "DELETE FROM idempotency WHERE conversation_id <> '' AND conversation_id IN (
        SELECT id FROM conversations WHERE org_id = $1 ORDER BY id LIMIT $2)",
    "DELETE FROM webhook_bodies WHERE conversation_id <> '' AND conversation_id IN (
        SELECT id FROM conversations WHERE org_id = $1 ORDER BY id LIMIT $2)",
    "UPDATE webhook_deliveries SET state = 'cancelled' WHERE state = 'pending' AND conversation_id IN (
        SELECT id FROM conversations WHERE org_id = $1 ORDER BY id LIMIT $2)",
    "DELETE FROM conversation_facts WHERE org_id = $1 AND conversation_id IN (
        SELECT id FROM conversations WHERE org_id = $1 ORDER BY id LIMIT $2)",
    "DELETE FROM conversations WHERE org_id = $1 AND id IN (
        SELECT id FROM conversations WHERE org_id = $1 ORDER BY id LIMIT $2)",
];

/// What hangs on the organization, then the organization itself. Every folder that keeps something of an
/// organization adds its table here. Whole tables are looked through: something that was being answered when the
/// access ended may have come in last.
const ERASE_ORGANIZATION: &[&str] = &[
    "DELETE FROM open_conversations WHERE org_id = $1",
    "DELETE FROM webhook_replays WHERE org_id = $1",
    "DELETE FROM handovers WHERE org_id = $1",
    "DELETE FROM stream_tickets WHERE org_id = $1",
    "DELETE FROM webhook_attempts WHERE org_id = $1",
    "DELETE FROM webhook_deliveries WHERE org_id = $1",
    "DELETE FROM webhook_bodies WHERE org_id = $1",
    "DELETE FROM webhooks WHERE org_id = $1",
    "DELETE FROM client_ids WHERE org_id = $1",
    "DELETE FROM unanswered WHERE org_id = $1",
    "DELETE FROM messages WHERE org_id = $1",
    "DELETE FROM turns WHERE org_id = $1",
    "DELETE FROM events WHERE org_id = $1",
    "DELETE FROM conversations WHERE org_id = $1",
    "DELETE FROM embeddings WHERE org_id = $1",
    "DELETE FROM articles WHERE org_id = $1",
    "DELETE FROM article_states WHERE org_id = $1",
    "DELETE FROM knowledge_heads WHERE org_id = $1",
    "DELETE FROM import_errors WHERE org_id = $1",
    "DELETE FROM imports WHERE org_id = $1",
    "DELETE FROM organization_streams WHERE org_id = $1",
    "DELETE FROM customer_erasures WHERE org_id = $1",
    "DELETE FROM audit_log WHERE org_id = $1",
    // A fold that is under way has read what is gone now: moving its cursor's version makes it read anew.
    "UPDATE analytics_cursor SET version = version + 1 WHERE id = 1 AND $1 <> ''",
    "DELETE FROM conversation_facts WHERE org_id = $1",
    "DELETE FROM analytics_cells WHERE org_id = $1",
    "DELETE FROM analytics_zones WHERE org_id = $1",
    "DELETE FROM erased_conversations WHERE org_id = $1",
    "DELETE FROM erased_turns WHERE org_id = $1",
    "DELETE FROM organizations WHERE id = $1",
];

/// Erases the first conversations of `org` with all that hangs on them.
pub(in super::super) fn some_conversations(op: &mut Op, org: OrgId) {
    for statement in ERASE_CONVERSATIONS {
        op.run(statement, vec![org.into(), ERASED_AT_ONCE.into()]);
    }
}

/// Erases the rest of `org`.
pub(in super::super) fn the_rest(op: &mut Op, org: OrgId) {
    for statement in ERASE_ORGANIZATION {
        op.run(statement, vec![org.into()]);
    }
    outbox::note_change(op);
}

/// Are there conversations of `org`?
pub(in super::super) async fn has_conversations(store: &Store, org: OrgId) -> Result<bool, StoreError> {
    const SELECT: &str =
        "SELECT COUNT(*) FROM (SELECT id FROM conversations WHERE org_id = $1 LIMIT 1) AS any_left";
    let count: Result<i64, _> =
        on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(org).fetch_one(pool).await);
    Ok(count.attempting("look for conversations")? > 0)
}
