//! Which organizations' indexes stay in memory: those in use, as far as there is room.

use std::cmp::Reverse;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tracing::debug;

use super::handle::Shared;
use super::shelf::Shelf;

/// An index that nobody needed for that long is let go; the next question waits until it is built again, a few seconds
/// for ten thousand articles.
const IDLE_AFTER: Duration = Duration::from_secs(30 * 60);

/// What a passage takes without vectors, which are counted as so many passages more.
const PASSAGE_BYTES: usize = 3 << 10;

/// Passages in memory, of all organizations together; some 3 KB each. Above it the indexes that were not needed for
/// longest are let go, whether they are idle or not.
const MOST_PASSAGES: usize = 600_000;

/// But not those that were needed just now, or a server with too much to hold would only build indexes.
const IN_USE_FOR: Duration = Duration::from_secs(60);

const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Lets indexes go while there is somebody who has them.
pub(super) async fn let_go(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(shared) = shared.upgrade() else { return };
        let shelves = shared.shelves();
        let seen = shelves
            .iter()
            .map(|shelf| (shelf.passages() + shelf.vector_bytes() / PASSAGE_BYTES, shelf.unused_for()))
            .collect();
        for (shelf, _) in shelves.iter().zip(superfluous(seen)).filter(|(_, goes)| *goes) {
            let_one_go(&shared, shelf);
        }
    }
}

fn let_one_go(shared: &Shared, shelf: &Arc<Shelf>) {
    // Whoever changes it needs it, and what became of its articles has yet to be told.
    let Ok(_writing) = shelf.writing.try_lock() else { return };
    debug!(org.id = %shelf.org, passages = shelf.passages(), "an index that nobody needs is let go");
    shared.forget(shelf);
}

/// Which of the indexes go, given their passages and how long each was not needed.
fn superfluous(indexes: Vec<(usize, Duration)>) -> Vec<bool> {
    let mut goes = vec![false; indexes.len()];
    let mut held: usize = indexes.iter().map(|(passages, _)| passages).sum();
    let mut by_idleness: Vec<usize> = (0..indexes.len()).collect();
    by_idleness.sort_by_key(|at| Reverse(indexes[*at].1));
    for at in by_idleness {
        let (passages, unused) = indexes[at];
        if unused > IDLE_AFTER || (held > MOST_PASSAGES && unused > IN_USE_FOR) {
            goes[at] = true;
            held -= passages;
        }
    }
    goes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_nobody_needs_goes() {
        assert_eq!(
            superfluous(vec![(10, MINUTE), (10, 31 * MINUTE), (0, 29 * MINUTE)]),
            [false, true, false]
        );
    }

    #[test]
    fn where_there_is_no_room_the_longest_unused_goes_but_never_one_in_use() {
        let half = MOST_PASSAGES / 2;
        let crowded =
            vec![(half, 2 * MINUTE), (half, 5 * MINUTE), (half, 3 * MINUTE), (half, Duration::ZERO)];
        assert_eq!(superfluous(crowded), [false, true, true, false]);
        assert_eq!(superfluous(vec![(3 * MOST_PASSAGES, MINUTE / 2)]), [false]);
    }
}
