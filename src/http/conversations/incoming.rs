//! A message as a client sends it: the body of `POST …/messages`, the `message` of a start, a WebSocket's frame.

use std::{collections::BTreeMap, sync::Arc};

use openclaw_actors::{
    answer::synthetic::{self, Synthetic},
    conversation::{
        messages::{AgentMessage, NewMessage, OnBusy},
        record::{Author, Metadata, TurnOptions},
    },
    ids::{MessageId, TurnId},
    writer::Row,
};
use serde::{Deserialize, Serialize};

use super::{
    delivery::{Delivery, OnDisconnect},
    fields::{self, AuthorBody},
};
use crate::{
    http::{error::ApiError, idempotency::fingerprint},
    server::Parts,
};

/// Who sends it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum Sender {
    #[default]
    Customer,
    Agent,
}

impl Sender {
    /// As it stands on the wire.
    pub(in crate::http) fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Agent => "agent",
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Busy {
    Queue,
    Reject,
    Interrupt,
    Merge,
}

/// As it comes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct MessageBody {
    content: String,
    role: Option<Sender>,
    client_message_id: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    author: Option<AuthorBody>,
    on_busy: Option<Busy>,
    model: Option<String>,
    synthetic: Option<Synthetic>,
    stream: Option<bool>,
    wait_seconds: Option<u64>,
    on_disconnect: Option<OnDisconnect>,
}

/// A message that is nothing but its words.
impl From<String> for MessageBody {
    fn from(content: String) -> Self {
        Self { content, ..Self::default() }
    }
}

/// A customer's message in another dialect.
#[derive(Debug, Default)]
pub(in crate::http) struct Foreign {
    pub(in crate::http) content: String,
    pub(in crate::http) model: Option<String>,
    pub(in crate::http) client_message_id: Option<String>,
    /// If a turn runs it is refused; else it waits.
    pub(in crate::http) rejects: bool,
}

impl From<Foreign> for MessageBody {
    fn from(foreign: Foreign) -> Self {
        let Foreign { content, model, client_message_id, rejects } = foreign;
        let on_busy = rejects.then_some(Busy::Reject);
        Self { content, model, client_message_id, on_busy, ..Self::default() }
    }
}

/// A message, checked.
#[derive(Debug, Clone)]
pub(in crate::http) struct Incoming {
    pub(super) sender: Sender,
    content: Arc<str>,
    client_message_id: Option<String>,
    fingerprint: String,
    metadata: Metadata,
    author: Option<Author>,
    on_busy: OnBusy,
    options: TurnOptions,
}

impl MessageBody {
    pub(in crate::http) fn sender(&self) -> Sender {
        self.role.unwrap_or_default()
    }

    /// How the answer is to be delivered, if the message says.
    pub(super) fn delivery(&self) -> Delivery {
        Delivery { stream: self.stream, wait_seconds: self.wait_seconds, on_disconnect: self.on_disconnect }
    }

    pub(in crate::http) fn stops_on_disconnect(&self) -> bool {
        self.on_disconnect == Some(OnDisconnect::Stop)
    }

    /// `at` is where it stands in the request: empty, or `message.`.
    pub(in crate::http) fn check(self, at: &str, parts: &Parts) -> Result<Incoming, ApiError> {
        let sender = self.sender();
        let name = |field: &str| format!("{at}{field}");
        if sender == Sender::Customer && self.author.is_some() {
            return Err(ApiError::invalid_field(name("author"), "only an agent's message has an author"));
        }
        let content = fields::content(&name("content"), self.content)?;
        let client_message_id = self
            .client_message_id
            .map(|id| fields::client_message_id(&name("client_message_id"), id))
            .transpose()?;
        let metadata = fields::metadata(&name("metadata"), self.metadata.unwrap_or_default())?;
        let author = self.author.map(|author| author.check(&name("author"))).transpose()?;
        let options = turn_options(self.model, self.synthetic, at, parts)?;
        let on_busy = match self.on_busy {
            None | Some(Busy::Queue) => OnBusy::Queue,
            Some(Busy::Reject) => OnBusy::Reject,
            Some(Busy::Interrupt) => OnBusy::Interrupt,
            Some(Busy::Merge) => OnBusy::Merge,
        };
        // Everything that decides what is stored; how the answer is delivered does not.
        let decisive = serde_json::to_vec(&(sender, &*content, &metadata, &author, &options));
        let fingerprint = fingerprint([decisive.map_err(ApiError::internal)?.as_slice()]);
        Ok(Incoming { sender, content, client_message_id, fingerprint, metadata, author, on_busy, options })
    }
}

/// Who answers, and how a load test wants it.
fn turn_options(
    model: Option<String>,
    synthetic: Option<Synthetic>,
    at: &str,
    parts: &Parts,
) -> Result<TurnOptions, ApiError> {
    let models = parts.directory.models();
    if let Some(model) = &model
        && !models.has(model)
    {
        return Err(ApiError::invalid_field(format!("{at}model"), "it must be one of `GET /v1/models`"));
    }
    let Some(wanted) = synthetic else { return Ok(TurnOptions { model, synthetic: None }) };
    let param = format!("{at}synthetic");
    if !parts.config.model.synthetic.per_request {
        let message =
            "this server does not let a message set how it is answered (model.synthetic.per_request)";
        return Err(ApiError::forbidden("synthetic_not_allowed", message).param(param));
    }
    if let Err(field) = wanted.check() {
        return Err(ApiError::invalid_field(format!("{param}.{field}"), "it is out of range"));
    }
    if model.as_deref().is_some_and(|model| model != synthetic::MODEL) {
        return Err(ApiError::invalid_field(param, "it goes with the model `synthetic` only"));
    }
    Ok(TurnOptions { model: Some(synthetic::MODEL.to_owned()), synthetic: Some(wanted) })
}

/// What the organization lets a message of the customer do.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Allowed {
    /// Open a completed conversation again.
    pub(super) reopen: bool,
    /// Be answered while a handover waits.
    pub(super) answer_while_waiting: bool,
}

impl Allowed {
    /// Where nothing is chosen.
    pub(super) const EVERYTHING: Self = Self { reopen: true, answer_while_waiting: true };
}

impl Incoming {
    /// As a customer's message, under these ids.
    pub(in crate::http) fn into_customers(
        self,
        (id, turn): (MessageId, TurnId),
        allowed: Allowed,
        idempotency: Option<Row>,
    ) -> NewMessage {
        NewMessage {
            id,
            turn,
            content: self.content,
            client_message_id: self.client_message_id,
            fingerprint: self.fingerprint,
            metadata: self.metadata,
            on_busy: self.on_busy,
            options: self.options,
            reopen: allowed.reopen,
            answer_while_waiting: allowed.answer_while_waiting,
            idempotency,
        }
    }

    /// As an agent's message.
    pub(in crate::http) fn into_agents(self, id: MessageId, idempotency: Option<Row>) -> AgentMessage {
        AgentMessage {
            id,
            content: self.content,
            client_message_id: self.client_message_id,
            fingerprint: self.fingerprint,
            author: self.author,
            metadata: self.metadata,
            idempotency,
        }
    }
}
