//! The writer's lease: which `writers` row this process owns, and proof at every commit that it still does.

use std::time::{Duration, Instant};

use super::{
    link::Link,
    rows::{Statement, Value},
};
use crate::clock::Timestamp;

/// How long a lease outlives its last renewal. Long beside a pause of the process or the database, short beside the
/// wait for another node to take a dead one's place.
const LEASE: Duration = Duration::from_secs(30);

/// How often an idle writer renews: three chances before the lease ends.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(10);

/// The lease of one `writers` row.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) id: i64,
    epoch: i64,
    /// Events numbered so far.
    pub(super) position: i64,
    commits: i64,
    /// The database's clock when the lease was taken, and ours at the same moment.
    taken: (Timestamp, Instant),
}

impl Claim {
    /// Takes over a row whose lease ended or that bears this node's name, else makes a new one.
    pub(super) async fn take(link: &mut Link, node: &str) -> Result<Self, sqlx::Error> {
        const FREE: &str = "
            SELECT id, epoch, position, commits FROM writers
            WHERE node = $1 OR expires_at < $2
            ORDER BY CASE WHEN node = $1 THEN 0 ELSE 1 END, id LIMIT 1";
        const TAKE: &str = "
            UPDATE writers SET node = $1, epoch = epoch + 1, expires_at = $2 WHERE id = $3 AND epoch = $4";
        const MAKE: &str = "
            INSERT INTO writers (id, node, epoch, position, commits, expires_at)
            SELECT COALESCE(MAX(id), 0) + 1, $1, 1, 0, 0, $2 FROM writers";
        let now = link.now().await?;
        let expires = Value::from(now.plus_ms(LEASE.as_millis() as i64));
        // Another node may take the same row, or make the same id, between two statements: then the next round
        // sees what it did.
        loop {
            if let Some((id, epoch, position, commits)) = link.numbers(FREE, node, now.0).await? {
                let take = [Value::from(node), expires.clone(), Value::from(id), Value::from(epoch)];
                if link.execute(TAKE, &take).await? == 1 {
                    return Ok(Self {
                        id,
                        epoch: epoch + 1,
                        position,
                        commits,
                        taken: (now, Instant::now()),
                    });
                }
                continue;
            }
            // Made as already over, then taken like any other.
            match link.execute(MAKE, &[Value::from(node), Value::from(0)]).await {
                Ok(_) => {}
                Err(error) if super::link::refusal(&error) == super::link::Refusal::Row => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The statement that every commit begins with: it renews the lease, counts the commit, and touches no row if
    /// another process has taken the lease meanwhile.
    pub(super) fn proof(&self, position: i64) -> Statement {
        const PROVE: &str = "
            UPDATE writers SET position = $3, commits = $4, expires_at = $5 WHERE id = $1 AND epoch = $2";
        let (then, at) = self.taken;
        let expires = then.plus_ms((at.elapsed() + LEASE).as_millis() as i64);
        Statement {
            sql: PROVE,
            values: vec![
                self.id.into(),
                self.epoch.into(),
                position.into(),
                (self.commits + 1).into(),
                expires.into(),
            ],
            touches: Some(1),
        }
    }

    pub(super) fn committed(&mut self, position: i64) {
        self.position = position;
        self.commits += 1;
    }

    /// Did the commit that this claim was proving take effect? Asked on a new connection; the row's lock makes the
    /// question wait for a transaction that is still ending.
    pub(super) async fn took_effect(&self, link: &mut Link) -> Result<bool, sqlx::Error> {
        // An update that changes nothing takes the lock on both databases.
        const LOOK: &str = "
            UPDATE writers SET commits = commits WHERE node <> $1 AND id = $2 RETURNING commits, epoch, position, id";
        let row = link.numbers(LOOK, "", self.id).await?;
        Ok(row.is_some_and(|(commits, epoch, ..)| epoch == self.epoch && commits == self.commits + 1))
    }

    /// Gives the lease back, so that the next process need not wait for its end.
    pub(super) async fn release(&self, link: &mut Link) -> Result<(), sqlx::Error> {
        const RELEASE: &str = "UPDATE writers SET expires_at = 0 WHERE id = $1 AND epoch = $2";
        link.execute(RELEASE, &[self.id.into(), self.epoch.into()]).await.map(drop)
    }
}
