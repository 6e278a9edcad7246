//! The SQL of many attempts at once: a statement for several deliveries, because each costs as much as a row.

use std::sync::LazyLock;

use super::deliveries::{self, Due, Ended};
use crate::{
    clock::Timestamp,
    ids::{DeliveryId, OrgId},
    writer::{Op, Value},
};

/// Deliveries of one statement, most first: any number is made of a few statements that are prepared already.
const CHUNKS: [usize; 5] = [16, 8, 4, 2, 1];

/// A statement for each size of [`CHUNKS`].
struct Chunked([String; CHUNKS.len()]);

impl Chunked {
    /// The statement with the places of the ids behind those before them.
    fn new(statement: &str, before: usize) -> Self {
        Self(CHUNKS.map(|chunk| {
            let places: Vec<String> = (1..=chunk).map(|place| format!("${}", before + place)).collect();
            format!("{statement} AND id IN ({})", places.join(", "))
        }))
    }

    /// Runs it on those deliveries, each of which it must touch.
    fn run(&'static self, op: &mut Op, values: &[Value], mut ids: &[DeliveryId]) {
        for (chunk, sql) in CHUNKS.iter().zip(&self.0) {
            while let Some((some, rest)) = ids.split_at_checked(*chunk) {
                let some = some.iter().map(|id| Value::from(*id));
                op.run_on(sql, values.iter().cloned().chain(some).collect(), *chunk as u64);
                ids = rest;
            }
        }
    }
}

/// Attempts at these deliveries begin. Until `lease` nobody else makes one; the op is a conflict if somebody else began
/// one of them, or if one is settled.
pub(in super::super) fn begin<'d>(
    op: &mut Op,
    due: impl IntoIterator<Item = (OrgId, &'d Due)>,
    at: Timestamp,
    lease: Timestamp,
) {
    static BEGIN: LazyLock<Chunked> = LazyLock::new(|| {
        let begin = "UPDATE webhook_deliveries SET under_way = 1, attempt_count = attempt_count + 1, begun_at = $1, \
                     next_at = $2 WHERE state = 'pending' AND attempt_count = $3";
        Chunked::new(begin, 3)
    });
    let mut by_attempts: [Vec<DeliveryId>; crate::webhook::ATTEMPTS as usize] = Default::default();
    for (org, due) in due {
        if due.under_way != 0 {
            deliveries::interrupted(op, org, due);
        }
        // Those that were tried so often are not tried again.
        if let Some(ids) =
            usize::try_from(due.attempt_count).ok().and_then(|tried| by_attempts.get_mut(tried))
        {
            ids.push(due.id);
        }
    }
    for (tried, ids) in (0i64..).zip(by_attempts) {
        BEGIN.run(op, &[at.into(), lease.into(), tried.into()], &ids);
    }
}

/// These deliveries were taken. The op is a conflict if one of them is not there any more, or is settled.
pub(in super::super) fn delivered(op: &mut Op, taken: &[(DeliveryId, Ended)], at: Timestamp) {
    static SETTLE: LazyLock<Chunked> = LazyLock::new(|| {
        let settle = "UPDATE webhook_deliveries SET state = 'delivered', under_way = 0, settled_at = $1 \
                      WHERE state = 'pending'";
        Chunked::new(settle, 1)
    });
    let ids: Vec<DeliveryId> = taken.iter().map(|(id, _)| *id).collect();
    SETTLE.run(op, &[at.into()], &ids);
    for (id, ended) in taken {
        deliveries::attempted(op, *id, ended.clone());
    }
}
