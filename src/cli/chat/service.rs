//! The requests that a chat makes.

use std::{collections::VecDeque, time::Duration};

use actix_web::http::{Method, StatusCode, header};
use awc::ClientResponse;
use futures_util::StreamExt;
use openclaw_actors::ids::{ConversationId, RequestId, TurnId};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::wire::{Conversation, Message, Page};
use crate::cli::{
    remote::{CallError, Remote},
    sse::{Event, Parser},
};

/// A stream says something every 15 seconds; one that was silent for three times that is dead.
const SILENT_AFTER: Duration = Duration::from_secs(45);

/// Where these conversations take place, for analytics.
const CHANNEL: &str = "terminal";

const IDEMPOTENCY_KEY: header::HeaderName = header::HeaderName::from_static("idempotency-key");
const LAST_EVENT_ID: header::HeaderName = header::HeaderName::from_static("last-event-id");

/// A message on its way: sent again as it is, it is still the same message.
pub(super) struct Question {
    path: String,
    body: String,
    idempotency_key: String,
}

impl Question {
    /// In that conversation, or in a new one.
    pub(super) fn new(conversation: Option<ConversationId>, content: &str) -> Self {
        let (path, body) = match conversation {
            Some(id) => {
                (format!("/v1/conversations/{id}/messages"), json!({ "content": content, "stream": true }))
            }
            None => (
                "/v1/conversations".to_owned(),
                json!({ "channel": CHANNEL, "message": content, "stream": true }),
            ),
        };
        let idempotency_key = RequestId::generate().to_string().replace(RequestId::PREFIX, "chat_");
        Self { path, body: body.to_string(), idempotency_key }
    }
}

/// The part of a server that a chat uses.
pub(super) struct Service(Remote);

impl Service {
    pub(super) fn new(remote: Remote) -> Self {
        Self(remote)
    }

    /// Sends the message, or finds it again if it has arrived already, and opens its answer after `cursor`.
    pub(super) async fn ask(&self, question: &Question, cursor: Option<&str>) -> Result<Events, CallError> {
        let mut request = self.0.request(Method::POST, &question.path);
        request = request.insert_header((IDEMPOTENCY_KEY, &*question.idempotency_key));
        if let Some(cursor) = cursor {
            request = request.insert_header((LAST_EVENT_ID, cursor));
        }
        self.0.send(request, question.body.clone()).await.map(Events::of)
    }

    /// Opens the answer of a turn after `cursor`; `None` if nothing follows.
    pub(super) async fn answer(
        &self,
        conversation: ConversationId,
        turn: TurnId,
        cursor: Option<&str>,
    ) -> Result<Option<Events>, CallError> {
        let path = format!("/v1/conversations/{conversation}/turns/{turn}/stream");
        let mut request = self.0.request(Method::GET, &path);
        if let Some(cursor) = cursor {
            request = request.insert_header((LAST_EVENT_ID, cursor));
        }
        let response = self.0.send(request, String::new()).await?;
        Ok((response.status() != StatusCode::NO_CONTENT).then(|| Events::of(response)))
    }

    /// Stops a turn. The stream of its answer says how it ended.
    pub(super) async fn stop(&self, conversation: ConversationId, turn: TurnId) -> Result<(), CallError> {
        let path = format!("/v1/conversations/{conversation}/turns/{turn}/stop");
        self.0.call::<Value>(self.0.request(Method::POST, &path), String::new()).await.map(drop)
    }

    pub(super) async fn conversation(&self, id: ConversationId) -> Result<Conversation, CallError> {
        let request = self.0.request(Method::GET, &format!("/v1/conversations/{id}"));
        Ok(self.0.call(request, String::new()).await?.1)
    }

    /// The last messages, oldest first.
    pub(super) async fn last_messages(
        &self,
        id: ConversationId,
        count: usize,
    ) -> Result<Vec<Message>, CallError> {
        let path = format!("/v1/conversations/{id}/messages?order=desc&limit={count}");
        let (_, mut page): (_, Page<Message>) =
            self.0.call(self.0.request(Method::GET, &path), String::new()).await?;
        page.data.reverse();
        Ok(page.data)
    }

    /// A stream ended before its answer.
    pub(super) fn broke_off(&self) -> CallError {
        self.0.broken(&"the stream ended before the answer did")
    }

    /// What answers is no such server: its stream makes no sense.
    pub(super) fn foreign(&self, cause: &serde_json::Error) -> CallError {
        self.0.foreign(cause)
    }
}

/// An open stream.
pub(super) struct Events {
    body: ClientResponse,
    parser: Parser,
    ready: VecDeque<Event>,
}

impl Events {
    fn of(body: ClientResponse) -> Self {
        Self { body, parser: Parser::default(), ready: VecDeque::new() }
    }

    /// The next event; `None` once the stream ended, broke or fell silent. Nothing is lost when this is dropped
    /// before it ends.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let piece = timeout(SILENT_AFTER, self.body.next()).await.ok()??.ok()?;
            let ready = &mut self.ready;
            self.parser.push(&piece, |event| ready.push_back(event)).ok()?;
        }
    }

    /// How long the server asks to wait before coming back.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.parser.retry_ms().map(Duration::from_millis)
    }
}
