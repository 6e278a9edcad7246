//! A request for a chat completion, as OpenAI's clients send it.
//!
//! What cannot change the meaning of an answer is ignored, whoever invented it. What would and is not supported is
//! refused: see [`unsupported`].

use std::{collections::BTreeMap, fmt, sync::Arc};

use actix_web::http::header::HeaderName;
use openclaw_actors::{
    answer::{Said, Speaker},
    ids::ConversationId,
};
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::{Value, json};

use crate::{
    http::{conversations::fields, error::ApiError},
    server::Parts,
};

pub(super) const CONVERSATION_ID: HeaderName = HeaderName::from_static("x-conversation-id");

/// The pair of `metadata` that names a conversation.
const CONVERSATION_PAIR: &str = "conversation_id";

/// As many as OpenAI takes.
const STOPS_MOST: usize = 4;

/// A stop sequence is some words at most; it is looked for in every piece of an answer.
const STOP_LONGEST: usize = 256;

/// The last messages that are looked at: as many as of a stored conversation.
const MESSAGES_MOST: usize = 100;

/// As it comes. What is not named here is ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::http) struct Request {
    model: Option<String>,
    messages: Vec<Message>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    stop: Option<Words>,
    metadata: Option<BTreeMap<String, Value>>,
    n: Value,
    tools: Value,
    tool_choice: Value,
    functions: Value,
    function_call: Value,
    response_format: Value,
    logprobs: Value,
    top_logprobs: Value,
    logit_bias: Value,
    modalities: Value,
    audio: Value,
    web_search_options: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    role: String,
    content: Option<Words>,
    tool_calls: Value,
    function_call: Value,
}

