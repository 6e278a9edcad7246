//! The fold: what happened becomes facts of conversations, and those become sums of days.
//!
//! It reads a batch of the log after its cursor, works out what each conversation in it is known by now, and what that
//! changes in the sums: the new contribution is added, the old one taken away, so a conversation may change its topic,
//! be opened again or be rated anew. Facts, sums and the cursor are stored in one transaction, which is refused if the
//! cursor is not where it was: nothing counts twice, whatever dies, and whoever else folds.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::tz::TimeZone;

use super::{
    AnalyticsError, Shared,
    calendar::day_of,
    facts::{ERASED, Facts, Present},
    sql::{
        self, Cursor, LogRow,
        cells::{self, Place, ZoneRow},
        facts::{self, Key},
    },
    tally::Tally,
};
use crate::{
    ids::{ConversationId, OrgId},
    position::Position,
    writer::{Op, WriteError},
};

/// Events folded in one transaction: what they touch is written within some milliseconds, which other commits wait for.
const EVENTS_AT_ONCE: usize = 2_000;

/// Conflicts in a row after which the fold gives up until it is woken again.
const ROUNDS: usize = 8;

/// Sums that change, by time zone and place.
type Deltas = HashMap<(OrgId, String), HashMap<Place, Tally>>;

/// See the module. One per process works at a time.
pub(super) struct Fold {
    pub(super) shared: Arc<Shared>,
    pub(super) cursor: Cursor,
    pub(super) zones: HashMap<OrgId, Vec<ZoneRow>>,
}

/// What is known of some conversations, and what will be.
#[derive(Default)]
struct Facting {
    before: HashMap<Key, Facts>,
    after: HashMap<Key, Facts>,
    /// Those whose erasure was folded.
    erased: Vec<Key>,
}

impl Fold {
    pub(super) async fn load(shared: Arc<Shared>) -> Result<Self, AnalyticsError> {
        let cursor = sql::cursor(&shared.store).await?;
        let mut fold = Self { shared, cursor, zones: HashMap::new() };
        fold.reload().await?;
        Ok(fold)
    }

    /// Forgets all that it knew: somebody else has folded, or took away what was folded.
    async fn reload(&mut self) -> Result<(), AnalyticsError> {
        self.shared.cubes().clear();
        self.cursor = sql::cursor(&self.shared.store).await?;
        self.zones.clear();
        for zone in cells::zones(&self.shared.store).await? {
            self.zones.entry(zone.org_id).or_default().push(zone);
        }
        Ok(())
    }

    /// Folds all that happened before this call.
    pub(super) async fn catch_up(&mut self) -> Result<(), AnalyticsError> {
        let asked = std::time::Instant::now();
        let heads = self.shared.store.heads().await?;
        let mut conflicts = 0;
        let stored = sql::cursor(&self.shared.store).await?;
        if stored.version != self.cursor.version {
            self.reload().await?;
        }
        while !self.cursor.position.has_passed(&heads) {
            match self.batch(&heads).await {
                Err(AnalyticsError::Write(WriteError::Conflict)) if conflicts < ROUNDS => {
                    conflicts += 1;
                    self.reload().await?;
                }
                folded => folded?,
            }
        }
        self.shared.caught_up(asked);
        Ok(())
    }

    async fn batch(&mut self, heads: &Position) -> Result<(), AnalyticsError> {
        let (events, position) = self.read(heads).await?;
        let facting = self.facts(events).await?;
        let mut op = Op::default();
        sql::move_cursor(&mut op, self.cursor.version, &position);
        let mut deltas = Deltas::new();
        for (key, after) in &facting.after {
            let before = facting.before.get(key);
            if before == Some(after) {
                continue;
            }
            facts::put(&mut op, after);
            for zone in self.zones.get(&key.0).into_iter().flatten() {
                if zone.complete != 0 || key.1 <= zone.built_through {
                    let deltas = deltas.entry((key.0, zone.zone.clone())).or_default();
                    add(deltas, zone, before, -1);
                    add(deltas, zone, Some(after), 1);
                }
            }
        }
        facting.erased.iter().for_each(|key| facts::forget_erased(&mut op, key));
        self.commit(op, position, deltas).await
    }

    /// The next events of the log, and the position after them.
    async fn read(&self, heads: &Position) -> Result<(Vec<LogRow>, Position), AnalyticsError> {
        let mut position = self.cursor.position.clone();
        let mut events = Vec::new();
        for (writer, head) in heads.iter() {
            let (after, room) = (position.of(writer), EVENTS_AT_ONCE - events.len());
            if after >= head || room == 0 {
                continue;
            }
            let read = sql::log(&self.shared.store, (writer, after, head), room as i64).await?;
            let end = read.last().filter(|_| read.len() == room).map_or(head, |last| last.position);
            position.set(writer, end);
            events.extend(read);
        }
        Ok((events, position))
    }

