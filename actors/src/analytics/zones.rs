//! Time zones: built when somebody first asks in one, kept up from then on, given up when others are asked in.

use std::collections::HashMap;

use super::{
    AnalyticsError,
    cube::Cube,
    fold::{Fold, add},
    sql::{
        self,
        cells::{self, Place, ZoneRow},
        facts,
    },
    tally::Tally,
};
use crate::{clock::Timestamp, ids::OrgId, writer::Op};

/// Time zones kept up for one organization. Each adds rows to every fold; a company that works in more places at once
/// waits a moment for the one that it asked in least lately.
const MOST_ZONES: usize = 8;

/// Conversations that a new time zone takes in at once, between two folds: some ten milliseconds of the store.
const BUILT_AT_ONCE: i64 = 10_000;

/// Cells read at once.
const READ_AT_ONCE: i64 = 5_000;

/// Cells of one cube: at about 300 bytes each these are 40 MB. What is larger is read from the store at each question.
const MOST_CELLS: usize = 130_000;

/// How a time zone is answered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// From memory.
    InMemory,
    /// From the store: it is too large.
    Stored,
}

impl Fold {
    /// Gets a time zone ready to be asked in.
    pub(super) async fn open(&mut self, org: OrgId, zone: &str) -> Result<Opened, AnalyticsError> {
        self.catch_up().await?;
        if self.zone(org, zone).is_none() {
            self.make_room(org).await?;
            self.put(ZoneRow {
                org_id: org,
                zone: zone.to_owned(),
                built_through: String::new(),
                complete: 0,
                used_at: Timestamp::now(),
            })
            .await?;
        }
        while let Some(row) = self.zone(org, zone).filter(|row| row.complete == 0).cloned() {
            self.build(row).await?;
            // What happens meanwhile is folded meanwhile.
            self.catch_up().await?;
        }
        if let Some(row) = self.zone(org, zone).cloned() {
            self.put(ZoneRow { used_at: Timestamp::now(), ..row }).await?;
        }
        self.bring_to_memory(org, zone).await
    }

    fn zone(&self, org: OrgId, zone: &str) -> Option<&ZoneRow> {
        self.zones.get(&org)?.iter().find(|row| row.zone == zone)
    }

    /// Takes in the next conversations of the organization.
    async fn build(&mut self, row: ZoneRow) -> Result<(), AnalyticsError> {
        let (org, zone) = (row.org_id, row.zone.as_str());
        if row.built_through.is_empty() {
            // What is left of an earlier time.
            self.clear(org, zone).await?;
        }
        let facts = facts::after(&self.shared.store, org, &row.built_through, BUILT_AT_ONCE).await?;
        let mut deltas: HashMap<Place, Tally> = HashMap::new();
        facts.iter().for_each(|facts| add(&mut deltas, &row, Some(facts), 1));
        let last = facts.last().map_or_else(|| row.built_through.clone(), |facts| facts.conversation.clone());
        let complete = i64::from((facts.len() as i64) < BUILT_AT_ONCE);
        let next = ZoneRow { built_through: last, complete, ..row.clone() };
        self.put_with(next, deltas).await
    }

    /// Gives up the time zone that was asked in least lately, if there are as many as may be.
    async fn make_room(&mut self, org: OrgId) -> Result<(), AnalyticsError> {
        let rows = self.zones.get(&org).map_or(&[][..], Vec::as_slice);
        if rows.len() < MOST_ZONES {
            return Ok(());
        }
        let used = |row: &&ZoneRow| self.shared.cubes().used(&(org, row.zone.clone()), row.used_at);
        let Some(oldest) = rows.iter().min_by_key(used).cloned() else { return Ok(()) };
        self.shared.cubes().remove(&(org, oldest.zone.clone()));
        // From here on it is not kept up; a crash leaves one that is built anew when it is asked in.
        self.put(ZoneRow { built_through: String::new(), complete: 0, ..oldest.clone() }).await?;
        self.clear(org, &oldest.zone).await?;
        let mut op = Op::default();
        cells::drop_zone(&mut op, org, &oldest.zone);
        self.commit_here(op, HashMap::new()).await?;
        if let Some(rows) = self.zones.get_mut(&org) {
            rows.retain(|row| row.zone != oldest.zone);
        }
        Ok(())
    }

    /// Drops the cells of a time zone, some days at a time.
    async fn clear(&mut self, org: OrgId, zone: &str) -> Result<(), AnalyticsError> {
        while cells::any(&self.shared.store, (org, zone)).await? {
            let mut op = Op::default();
            cells::drop_some(&mut op, org, zone);
            self.commit_here(op, HashMap::new()).await?;
        }
        Ok(())
    }

    async fn put(&mut self, row: ZoneRow) -> Result<(), AnalyticsError> {
        self.put_with(row, HashMap::new()).await
    }

    async fn put_with(&mut self, row: ZoneRow, deltas: HashMap<Place, Tally>) -> Result<(), AnalyticsError> {
        let mut op = Op::default();
        cells::put_zone(&mut op, &row);
        let key = (row.org_id, row.zone.clone());
        self.commit_here(op, HashMap::from([(key, deltas)])).await?;
        let rows = self.zones.entry(row.org_id).or_default();
        rows.retain(|known| known.zone != row.zone);
        rows.push(row);
        Ok(())
    }

    /// Commits without moving on in the log, if nobody else has.
    async fn commit_here(
        &mut self,
        mut op: Op,
        deltas: HashMap<(OrgId, String), HashMap<Place, Tally>>,
    ) -> Result<(), AnalyticsError> {
        let position = self.cursor.position.clone();
        sql::move_cursor(&mut op, self.cursor.version, &position);
        self.commit(op, position, deltas).await
    }

    async fn bring_to_memory(&mut self, org: OrgId, zone: &str) -> Result<Opened, AnalyticsError> {
        let mut cube = Cube::default();
        let mut after: Option<Place> = None;
        loop {
            let all = (i64::MIN, i64::MAX);
            let read =
                cells::between(&self.shared.store, (org, zone), all, after.as_ref(), READ_AT_ONCE).await?;
            let is_last = (read.len() as i64) < READ_AT_ONCE;
            after = read.last().map(|(place, _)| place.clone());
            read.into_iter().for_each(|(place, tally)| cube.put(place, tally));
            if cube.len() > MOST_CELLS {
                self.shared.cubes().is_large((org, zone.to_owned()));
                return Ok(Opened::Stored);
            }
            if is_last {
                break;
            }
        }
        self.shared.cubes().keep((org, zone.to_owned()), cube);
        Ok(Opened::InMemory)
    }
}
