//! Why an upstream gave no answer, and what follows from it.

use std::{fmt, time::Duration};

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No connection: nobody listens, no such name, no TLS.
    Unreachable,
    /// A deadline passed.
    TimedOut,
    /// 429: too many requests, or no money left.
    RateLimited,
    /// 401, 403, 404, a redirect: what the operator has configured is wrong.
    Refused,
    /// 400, 413, 422: this one question is not acceptable.
    Rejected,
    /// The upstream says that it failed.
    Failed,
    /// What came is no answer, or not a whole one.
    Broken,
    /// The upstream's filter let nothing through.
    Filtered,
    /// The breaker is open: it was not asked at all.
    Suspended,
}

impl Kind {
    /// Of an answer's status that is not 2xx.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            429 => Self::RateLimited,
            // Both are about this moment, and official clients try them again too.
            408 | 409 | 425 => Self::Failed,
            400 | 413 | 422 => Self::Rejected,
            300..=499 => Self::Refused,
            _ => Self::Failed,
        }
    }

    /// Whether the same request may succeed in a moment.
    pub(crate) fn passes(self) -> bool {
        match self {
            Self::Unreachable | Self::RateLimited | Self::Failed | Self::Broken => true,
            // The deadline that passed is the one for all tries.
            Self::TimedOut | Self::Refused | Self::Rejected | Self::Filtered | Self::Suspended => false,
        }
    }

    /// Whether it says something about the upstream, and not about one question: customers must not be able to open
    /// the breaker by what they ask.
    pub(crate) fn counts(self) -> bool {
        !matches!(self, Self::Rejected | Self::Filtered | Self::Suspended)
    }

    /// For whoever reads the log, or asks. The words are ours: an upstream's may hold anything.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Unreachable => "the model cannot be reached at the moment",
            Self::TimedOut => "the model took too long to answer",
            Self::RateLimited => "the model is asked too often at the moment",
            Self::Refused => "the model's service refused the request",
            Self::Rejected => "the model's service did not accept this question",
            Self::Failed => "the model failed to answer",
            Self::Broken => "the model's answer broke off or made no sense",
            Self::Filtered => "the model's service did not let an answer through",
            Self::Suspended => "the model has failed repeatedly and is not asked for a while",
        }
    }
}

/// A failure as it is logged and acted upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// What kind it was.
    pub kind: Kind,
    /// The answer's status, if there was one.
    pub status: Option<u16>,
    /// When the upstream wants to be asked again, if it said so.
    pub retry_after: Option<Duration>,
}

impl From<Kind> for Failure {
    fn from(kind: Kind) -> Self {
        Self { kind, status: None, retry_after: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{} (status {status})", self.kind.message()),
            None => f.write_str(self.kind.message()),
        }
    }
}
