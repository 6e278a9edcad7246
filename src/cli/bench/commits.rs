//! The baseline of durable accepts: a loop that commits the same rows through sqlx into a file of its own.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use openclaw_actors::{conversation::rehearsal, ids::OrgId, store::Store, writer::bare::BareCommits};

use super::{load::Amount, stage::Failed};

/// What a simulated customer asks; as long as what the clients send.
const QUESTION: &str = "Where is my parcel?";

/// The loop, and what it has done.
pub(super) struct Loop {
    store: Store,
    commits: BareCommits,
    org: OrgId,
    pub(super) accepts: u64,
    /// In commits alone: making the rows is not counted.
    pub(super) spent: Duration,
}

impl Loop {
    pub(super) async fn open(directory: &Path) -> Result<Self, Failed> {
        std::fs::create_dir_all(directory)?;
        let store = Store::open_sqlite(directory).await?;
        let commits = BareCommits::open(&store).await?;
        Ok(Self { store, commits, org: OrgId::generate(), accepts: 0, spent: Duration::ZERO })
    }

    /// Commits for a while, or so many accepts. A commit holds the accepts of all writers: no server can put more of
    /// them into one, since each writer waits for its own.
    pub(super) async fn run(&mut self, writers: usize, amount: Amount) -> Result<(), Failed> {
        let (before, spent) = (self.accepts, self.spent);
        let is_over = |this: &Self| match amount {
            Amount::Time(time) => this.spent - spent >= time,
            Amount::Requests(requests) => this.accepts - before >= requests,
        };
        while !is_over(self) {
            let ops: Vec<_> = (0..writers).filter_map(|_| rehearsal::accepted(self.org, QUESTION)).collect();
            let since = Instant::now();
            self.commits.commit(&ops).await?;
            self.spent += since.elapsed();
            self.accepts += ops.len() as u64;
        }
        Ok(())
    }

    pub(super) async fn close(self) {
        self.commits.close().await;
        self.store.close().await;
    }
}
