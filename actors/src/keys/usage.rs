//! When keys were last used, written behind: a request never waits for it.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;

use super::sql;
use crate::{clock::Timestamp, ids::KeyId, writer::Op};

/// A key in constant use is written this often.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// A key and the number of one of its secrets.
type SecretId = (KeyId, i64);

/// The last use of every secret that was used lately. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Usage(Arc<DashMap<SecretId, Use>>);

/// What an op writes, to be noted once it is on disk.
pub(super) struct Written(Vec<(SecretId, Timestamp)>);

#[derive(Debug, Clone, Copy)]
struct Use {
    last: Timestamp,
    written: Option<Timestamp>,
}

/// Which writes are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Those that are not written yet, and those written a while ago.
    Ripe,
    /// All: the process ends.
    All,
}

impl Usage {
    pub(super) fn note(&self, key: KeyId, secret: i64, now: Timestamp) {
        let mut last_use = self.0.entry((key, secret)).or_insert(Use { last: now, written: None });
        last_use.last = last_use.last.max(now);
    }

    /// When the secret was last used, as far as this process knows.
    pub(super) fn last(&self, key: KeyId, secret: i64) -> Option<Timestamp> {
        self.0.get(&(key, secret)).map(|last_use| last_use.last)
    }

    /// The op that writes what is due.
    pub(super) fn due(&self, due: Due, now: Timestamp) -> (Op, Written) {
        let ripe = |last_use: &Use| match last_use.written {
            None => true,
            Some(written) if written == last_use.last => false,
            Some(written) => due == Due::All || now >= written.plus_ms(WRITE_EVERY.as_millis() as i64),
        };
        let mut op = Op::default();
        let mut written = Vec::new();
        for entry in self.0.iter().filter(|entry| ripe(entry.value())) {
            let ((key, secret), last) = (*entry.key(), entry.last);
            sql::used(&mut op, key, secret, last);
            written.push(((key, secret), last));
        }
        (op, Written(written))
    }

    /// What [`due`](Self::due) gave is on disk. Secrets that have rested a while are forgotten.
    pub(super) fn committed(&self, Written(written): Written, now: Timestamp) {
        for (secret, at) in written {
            if let Some(mut last_use) = self.0.get_mut(&secret) {
                last_use.written = Some(at);
            }
        }
        self.0.retain(|_, last_use| {
            last_use.written != Some(last_use.last)
                || now < last_use.last.plus_ms(WRITE_EVERY.as_millis() as i64)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_constant_use_is_written_once_a_minute() {
        let usage = Usage::default();
        let key = KeyId::generate();
        let mut writes = Vec::new();
        for second in 0..180 {
            let now = Timestamp(second * 1_000);
            usage.note(key, 1, now);
            let (op, written) = usage.due(Due::Ripe, now);
            if !op.is_empty() {
                writes.push(second);
            }
            usage.committed(written, now);
        }
        assert_eq!(writes, [0, 60, 120]);
        let (op, written) = usage.due(Due::All, Timestamp(180_000));
        assert_eq!((op.statements.len(), written.0[0].1), (2, Timestamp(179_000)));
    }

    #[test]
    fn a_write_that_failed_is_due_again_and_a_rested_key_is_forgotten() {
        let usage = Usage::default();
        let key = KeyId::generate();
        usage.note(key, 1, Timestamp(0));
        assert!(!usage.due(Due::Ripe, Timestamp(0)).0.is_empty());
        let (op, written) = usage.due(Due::Ripe, Timestamp(1));
        assert!(!op.is_empty());
        usage.committed(written, Timestamp(1));
        assert_eq!(usage.last(key, 1), Some(Timestamp(0)));
        usage.committed(Written(Vec::new()), Timestamp(60_000));
        assert_eq!(usage.last(key, 1), None);
    }
}