/// One text or a list: of texts where sequences stop an answer, of parts where a message has them.
#[derive(Debug)]
enum Words {
    One(String),
    Many(Vec<Value>),
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list")
            }

            fn visit_str<E>(self, text: &str) -> Result<Words, E> {
                Ok(Words::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Words, A::Error> {
                let mut many = Vec::new();
                while let Some(item) = items.next_element()? {
                    many.push(item);
                }
                Ok(Words::Many(many))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

/// A request, checked.
#[derive(Debug)]
pub(super) struct Asked {
    /// One of this server's, if it named one.
    pub(super) model: Option<String>,
    pub(super) streamed: bool,
    pub(super) with_usage: bool,
    pub(super) most_tokens: Option<u64>,
    pub(super) stops: Vec<String>,
    pub(super) conversation: Option<ConversationId>,
    /// Everything said; the last of the customer is what to answer.
    pub(super) said: Vec<Said>,
}

impl Asked {
    /// What the customer said last: all that is new to a conversation.
    pub(super) fn last(&self) -> String {
        let last = self.said.iter().rev().find(|said| said.by == Speaker::Customer);
        last.map(|said| said.text.to_string()).unwrap_or_default()
    }
}

impl Request {
    /// `named` is the conversation's id of the header.
    pub(super) fn check(self, named: Option<&str>, parts: &Parts) -> Result<Asked, ApiError> {
        self.unsupported()?;
        let models = parts.directory.models();
        if let Some(model) = self.model.as_deref().filter(|model| !models.has(model)) {
            let message =
                format!("the model `{model}` does not exist here: `GET /v1/models` lists those that do");
            return Err(ApiError::missing("model_not_found", message).param("model"));
        }
        let conversation = conversation(named, self.metadata.unwrap_or_default())?;
        let tokens = [("max_tokens", self.max_tokens), ("max_completion_tokens", self.max_completion_tokens)];
        if let Some((param, _)) = tokens.iter().find(|(_, most)| *most == Some(0)) {
            return Err(ApiError::invalid_field(*param, "it must be at least 1"));
        }
        let said = said(self.messages)?;
        Ok(Asked {
            model: self.model,
            streamed: self.stream.unwrap_or(false),
            with_usage: self.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
            most_tokens: tokens.iter().filter_map(|(_, most)| *most).min(),
            stops: stops(self.stop)?,
            conversation,
            said,
        })
    }

    /// Refuses what would make another answer than this server gives.
    fn unsupported(&self) -> Result<(), ApiError> {
        let nothing = [Value::Null, json!(false), json!([]), json!({}), json!(0)];
        let harmless = |value: &Value, also: &[Value]| nothing.contains(value) || also.contains(value);
        let refused = [
            ("n", &self.n, &[json!(1)][..], "one answer is made at a time"),
            ("tools", &self.tools, &[], "answers do not call tools"),
            ("tool_choice", &self.tool_choice, &[json!("none"), json!("auto")], "answers do not call tools"),
            ("functions", &self.functions, &[], "answers do not call functions"),
            (
                "function_call",
                &self.function_call,
                &[json!("none"), json!("auto")],
                "answers do not call functions",
            ),
            ("response_format", &self.response_format, &[json!({"type": "text"})], "answers are text"),
            ("logprobs", &self.logprobs, &[], "probabilities of tokens are not known"),
            ("top_logprobs", &self.top_logprobs, &[], "probabilities of tokens are not known"),
            ("logit_bias", &self.logit_bias, &[], "probabilities of tokens cannot be changed"),
            ("modalities", &self.modalities, &[json!(["text"])], "answers are text"),
            ("audio", &self.audio, &[], "answers are text"),
            ("web_search_options", &self.web_search_options, &[], "answers rest on articles, not on the web"),
        ];
        match refused.into_iter().find(|(_, value, also, _)| !harmless(value, also)) {
            Some((param, _, _, why)) => {
                let message = format!("`{param}` is not supported: {why}");
                Err(ApiError::bad_request("unsupported_parameter", message).param(param))
            }
            None => Ok(()),
        }
    }
}

/// Which conversation it belongs to. A malformed id names none that exists.
fn conversation(
    header: Option<&str>,
    mut metadata: BTreeMap<String, Value>,
) -> Result<Option<ConversationId>, ApiError> {
    let param = format!("metadata.{CONVERSATION_PAIR}");
    let pair = match metadata.remove(CONVERSATION_PAIR) {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id),
        Some(_) => return Err(ApiError::invalid_field(param, "it must be a text")),
    };
    if let (Some(header), Some(pair)) = (header, &pair)
        && header != pair
    {
        return Err(ApiError::invalid_field(
            param,
            "it is not the conversation that X-Conversation-Id names",
        ));
    }
    let id = header.or(pair.as_deref()).map(str::parse);
    id.transpose().map_err(|_| ApiError::not_found())
}

fn stops(stop: Option<Words>) -> Result<Vec<String>, ApiError> {
    let wrong = || {
        let message = format!("it must be a text, or up to {STOPS_MOST}, of 1 to {STOP_LONGEST} characters");
        ApiError::invalid_field("stop", message)
    };
    let stops = match stop {
        None => Vec::new(),
        Some(Words::One(stop)) => vec![Value::String(stop)],
        Some(Words::Many(stops)) => stops,
    };
    if stops.len() > STOPS_MOST {
        return Err(wrong());
    }
    let fits = |stop: &str| !stop.is_empty() && stop.chars().nth(STOP_LONGEST).is_none();
    let stops = stops.into_iter().map(|stop| match stop {
        Value::String(stop) if fits(&stop) => Ok(stop),
        _ => Err(wrong()),
    });
    stops.collect()
}

/// Everything said.
fn said(messages: Vec<Message>) -> Result<Vec<Said>, ApiError> {
    let mut said = Vec::new();
    for (place, message) in messages.into_iter().enumerate() {
        let at = format!("messages[{place}]");
        let by = match message.role.as_str() {
            // What an operator writes there is material for the answer, like an article; this server's instructions
            // stay its own.
            "system" | "developer" => Speaker::System,
            "user" => Speaker::Customer,
            "assistant" => Speaker::Assistant,
            "tool" | "function" => {
                let message = "answers do not call tools, so there are no results of any";
                return Err(ApiError::invalid_field(format!("{at}.role"), message));
            }
            _ => {
                let message = "it must be `system`, `developer`, `user` or `assistant`";
                return Err(ApiError::invalid_field(format!("{at}.role"), message));
            }
        };
        let calls = [("tool_calls", &message.tool_calls), ("function_call", &message.function_call)];
        if let Some((name, _)) = calls.iter().find(|(_, call)| **call != Value::Null && **call != json!([])) {
            return Err(ApiError::invalid_field(format!("{at}.{name}"), "answers do not call tools"));
        }
        let content = text(&format!("{at}.content"), message.content)?;
        // Others may have been silent; a customer was not.
        if content.is_empty() && by != Speaker::Customer {
            continue;
        }
        let text: Arc<str> = fields::content(&format!("{at}.content"), content)?;
        said.push(Said { by, text });
    }
    if !said.iter().any(|said: &Said| said.by == Speaker::Customer) {
        return Err(ApiError::invalid_field("messages", "at least one must be of the role `user`"));
    }
    if said.last().is_some_and(|last| last.by == Speaker::Assistant) {
        return Err(ApiError::invalid_field(
            "messages",
            "the last must not be the assistant's: there is nothing to answer",
        ));
    }
    said.drain(..said.len().saturating_sub(MESSAGES_MOST));
    Ok(said)
}

/// The text of a message, whole or in parts.
fn text(at: &str, content: Option<Words>) -> Result<String, ApiError> {
    let parts = match content {
        None => return Ok(String::new()),
        Some(Words::One(text)) => return Ok(text),
        Some(Words::Many(parts)) => parts,
    };
    let mut texts = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let kind = part["type"].as_str().unwrap_or_default();
        let text = match kind {
            "text" => part["text"].as_str(),
            "refusal" => part["refusal"].as_str(),
            _ => {
                let message = format!("parts of the type `{kind}` are not supported: messages are text");
                return Err(ApiError::invalid_field(format!("{at}[{place}].type"), message));
            }
        };
        let text = text
            .ok_or_else(|| ApiError::invalid_field(format!("{at}[{place}].{kind}"), "it must be a text"))?;
        texts.push(text);
    }
    Ok(texts.join("\n"))
}
