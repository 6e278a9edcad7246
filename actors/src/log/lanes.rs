//! Several writers' events as one log: next comes what happened first, and a writer's own order is never changed.

use std::collections::VecDeque;

use crate::{clock::Timestamp, position::Position};

/// What one writer wrote, as far as it was looked through.
#[derive(Debug)]
pub(super) struct Lane<T> {
    pub(super) writer: i64,
    /// With the position of each, and when it happened.
    pub(super) rows: VecDeque<(i64, Timestamp, T)>,
    /// How far it was looked through.
    pub(super) end: i64,
    /// Nothing follows.
    pub(super) whole: bool,
}

/// Something of the log, and whose number of it.
#[derive(Debug)]
pub(super) struct Taken<T> {
    pub(super) writer: i64,
    pub(super) position: i64,
    pub(super) what: T,
}

/// Takes up to `limit`, moves the position past them, and says whether more is known to be there or to be looked for.
pub(super) fn merge<T>(
    mut lanes: Vec<Lane<T>>,
    limit: usize,
    position: &mut Position,
) -> (Vec<Taken<T>>, bool) {
    let mut taken = Vec::new();
    while taken.len() < limit {
        // What a lane still hides may have happened before anything that the others show.
        if lanes.iter().any(|lane| lane.rows.is_empty() && !lane.whole) {
            break;
        }
        let first = lanes
            .iter_mut()
            .filter_map(|lane| lane.rows.front().map(|row| (row.1, lane.writer)).map(|key| (key, lane)))
            .min_by_key(|(key, _)| *key);
        let Some((_, lane)) = first else { break };
        let Some((number, _, what)) = lane.rows.pop_front() else { break };
        position.set(lane.writer, number);
        taken.push(Taken { writer: lane.writer, position: number, what });
    }
    for lane in lanes.iter().filter(|lane| lane.rows.is_empty()) {
        position.set(lane.writer, lane.end);
    }
    let more = lanes.iter().any(|lane| !lane.rows.is_empty() || !lane.whole);
    (taken, more)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(writer: i64, rows: &[(i64, i64)], end: i64, whole: bool) -> Lane<()> {
        let rows = rows.iter().map(|&(position, at)| (position, Timestamp(at), ())).collect();
        Lane { writer, rows, end, whole }
    }

    fn order(lanes: Vec<Lane<()>>, limit: usize) -> (Vec<(i64, i64)>, Position, bool) {
        let mut position = Position::default();
        let (taken, more) = merge(lanes, limit, &mut position);
        (taken.into_iter().map(|one| (one.writer, one.position)).collect(), position, more)
    }

    #[test]
    fn what_happened_first_comes_first_and_a_writers_order_stays() {
        let lanes = || vec![lane(1, &[(4, 10), (6, 9), (7, 30)], 9, true), lane(2, &[(1, 20)], 1, true)];
        let (taken, position, more) = order(lanes(), 10);
        assert_eq!(taken, [(1, 4), (1, 6), (2, 1), (1, 7)]);
        assert_eq!((position, more), ([(1, 9), (2, 1)].into_iter().collect(), false));
        let (taken, position, more) = order(lanes(), 2);
        assert_eq!(taken, [(1, 4), (1, 6)]);
        assert_eq!((position, more), ([(1, 6)].into_iter().collect(), true));
    }

    #[test]
    fn nothing_overtakes_what_a_lane_still_hides() {
        let (taken, position, more) =
            order(vec![lane(1, &[(4, 10)], 4, false), lane(2, &[(1, 5), (2, 20)], 2, true)], 10);
        assert_eq!(taken, [(2, 1), (1, 4)]);
        assert_eq!((position, more), ([(1, 4), (2, 1)].into_iter().collect(), true));
        let (taken, position, more) = order(vec![lane(1, &[], 100, false), lane(2, &[(1, 5)], 1, true)], 10);
        assert_eq!((taken, more), (vec![], true));
        assert_eq!(position, [(1, 100)].into_iter().collect(), "it gets on all the same");
    }
}
