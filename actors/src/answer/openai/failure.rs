//! What a turn says of a model that gave no answer.

use crate::{answer::AnswerError, upstream::Kind};

/// The error of a turn that ends with it.
pub(super) fn error(kind: Kind) -> AnswerError {
    let code = match kind {
        Kind::Unreachable => "model_unreachable",
        Kind::TimedOut => "model_timeout",
        Kind::RateLimited => "model_rate_limited",
        Kind::Refused | Kind::Rejected => "model_refused",
        Kind::Failed | Kind::Broken => "model_failed",
        Kind::Filtered => "model_filtered",
        Kind::Suspended => "model_unavailable",
    };
    AnswerError { code, message: kind.message() }
}
