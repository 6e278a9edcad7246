//! A webhook that was made for this receiver, and goes with it.

use std::process::ExitCode;

use actix_web::http::{Method, StatusCode};
use openclaw_actors::{outbox::EventPattern, webhook::SigningSecret};
use serde::Deserialize;
use serde_json::json;

use super::shown::Screen;
use crate::cli::{
    Outcome,
    remote::{CallError, Remote},
};

/// See the module.
pub(super) struct Registered {
    remote: Remote,
    id: String,
}

#[derive(Deserialize)]
struct Made {
    webhook: Identified,
    secret: String,
}

#[derive(Deserialize)]
struct Identified {
    id: String,
}

impl Registered {
    /// Makes a webhook to that address.
    pub(super) async fn make(
        remote: Remote,
        here: &str,
        events: &[EventPattern],
    ) -> Result<(Self, SigningSecret), Box<dyn std::error::Error + Send + Sync>> {
        let body = json!({"url": here, "events": events, "description": "openclaw-server webhooks listen"});
        let request = remote.request(Method::POST, "/v1/webhooks");
        let made: Made = match remote.call(request, body.to_string()).await {
            Ok((_, made)) => made,
            Err(error) => return Err(advised(error)),
        };
        Ok((Self { remote, id: made.webhook.id }, made.secret.parse()?))
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Deletes it; if that fails, says how to.
    pub(super) async fn delete(self, screen: &Screen) -> Outcome {
        let path = format!("/v1/webhooks/{}", self.id);
        let request = self.remote.request(Method::DELETE, &path);
        match self.remote.send(request, String::new()).await {
            Ok(_) => screen.note(&format!("the webhook {} is deleted", self.id))?,
            // Somebody else did.
            Err(CallError::Refused { status: StatusCode::NOT_FOUND, .. }) => {}
            Err(error) => {
                screen.note(&format!(
                    "the webhook {} is still there, because {error}: DELETE {path}",
                    self.id
                ))?;
                return Ok(ExitCode::FAILURE);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// With what can be done about it.
fn advised(error: CallError) -> Box<dyn std::error::Error + Send + Sync> {
    match &error {
        CallError::Refused { code, .. } if code == "address_not_allowed" => format!(
            "{error}. A server sends to public addresses only, unless webhooks.allow_cidrs and webhooks.allow_http say \
             otherwise, as they do in `openclaw-server demo`; or name a tunnel to this receiver by --reachable-at"
        )
        .into(),
        _ => error.into(),
    }
}
