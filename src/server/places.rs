//! How many connections there is room for.

use std::thread;

use tracing::warn;

use crate::config::Server;

/// Files for the store, the listeners and the workers' own.
const RESERVE: usize = 256;

/// Where the system does not tell: the usual limit of a shell.
const USUAL_FILE_LIMIT: usize = 1_024;

/// Room for connections that are told to come back, as a share of those that are served.
const SURPLUS_SHARE: usize = 8;
const LEAST_SURPLUS: usize = 32;

/// How many connections are served, and how many more are at least refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) workers: usize,
    pub(super) served: usize,
    accepted: usize,
}

impl Places {
    /// Raises the process's file limit as far as it goes, and makes the best of it. `calls` to models may run beside
    /// the connections; each is a file too.
    pub(super) fn of(server: &Server, calls: usize) -> Self {
        let files = match rlimit::increase_nofile_limit(u64::MAX) {
            Ok(files) => usize::try_from(files).unwrap_or(usize::MAX),
            Err(error) => {
                warn!(%error, "the file limit cannot be raised");
                USUAL_FILE_LIMIT
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers = if server.workers == 0 { cores } else { server.workers };
        Self::within(files, calls, workers, server.max_connections)
    }

    fn within(files: usize, calls: usize, workers: usize, asked: usize) -> Self {
        let free = files.saturating_sub(RESERVE);
        // A call is made for somebody who mostly waits at a connection: the two need as many.
        let room = (free - calls.min(free / 2)).max(LEAST_SURPLUS + 1);
        let surplus = |served: usize| (served / SURPLUS_SHARE).max(LEAST_SURPLUS);
        let most = room - surplus(room).min(room - 1);
        let served = if asked == 0 { most } else { asked.min(most) };
        Self { workers, served, accepted: (served + surplus(served)).min(room) }
    }

    /// actix counts per worker, and gives a connection to whichever has room.
    pub(super) fn per_worker(self) -> usize {
        self.accepted.div_ceil(self.workers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_room_to_refuse_and_a_reserve_of_files() {
        for files in [64, 300, 1_024, 20_000, 1_000_000] {
            for (asked, calls) in [(0, 0), (1, 0), (500, 100), (usize::MAX / 16, 0), (0, usize::MAX)] {
                let places = Places::within(files, calls, 2, asked);
                assert!(places.served >= 1, "{places:?}");
                assert!(places.accepted > places.served, "{places:?}");
                assert!(files <= RESERVE + LEAST_SURPLUS || places.accepted + RESERVE <= files, "{places:?}");
            }
        }
        assert_eq!(Places::within(20_000, 0, 2, 100).served, 100);
        let places = Places::within(20_000, 10_000, 2, 0);
        assert!(places.accepted + RESERVE + 9_000 <= 20_000, "{places:?}");
    }
}
