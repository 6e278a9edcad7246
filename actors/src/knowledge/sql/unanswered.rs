//! The SQL of questions that were not answered. The conversations' folder writes and erases the rows.

use sqlx::FromRow;

use crate::clock::Timestamp;
use crate::ids::{ConversationId, OrgId, TurnId};
use crate::on_pool;
use crate::store::{Attempting, Store, StoreError};
use crate::writer::Op;

/// A question whose likeness is not known yet.
#[derive(Debug, FromRow)]
pub(in super::super) struct Unread {
    pub(in super::super) conversation_id: ConversationId,
    pub(in super::super) turn_id: TurnId,
    pub(in super::super) language: Option<String>,
    pub(in super::super) content: String,
}

/// Questions of `org` whose likeness is not known yet.
pub(in super::super) async fn unread(
    store: &Store,
    org: OrgId,
    limit: i64,
) -> Result<Vec<Unread>, StoreError> {
    const SELECT: &str = "
        SELECT u.conversation_id, u.turn_id, u.language, m.content
        FROM unanswered u JOIN messages m ON m.conversation_id = u.conversation_id AND m.id = u.message_id
        WHERE u.org_id = $1 AND u.likeness = '' LIMIT $2";
    on_pool!(store, |pool| sqlx::query_as(SELECT).bind(org).bind(limit).fetch_all(pool).await)
        .attempting("read unanswered questions")
}

/// Notes what a question is like.
pub(in super::super) fn note(op: &mut Op, unread: &Unread, likeness: &str) {
    op.run(
        "UPDATE unanswered SET likeness = $3 WHERE conversation_id = $1 AND turn_id = $2",
        vec![unread.conversation_id.into(), unread.turn_id.into(), likeness.into()],
    );
}

/// Like questions that were not answered.
#[derive(Debug, Clone, FromRow)]
pub struct Unanswered {
    /// What they have in common.
    pub likeness: String,
    /// The latest of them, as it was asked.
    pub question: String,
    /// How often they were asked.
    pub count: i64,
    /// Of the conversation that the latest was asked in, if known.
    pub language: Option<String>,
    /// That conversation.
    pub example_conversation_id: ConversationId,
    /// When it was asked first.
    pub first_asked_at: Timestamp,
    /// When it was asked last.
    pub last_asked_at: Timestamp,
}

macro_rules! list_sql {
    ($behind:literal, $order:literal) => {
        concat!(
            "SELECT g.likeness, m.content AS question, g.asked AS count, u.language,
                    u.conversation_id AS example_conversation_id, g.first_asked_at, g.last_asked_at
             FROM (
               SELECT likeness, COUNT(*) AS asked, MAX(turn_id) AS latest, MIN(asked_at) AS first_asked_at,
                      MAX(asked_at) AS last_asked_at
               FROM unanswered WHERE org_id = $1 AND likeness <> ''
               GROUP BY likeness
               HAVING $3 = '' OR COUNT(*) ",
            $behind,
            " $2 OR (COUNT(*) = $2 AND likeness ",
            $behind,
            " $3)
               ORDER BY asked ",
            $order,
            ", likeness ",
            $order,
            " LIMIT $4
             ) g
             JOIN unanswered u ON u.org_id = $1 AND u.likeness = g.likeness AND u.turn_id = g.latest
             JOIN messages m ON m.conversation_id = u.conversation_id AND m.id = u.message_id
             ORDER BY g.asked ",
            $order,
            ", g.likeness ",
            $order
        )
    };
}

/// The questions of `org`, behind one of such a count and likeness.
pub(in super::super) async fn list(
    store: &Store,
    org: OrgId,
    after: Option<(i64, String)>,
    ascending: bool,
    limit: i64,
) -> Result<Vec<Unanswered>, StoreError> {
    let select = if ascending { list_sql!(">", "ASC") } else { list_sql!("<", "DESC") };
    let (count, likeness) = after.unwrap_or_default();
    on_pool!(store, |pool| sqlx::query_as(select)
        .bind(org)
        .bind(count)
        .bind(likeness)
        .bind(limit)
        .fetch_all(pool)
        .await)
    .attempting("list unanswered questions")
}
