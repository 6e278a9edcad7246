//! Secrets that are shown once, and replaced: what keys and webhooks have in common.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use openclaw_actors::patch::InvalidField;
use serde::{Deserialize, Serialize};

/// A week: long enough to bring a new secret to every place that has the old one.
const LONGEST_GRACE_SECONDS: u64 = 604_800;

/// The body of what replaces a secret. Without it the old one ends at once.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RotateBody {
    grace_seconds: u64,
}

impl RotateBody {
    /// How long the old secret goes on working.
    ///
    /// # Errors
    /// It is too long.
    pub fn grace(&self) -> Result<Duration, InvalidField> {
        if self.grace_seconds > LONGEST_GRACE_SECONDS {
            let reason = format!("must be from 0 to {LONGEST_GRACE_SECONDS}");
            return Err(InvalidField::new("grace_seconds", reason));
        }
        Ok(Duration::from_secs(self.grace_seconds))
    }
}

/// The answer to what made a secret, kept by no cache on the way. `location` is where the thing is that has it.
#[must_use]
pub fn shown_once(status: StatusCode, location: &str, body: &impl Serialize) -> HttpResponse {
    let mut answer = HttpResponse::build(status);
    if status == StatusCode::CREATED {
        answer.insert_header((header::LOCATION, location));
    }
    answer.insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}
