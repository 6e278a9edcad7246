//! One line of what was found.

use std::{borrow::Cow, fmt};

use serde::Serialize;

/// How it is. The worst counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Ok,
    /// The server works, but not as well as it could, or not for long.
    Warn,
    /// The server does not start, or loses something.
    Fail,
}

/// What was looked at, how it is, and what to do.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    #[serde(rename = "status")]
    pub(super) verdict: Verdict,
    message: Cow<'static, str>,
    advice: Option<Cow<'static, str>>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { check, verdict: Verdict::Ok, message: message.into(), advice: None }
    }

    pub(super) fn warn(check: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { verdict: Verdict::Warn, ..Self::ok(check, message) }
    }

    pub(super) fn fail(check: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { verdict: Verdict::Fail, ..Self::ok(check, message) }
    }

    /// Says what to do.
    pub(super) fn advise(self, advice: impl Into<Cow<'static, str>>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        };
        write!(f, "{verdict:<5} {:<15} {}", self.check, self.message)?;
        match &self.advice {
            Some(advice) => write!(f, "\n{:22}-> {advice}", ""),
            None => Ok(()),
        }
    }
}
