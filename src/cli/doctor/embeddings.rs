//! What makes vectors of texts: is it there, does it take our key, is it quick enough?

use std::time::{Duration, Instant};

use openclaw_actors::{
    knowledge::embeddings::Embeddings,
    upstream::{Failure, Kind},
};

use super::finding::Finding;
use crate::config::EmbeddingsConfig;

const EMBEDDINGS: &str = "embeddings";
const PRIVACY: &str = "embeddings privacy";

/// Long enough for a model that has to be loaded first.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

pub(super) async fn examine(config: &EmbeddingsConfig) -> Vec<Finding> {
    let Some(settings) = config.settings() else {
        return vec![Finding::ok(EMBEDDINGS, "none: articles are found by their words")];
    };
    let mut findings = Vec::new();
    let url = settings.base_url.to_string();
    if settings.base_url.is_in_the_clear() {
        let message = format!("articles, questions and the key travel to {url} in the clear");
        findings.push(
            Finding::warn(PRIVACY, message)
                .advise("use https, unless everything between here and there is yours"),
        );
    }
    let model = settings.model.clone();
    let embeddings = match Embeddings::new(settings) {
        Ok(embeddings) => embeddings,
        Err(error) => {
            findings.push(Finding::fail(EMBEDDINGS, error.to_string()));
            return findings;
        }
    };
    let began = Instant::now();
    findings.push(match embeddings.probe(ANSWERS_WITHIN).await {
        Ok(dimensions) => answered(&url, &model, dimensions, began.elapsed(), config.timeout_ms.get()),
        Err(failure) => failed(&url, failure),
    });
    findings
}

fn answered(url: &str, model: &str, dimensions: usize, took: Duration, timeout_ms: u64) -> Finding {
    let ms = took.as_millis();
    let message = format!("{url} makes vectors of {dimensions} numbers with {model}, the first in {ms} ms");
    if ms > u128::from(timeout_ms) {
        return Finding::warn(EMBEDDINGS, message).advise(format!(
            "questions wait {timeout_ms} ms: see whether it was only slow to begin, or raise knowledge.embeddings.timeout_ms"
        ));
    }
    Finding::ok(EMBEDDINGS, message)
}

/// Never more than a warning: articles are found all the same.
fn failed(url: &str, failure: Failure) -> Finding {
    let (message, advice) = match (failure.kind, failure.status) {
        (_, Some(401 | 403)) => ("refuses the key".to_owned(), "correct knowledge.embeddings.api_key"),
        (_, Some(404 | 405)) => (
            "has no /embeddings, or no such model".to_owned(),
            "see that knowledge.embeddings.base_url is what stands before /embeddings, and model is one that it has",
        ),
        (_, Some(status @ 300..=399)) => (
            format!("answers with a redirect (status {status})"),
            "set knowledge.embeddings.base_url to where it leads",
        ),
        (Kind::Rejected, _) => (
            "does not accept the request".to_owned(),
            "see that knowledge.embeddings.model makes embeddings, and leave out dimensions unless it can be asked for them",
        ),
        (Kind::RateLimited, _) => {
            ("is asked too often, or the account is used up".to_owned(), "see the account's limits")
        }
        (Kind::Unreachable, _) => (
            "cannot be reached".to_owned(),
            "see that it runs, that knowledge.embeddings.base_url is right, that a firewall lets this machine through, and \
             with https that this machine trusts its certificate",
        ),
        (Kind::TimedOut, _) => ("does not answer in time".to_owned(), "see how it is"),
        (_, Some(status)) => (format!("fails with status {status}"), "see its own log or status page"),
        (_, None) => (
            "does not answer with vectors".to_owned(),
            "see what listens there, and knowledge.embeddings.model",
        ),
    };
    Finding::warn(EMBEDDINGS, format!("{url} {message}; articles are found by their words alone"))
        .advise(advice)
}
