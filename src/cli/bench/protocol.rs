//! How simulated clients speak with the server.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::Target;

/// The way in which answers are streamed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Protocol {
    /// Server-Sent Events
    #[default]
    Sse,
    /// A WebSocket for each conversation, `message.send` on it
    Websocket,
    /// Chat completions of the OpenAI dialect
    Openai,
}

impl Protocol {
    /// The body that begins a conversation with a streamed answer, or whatever comes first.
    pub(super) fn first(self, target: &Target) -> (&'static str, Value) {
        match self {
            Self::Sse => (
                "/v1/conversations",
                json!({ "channel": "bench", "message": target.message(), "stream": true }),
            ),
            Self::Websocket => ("/v1/conversations", begin()),
            Self::Openai => (COMPLETIONS, completion(target)),
        }
    }
}

/// Where chat completions are asked for.
pub(super) const COMPLETIONS: &str = "/v1/chat/completions";

/// The body that begins a conversation without a message.
pub(super) fn begin() -> Value {
    json!({ "channel": "bench" })
}

/// A message as the OpenAI dialect says it. How the model is to answer has no field there.
pub(super) fn completion(target: &Target) -> Value {
    let message = target.message();
    let mut body = json!({
        "messages": [{ "role": "user", "content": message["content"] }],
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    if let Some(model) = message.get("model") {
        body["model"] = model.clone();
    }
    body
}
