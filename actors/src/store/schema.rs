//! Which steps a database has taken, beside those that this program knows.

use std::borrow::Cow;

use serde::Serialize;
use sqlx::migrate::Migrator;

/// One step of the schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its number; they are taken in this order.
    pub version: i64,
    /// What it is about. A step of a newer program has no name here.
    pub name: Option<Cow<'static, str>>,
    /// Whether it was taken.
    pub state: StepState,
}

/// Whether a step was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// The database has it.
    Applied,
    /// The next start will take it.
    Pending,
    /// The database has it, with another text: it belongs to another build.
    Changed,
    /// The database has it, and this program does not know it: a newer one was here.
    Unknown,
}

/// A step that a database has taken, and the checksum of its text.
pub(super) type AppliedStep = (i64, Vec<u8>);

pub(super) fn compare(known: &Migrator, applied: &[AppliedStep]) -> Vec<Step> {
    let mut steps: Vec<Step> = known
        .iter()
        .map(|step| Step {
            version: step.version,
            name: Some(step.description.clone()),
            state: match applied.iter().find(|(version, _)| *version == step.version) {
                Some((_, checksum)) if *checksum == *step.checksum => StepState::Applied,
                Some(_) => StepState::Changed,
                None => StepState::Pending,
            },
        })
        .collect();
    let newer = applied.iter().filter(|(version, _)| !known.version_exists(*version));
    steps.extend(newer.map(|&(version, _)| Step { version, name: None, state: StepState::Unknown }));
    steps.sort_by_key(|step| step.version);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MIGRATIONS;

    #[test]
    fn a_step_is_applied_pending_changed_or_unknown() {
        let known: Vec<_> = MIGRATIONS.iter().map(|step| (step.version, step.checksum.to_vec())).collect();
        let states = |applied: &[AppliedStep]| -> Vec<StepState> {
            compare(&MIGRATIONS, applied).iter().map(|step| step.state).collect()
        };
        assert!(states(&known).iter().all(|state| *state == StepState::Applied));
        assert!(states(&[]).iter().all(|state| *state == StepState::Pending));
        assert_eq!(states(&[(known[0].0, vec![1])])[0], StepState::Changed);
        assert_eq!(states(&[(i64::MAX, vec![1])]).last(), Some(&StepState::Unknown));
    }
}