    /// What the conversations of these events are known by now.
    async fn facts(&self, events: Vec<LogRow>) -> Result<Facting, AnalyticsError> {
        let store = &self.shared.store;
        let of_conversations: Vec<(Key, LogRow)> = events
            .into_iter()
            .filter(|event| event.stream_id.starts_with(ConversationId::PREFIX))
            .map(|event| ((event.org_id, event.stream_id.clone()), event))
            .collect();
        let keys: HashSet<&Key> = of_conversations.iter().map(|(key, _)| key).collect();
        let keys: Vec<Key> = keys.into_iter().cloned().collect();
        let ends = of_conversations.iter().filter(|(_, event)| event.kind == "conversation.deleted");
        let ended: Vec<Key> = ends.map(|(key, _)| key.clone()).collect();
        let before = facts::known(store, &keys).await?;
        let present = facts::present(store, &keys).await?;
        let mut last = facts::erased(store, &ended).await?;
        let mut after = before.clone();
        for (key, event) in of_conversations {
            if let Some(facts) = entry(&mut after, &key, &present) {
                facts.fold(&event);
            }
        }
        for (key, present) in present {
            if let Some(facts) = after.remove(&key) {
                after.insert(key, facts.with_present(present));
            }
        }
        for key in &ended {
            // What the erasure wrote down is all of it, whatever was folded so far.
            if let Some(facts) = last.remove(key) {
                after.insert(key.clone(), facts);
            } else if let Some(facts) = after.get_mut(key) {
                ERASED.clone_into(&mut facts.status);
            }
        }
        Ok(Facting { before, after, erased: ended })
    }

    /// Stores an op with the sums that change and, once it is stored, has them in memory too.
    pub(super) async fn commit(
        &mut self,
        mut op: Op,
        position: Position,
        deltas: Deltas,
    ) -> Result<(), AnalyticsError> {
        let mut changed = Vec::new();
        for ((org, zone), deltas) in deltas {
            let sums = self.sums(org, &zone, deltas).await?;
            sums.iter().for_each(|(place, tally)| cells::put(&mut op, (org, &zone), place, tally));
            changed.push(((org, zone), sums));
        }
        self.shared.writer.commit(op).await?;
        self.cursor = Cursor { version: self.cursor.version + 1, position };
        for (key, sums) in changed {
            self.shared.cubes().put(&key, sums);
        }
        Ok(())
    }

    /// The sums at the places of these changes, with the changes.
    async fn sums(
        &self,
        org: OrgId,
        zone: &str,
        mut deltas: HashMap<Place, Tally>,
    ) -> Result<Vec<(Place, Tally)>, AnalyticsError> {
        deltas.retain(|_, delta| !delta.is_empty());
        let in_memory = self.shared.cubes().sums(&(org, zone.to_owned()), &deltas);
        let sums = match in_memory {
            Some(sums) => sums,
            None => {
                let places: Vec<Place> = deltas.keys().cloned().collect();
                cells::at(&self.shared.store, (org, zone), &places).await?
            }
        };
        for (place, sum) in sums {
            if let Some(delta) = deltas.get_mut(&place) {
                delta.merge(&sum, 1);
            }
        }
        Ok(deltas.into_iter().collect())
    }
}

/// The facts of a conversation, begun now if it is there. Of one that is not there any more nothing can be begun: what
/// it came to is told with its end.
fn entry<'a>(
    all: &'a mut HashMap<Key, Facts>,
    key: &Key,
    present: &HashMap<Key, Present>,
) -> Option<&'a mut Facts> {
    if !all.contains_key(key) {
        let begun = Facts::begin(key.0, key.1.clone(), present.get(key)?.clone());
        all.insert(key.clone(), begun);
    }
    all.get_mut(key)
}

/// Adds what a conversation contributes to its place in a time zone, or takes it away.
pub(super) fn add(deltas: &mut HashMap<Place, Tally>, zone: &ZoneRow, facts: Option<&Facts>, sign: i32) {
    let Some(facts) = facts else { return };
    // Only names that were found are ever asked in; the database of zones may have lost one since.
    let local = TimeZone::get(&zone.zone).unwrap_or(TimeZone::UTC);
    let place = Place {
        day: day_of(facts.started_at, &local),
        channel: facts.channel.clone(),
        topic: facts.topic.clone().unwrap_or_default(),
    };
    deltas.entry(place).or_default().merge(&facts.tally(), sign);
}
