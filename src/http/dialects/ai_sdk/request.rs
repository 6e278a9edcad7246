//! What `useChat` sends: the chat's id, all messages that it shows, and why it asks.

use serde::Deserialize;

use crate::{
    http::{
        conversations::{Foreign, Incoming, MessageBody, OnDisconnect},
        error::ApiError,
    },
    server::Parts,
};

/// As it comes. What an application adds is ignored.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct Request {
    id: String,
    messages: Vec<UiMessage>,
    #[serde(default)]
    trigger: Option<String>,
    #[serde(default)]
    on_disconnect: Option<OnDisconnect>,
}

#[derive(Debug, Deserialize)]
struct UiMessage {
    #[serde(default)]
    id: Option<String>,
    role: String,
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Debug, Deserialize)]
struct Part {
    r#type: String,
    #[serde(default)]
    text: Option<String>,
}

/// Why it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    /// A message is new.
    Submit,
    /// The last answer is to be tried again.
    Regenerate,
}

/// A request, checked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) chat: String,
    pub(super) trigger: Trigger,
    /// The client's id of the last message of the user.
    pub(super) message: Option<String>,
    /// That message.
    pub(super) incoming: Incoming,
    pub(super) stops_on_disconnect: bool,
}

impl Request {
    pub(super) fn check(self, parts: &Parts) -> Result<Asked, ApiError> {
        let trigger = match self.trigger.as_deref() {
            None | Some("submit-message") => Trigger::Submit,
            Some("regenerate-message") => Trigger::Regenerate,
            Some(_) => {
                let message = "it must be `submit-message` or `regenerate-message`";
                return Err(ApiError::invalid_field("trigger", message));
            }
        };
        let last = self.messages.into_iter().enumerate().rfind(|(_, message)| message.role == "user");
        let Some((place, last)) = last else {
            return Err(ApiError::invalid_field("messages", "at least one must be of the role `user`"));
        };
        let at = format!("messages[{place}]");
        let message = last.id.filter(|id| !id.is_empty());
        let content = text(&at, last.parts)?;
        let foreign = Foreign { content, client_message_id: message.clone(), ..Foreign::default() };
        let incoming = MessageBody::from(foreign).check("", parts).map_err(|error| place_of(error, &at))?;
        let stops_on_disconnect = self.on_disconnect == Some(OnDisconnect::Stop);
        Ok(Asked { chat: self.id, trigger, message, incoming, stops_on_disconnect })
    }
}

/// The fields of a message have other names here.
fn place_of(error: ApiError, at: &str) -> ApiError {
    let name = match error.param_name() {
        Some("content") => "parts",
        Some("client_message_id") => "id",
        _ => return error,
    };
    error.param(format!("{at}.{name}"))
}

/// What the parts say together. Those that are no words – data of the application, steps – say nothing.
fn text(at: &str, parts: Vec<Part>) -> Result<String, ApiError> {
    let mut texts = Vec::new();
    for (place, part) in parts.into_iter().enumerate() {
        match part.r#type.as_str() {
            "text" => texts.extend(part.text),
            "file" => {
                let message = "files are not supported: messages are text";
                return Err(ApiError::invalid_field(format!("{at}.parts[{place}].type"), message));
            }
            _ => {}
        }
    }
    Ok(texts.join("\n"))
}
