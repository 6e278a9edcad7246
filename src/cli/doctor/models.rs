//! What answers: is it there, does it take our key, does it know the model?

use openclaw_actors::answer::openai::{Endpoint, Failure, Kind};

use super::finding::Finding;
use crate::config::{Model, OpenAiModel, Provider};

const MODEL: &str = "model";
const PRIVACY: &str = "model privacy";

/// Model names that are shown where ours is not among them.
const NAMES_SHOWN: usize = 5;

pub(super) async fn examine(config: &Model) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, provider) in config.providers.iter().enumerate() {
        match provider {
            Provider::Builtin => {
                findings
                    .push(Finding::ok(MODEL, "builtin answers from your articles and needs nothing else"));
            }
            Provider::OpenAi => {
                findings.extend(openai(&config.openai, config.providers.len() > at + 1).await)
            }
            Provider::Synthetic => findings.push(
                Finding::warn(MODEL, "synthetic answers with words that mean nothing")
                    .advise("use it for load tests only; for customers set model.providers = [\"builtin\"]"),
            ),
        }
    }
    findings
}

async fn openai(config: &OpenAiModel, has_fallback: bool) -> Vec<Finding> {
    // The configuration was checked: the endpoint is named.
    let Some(settings) = config.settings() else { return Vec::new() };
    let mut findings = Vec::new();
    if settings.base_url.is_in_the_clear() {
        findings.push(
            Finding::warn(
                PRIVACY,
                format!("questions and the key travel to {} in the clear", settings.base_url),
            )
            .advise("use https, unless everything between here and there is yours"),
        );
    }
    let (name, url) = (settings.model.clone(), settings.base_url.to_string());
    let asked = match Endpoint::new(settings) {
        Ok(endpoint) => endpoint.models().await,
        Err(error) => {
            findings.push(Finding::fail(MODEL, error.to_string()));
            return findings;
        }
    };
    findings.push(match asked {
        Ok(Some(names)) if names.contains(&name) => {
            Finding::ok(MODEL, format!("{url} answers and has {name}"))
        }
        Ok(Some(names)) => {
            let shown = names.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
            Finding::warn(MODEL, format!("{url} answers, but does not list {name}")).advise(format!(
                "see that model.openai.model is right; it lists {} models: {shown}",
                names.len()
            ))
        }
        Ok(None) => Finding::warn(MODEL, format!("{url} answers, but with no list of models")).advise(
            "see that model.openai.base_url is what stands before /chat/completions; it often ends in /v1",
        ),
        Err(failure) => failed(&url, failure, has_fallback),
    });
    findings
}

fn failed(url: &str, failure: Failure, has_fallback: bool) -> Finding {
    let (message, advice) = match (failure.kind, failure.status) {
        (_, Some(401 | 403)) => ("refuses the key", "correct model.openai.api_key".to_owned()),
        // Not every endpoint has the list; chatting may work all the same.
        (_, Some(404 | 405)) => {
            let advice = "see that model.openai.base_url is what stands before /chat/completions; if it is, this \
                          endpoint has no list of models, and a question will show";
            return Finding::warn(MODEL, format!("{url} has no list of models")).advise(advice);
        }
        (_, Some(status @ 300..=399)) => {
            ("answers with a redirect", format!("status {status}: set model.openai.base_url to where it leads"))
        }
        (Kind::RateLimited, _) => ("is asked too often, or the account is used up", "see the account's limits".to_owned()),
        (Kind::Unreachable, _) => (
            "cannot be reached",
            "see that it runs, that model.openai.base_url is right, that a firewall lets this machine through, and with \
             https that this machine trusts its certificate"
                .to_owned(),
        ),
        (Kind::TimedOut, _) => ("does not answer in time", "see how it is, or raise model.openai.first_token_timeout_ms".to_owned()),
        (_, Some(status)) => ("fails", format!("it answered with status {status}; see its own log or status page")),
        (_, None) => ("does not answer like such an endpoint", "see what listens there".to_owned()),
    };
    let message = format!("{url} {message}");
    let finding = match has_fallback {
        true => Finding::warn(MODEL, message),
        false => Finding::fail(MODEL, message),
    };
    finding.advise(advice)
}
