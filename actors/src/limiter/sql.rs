//! The rows in which a clean stop leaves the logs.

use super::{Bucket, BucketId};
use crate::{
    clock::Timestamp,
    ids::KeyId,
    on_pool,
    store::{Attempting, Store, StoreError},
    writer::{Op, Table},
};

const RATE_LOGS: Table = Table {
    into: "rate_logs (node, bucket, key_id, admitted, saved_at)",
    columns: 5,
    key: 3,
    on_conflict: "",
};

/// Forgets what this node saved before.
pub(super) fn clear(op: &mut Op, node: &str) {
    const DELETE: &str = "DELETE FROM rate_logs WHERE node = $1";
    op.run(DELETE, vec![node.into()]);
}

/// Saves one bucket's log.
pub(super) fn insert(op: &mut Op, node: &str, id: BucketId, admitted: &[Timestamp], now: Timestamp) {
    let admitted = serde_json::Value::from_iter(admitted.iter().map(|at| at.0));
    op.insert(
        &RATE_LOGS,
        vec![node.into(), id.bucket.as_str().into(), id.key.into(), admitted.to_string().into(), now.into()],
    );
}

/// What this node saved. A row that cannot be read is left out: it would only have been stricter.
pub(super) async fn saved(store: &Store, node: &str) -> Result<Vec<(BucketId, Vec<Timestamp>)>, StoreError> {
    const SELECT: &str = "SELECT bucket, key_id, admitted FROM rate_logs WHERE node = $1";
    let rows: Result<Vec<(String, KeyId, String)>, _> =
        on_pool!(store, |pool| sqlx::query_as(SELECT).bind(node).fetch_all(pool).await);
    let log = |(bucket, key, admitted): (String, KeyId, String)| {
        let admitted: Vec<i64> = serde_json::from_str(&admitted).ok()?;
        let id = BucketId { bucket: Bucket::parse(&bucket)?, key };
        Some((id, admitted.into_iter().map(Timestamp).collect()))
    };
    Ok(rows.attempting("read the limiter's logs")?.into_iter().filter_map(log).collect())
}
