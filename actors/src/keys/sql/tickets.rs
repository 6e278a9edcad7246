//! Stream tickets that were used.

use crate::{
    clock::Timestamp,
    ids::KeyId,
    keys::Ticket,
    on_pool,
    store::{Attempting, Store, StoreError},
    writer::Op,
};

pub(in super::super) fn used(op: &mut Op, ticket: &Ticket) {
    const INSERT: &str =
        "INSERT INTO stream_tickets (id, org_id, made_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
    op.run(INSERT, vec![ticket.id.into(), ticket.org.into(), ticket.made_at.into()]);
}

pub(in super::super) async fn is_used(store: &Store, id: KeyId) -> Result<bool, StoreError> {
    const SELECT: &str = "SELECT COUNT(*) FROM stream_tickets WHERE id = $1";
    let count: Result<i64, _> =
        on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(id).fetch_one(pool).await);
    Ok(count.attempting("look for a ticket")? > 0)
}

pub(in super::super) fn forget(op: &mut Op, made_before: Timestamp) {
    op.run("DELETE FROM stream_tickets WHERE made_at < $1", vec![made_before.into()]);
}
