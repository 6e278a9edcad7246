//! Events read back from the log by where they stand, of conversations and of organizations alike.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sqlx::AssertSqlSafe;

use super::{EVENTS_WITH_MESSAGES, rows::EventWithMessage};
use crate::{
    event::LogPlace,
    ids::EventId,
    on_pool,
    store::{Attempting, Store, StoreError},
};

/// The events at these places, each as the one JSON object that it is everywhere. What was erased is left out.
///
/// # Errors
/// The store failed.
#[must_use]
pub fn rendered(
    store: Store,
    places: Vec<LogPlace>,
) -> BoxFuture<'static, Result<HashMap<EventId, Bytes>, StoreError>> {
    Box::pin(async move {
        if places.is_empty() {
            return Ok(HashMap::new());
        }
        let pair = |at: usize| format!("(${}, ${})", 2 * at + 1, 2 * at + 2);
        let pairs: Vec<String> = (0..places.len()).map(pair).collect();
        let select = format!(
            "{EVENTS_WITH_MESSAGES} WHERE (e.stream_id, e.sequence) IN (VALUES {})",
            pairs.join(", ")
        );
        let rows: Vec<EventWithMessage> = on_pool!(&store, |pool| {
            let mut query = sqlx::query_as(AssertSqlSafe(select));
            for (stream, sequence) in places {
                query = query.bind(stream).bind(sequence);
            }
            query.fetch_all(pool).await
        })
        .attempting("read events")?;
        let render = |row: EventWithMessage| Ok::<_, sqlx::Error>((row.id(), row.into_event()?.json));
        rows.into_iter().map(render).collect::<Result<_, _>>().attempting("read an event")
    })
}
