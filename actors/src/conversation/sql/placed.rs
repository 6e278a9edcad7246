//! The log of all conversations, in the order in which it was written.

use sqlx::{AssertSqlSafe, FromRow};

use super::rows::EventWithMessage;
use crate::{
    clock::Timestamp,
    event::{DurableEvent, EventKind},
    ids::OrgId,
    on_pool,
    store::{Attempting, Store, StoreError},
};

/// An event with its place in the log.
#[derive(Debug)]
pub struct PlacedEvent {
    /// Its number within its writer.
    pub position: i64,
    /// Whose it is.
    pub org: OrgId,
    /// When it happened.
    pub at: Timestamp,
    /// As it is shown.
    pub event: DurableEvent,
}

/// Which part of the log.
#[derive(Debug, Clone, Copy)]
pub struct Stretch<'a> {
    /// Of that writer.
    pub writer: i64,
    /// Later than that.
    pub after: i64,
    /// Up to and with that.
    pub through: i64,
    /// Of these organizations alone; of all if it is empty.
    pub orgs: &'a [OrgId],
    /// Of these kinds alone; of all if it is none.
    pub kinds: Option<&'a [EventKind]>,
}

#[derive(FromRow)]
struct PlacedRow {
    event_position: i64,
    #[sqlx(flatten)]
    row: EventWithMessage,
}

/// The first events of a stretch.
///
/// # Errors
/// The store failed.
pub async fn in_order(
    store: &Store,
    stretch: Stretch<'_>,
    limit: usize,
) -> Result<Vec<PlacedEvent>, StoreError> {
    let mut select = format!(
        "{} WHERE e.writer_id = $1 AND e.position > $2 AND e.position <= $3",
        super::EVENTS_WITH_MESSAGES
    );
    if !stretch.orgs.is_empty() {
        let places: Vec<String> = (5..5 + stretch.orgs.len()).map(|place| format!("${place}")).collect();
        select.push_str(&format!(" AND e.org_id IN ({})", places.join(",")));
    }
    if let Some(kinds) = stretch.kinds {
        // Names of our own, without a quote in them.
        let kinds: Vec<String> = kinds.iter().map(|kind| format!("'{}'", kind.as_str())).collect();
        select.push_str(&format!(" AND e.kind IN ({})", kinds.join(",")));
    }
    select.push_str(" ORDER BY e.position LIMIT $4");
    let rows: Vec<PlacedRow> = on_pool!(store, |pool| {
        let mut query = sqlx::query_as(AssertSqlSafe(select))
            .bind(stretch.writer)
            .bind(stretch.after)
            .bind(stretch.through)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        for org in stretch.orgs {
            query = query.bind(*org);
        }
        query.fetch_all(pool).await
    })
    .attempting("read the log")?;
    rows.into_iter().map(placed).collect::<Result<_, _>>().attempting("read an event")
}

fn placed(row: PlacedRow) -> Result<PlacedEvent, sqlx::Error> {
    let PlacedRow { event_position: position, row } = row;
    let (org, at) = (row.org_id, row.event_at);
    Ok(PlacedEvent { position, org, at, event: row.into_event()? })
}
