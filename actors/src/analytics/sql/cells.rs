//! Rows of sums: the cells of local days, and the time zones that they are kept up for.

use sqlx::{AssertSqlSafe, FromRow};

use super::{ASKED_AT_ONCE, corrupt, places};
use crate::{
    analytics::tally::Tally,
    clock::Timestamp,
    ids::OrgId,
    on_pool,
    store::{Attempting, Store, StoreError},
    writer::{Op, Table},
};

static CELLS: Table = Table {
    into: "analytics_cells (org_id, zone, day, channel, topic, tally)",
    columns: 6,
    key: 5,
    on_conflict: "ON CONFLICT (org_id, zone, day, channel, topic) DO UPDATE SET tally = excluded.tally",
};

static ZONES: Table = Table {
    into: "analytics_zones (org_id, zone, built_through, complete, used_at)",
    columns: 5,
    key: 2,
    on_conflict: "ON CONFLICT (org_id, zone) DO UPDATE SET built_through = excluded.built_through, \
                  complete = excluded.complete, used_at = excluded.used_at",
};

/// A day, a channel and a topic (`''` is none).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::analytics) struct Place {
    pub(in crate::analytics) day: i64,
    pub(in crate::analytics) channel: String,
    pub(in crate::analytics) topic: String,
}

/// A time zone that an organization asks in.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(in crate::analytics) struct ZoneRow {
    pub(in crate::analytics) org_id: OrgId,
    pub(in crate::analytics) zone: String,
    pub(in crate::analytics) built_through: String,
    pub(in crate::analytics) complete: i64,
    pub(in crate::analytics) used_at: Timestamp,
}

/// All time zones of all organizations: a few each.
pub(in crate::analytics) async fn zones(store: &Store) -> Result<Vec<ZoneRow>, StoreError> {
    const SELECT: &str = "SELECT org_id, zone, built_through, complete, used_at FROM analytics_zones";
    on_pool!(store, |pool| sqlx::query_as(SELECT).fetch_all(pool).await).attempting("read time zones")
}

pub(in crate::analytics) fn put_zone(op: &mut Op, row: &ZoneRow) {
    op.insert(
        &ZONES,
        vec![
            row.org_id.into(),
            row.zone.as_str().into(),
            row.built_through.as_str().into(),
            row.complete.into(),
            row.used_at.into(),
        ],
    );
}

/// No longer keeps up a time zone.
pub(in crate::analytics) fn drop_zone(op: &mut Op, org: OrgId, zone: &str) {
    const STATEMENTS: [&str; 2] = [
        "DELETE FROM analytics_zones WHERE org_id = $1 AND zone = $2",
        "DELETE FROM analytics_cells WHERE org_id = $1 AND zone = $2",
    ];
    for statement in STATEMENTS {
        op.run(statement, vec![org.into(), zone.into()]);
    }
}

pub(in crate::analytics) fn put(op: &mut Op, (org, zone): (OrgId, &str), place: &Place, tally: &Tally) {
    op.insert(
        &CELLS,
        vec![
            org.into(),
            zone.into(),
            place.day.into(),
            place.channel.as_str().into(),
            place.topic.as_str().into(),
            tally.to_string().into(),
        ],
    );
}

#[derive(FromRow)]
struct CellRow {
    day: i64,
    channel: String,
    topic: String,
    tally: String,
}

fn read(rows: Vec<CellRow>) -> Result<Vec<(Place, Tally)>, StoreError> {
    let read = |row: CellRow| {
        let tally = Tally::parse(&row.tally).ok_or_else(|| corrupt("tally"))?;
        Ok((Place { day: row.day, channel: row.channel, topic: row.topic }, tally))
    };
    rows.into_iter().map(read).collect::<Result<_, sqlx::Error>>().attempting("read sums")
}

/// The cells at these places, as far as they are there.
pub(in crate::analytics) async fn at(
    store: &Store,
    (org, zone): (OrgId, &str),
    wanted: &[Place],
) -> Result<Vec<(Place, Tally)>, StoreError> {
    let mut all = Vec::new();
    for wanted in wanted.chunks(ASKED_AT_ONCE) {
        let select = format!(
            "SELECT day, channel, topic, tally FROM analytics_cells
             WHERE org_id = $1 AND zone = $2 AND (day, channel, topic) IN (VALUES {})",
            places(wanted.len(), 3, 3)
        );
        let rows: Vec<CellRow> = on_pool!(store, |pool| {
            let mut query = sqlx::query_as(AssertSqlSafe(select)).bind(org).bind(zone);
            for place in wanted {
                query = query.bind(place.day).bind(&place.channel).bind(&place.topic);
            }
            query.fetch_all(pool).await
        })
        .attempting("read sums")?;
        all.extend(read(rows)?);
    }
    Ok(all)
}

/// The cells of a time zone between two days, both included, in order, from after a place on.
pub(in crate::analytics) async fn between(
    store: &Store,
    (org, zone): (OrgId, &str),
    (from, to): (i64, i64),
    after: Option<&Place>,
    limit: i64,
) -> Result<Vec<(Place, Tally)>, StoreError> {
    const SELECT: &str = "
        SELECT day, channel, topic, tally FROM analytics_cells
        WHERE org_id = $1 AND zone = $2 AND (day, channel, topic) > ($3, $4, $5) AND day <= $6
        ORDER BY day, channel, topic LIMIT $7";
    // No channel is named '', so this comes before all of the first day.
    let (day, channel, topic) =
        after.map_or((from, "", ""), |place| (place.day, place.channel.as_str(), place.topic.as_str()));
    let rows: Vec<CellRow> = on_pool!(store, |pool| sqlx::query_as(SELECT)
        .bind(org)
        .bind(zone)
        .bind(day)
        .bind(channel)
        .bind(topic)
        .bind(to)
        .bind(limit)
        .fetch_all(pool)
        .await)
    .attempting("read sums")?;
    read(rows)
}

/// Are there cells of that time zone?
pub(in crate::analytics) async fn any(store: &Store, (org, zone): (OrgId, &str)) -> Result<bool, StoreError> {
    const SELECT: &str = "
        SELECT COUNT(*) FROM (SELECT day FROM analytics_cells WHERE org_id = $1 AND zone = $2 LIMIT 1) AS any_left";
    let count: i64 =
        on_pool!(store, |pool| sqlx::query_scalar(SELECT).bind(org).bind(zone).fetch_one(pool).await)
            .attempting("look for sums")?;
    Ok(count > 0)
}

/// Drops the first days of a time zone: other writers wait for it.
pub(in crate::analytics) fn drop_some(op: &mut Op, org: OrgId, zone: &str) {
    const DELETE: &str = "
        DELETE FROM analytics_cells WHERE org_id = $1 AND zone = $2 AND day <= (
            SELECT MIN(day) + 7 FROM analytics_cells WHERE org_id = $1 AND zone = $2)";
    op.run(DELETE, vec![org.into(), zone.into()]);
}
