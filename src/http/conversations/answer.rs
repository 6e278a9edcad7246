//! How a stored message or a retry is answered: as a stream of what it causes, or whole once it is over.

use std::{
    future::poll_fn,
    time::{Duration, Instant},
};

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web::Data,
};
use openclaw_actors::{
    conversation::{
        directory::Opened,
        feed::Closing,
        messages::{Accepted, ConversationKey},
        reader::{Cursor, Frame, Reader},
        record::{Conversation, Message, Turn},
        sql::read,
    },
    event::{DurableEvent, EventKind},
    idempotency::Effect,
    store::StoreError,
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::timeout;
use tracing::warn;

use super::{
    delivery::{Delivered, StopOnDrop},
    links, repeats,
};
use crate::{
    http::{
        auth::Caller,
        error::ApiError,
        open_streams::ActiveStream,
        sse::{self, Events},
        tickets::ClientToken,
        timing::Timing,
    },
    server::Parts,
};

/// How long what is stored may take to be read: no model is waited for.
const AT_HAND: Duration = Duration::from_secs(5);

/// What is answered: each has its own status and its own wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Start,
    Message,
    Retry,
}

/// An answer in the making.
pub(super) struct Answering {
    pub(super) parts: Data<Parts>,
    pub(super) key: ConversationKey,
    pub(super) of: Of,
    pub(super) delivered: Delivered,
    /// Of a streamed one.
    pub(super) active: Option<ActiveStream>,
    /// When the request's last byte was here.
    pub(super) asked_at: Instant,
    /// Where a repeated request goes on.
    pub(super) resumes_at: Option<Cursor>,
    /// Who reads it.
    pub(super) viewer: Viewer,
}

/// Who reads an answer.
#[derive(Debug, Default)]
pub(super) struct Viewer {
    /// A customer's page.
    is_page: bool,
    /// What a page goes on with that has just begun.
    client_token: Option<ClientToken>,
}

impl Viewer {
    pub(super) fn of<P>(caller: &Caller<P>) -> Self {
        Self { is_page: caller.is_page(), client_token: None }
    }

    pub(super) fn with(self, client_token: Option<ClientToken>) -> Self {
        Self { client_token, ..self }
    }

    /// The token as the first event of a stream: without an id, because it is stored nowhere.
    fn first_event(&self) -> Result<Option<(&'static str, Vec<u8>)>, ApiError> {
        const KIND: &str = "client_token";
        #[derive(Serialize)]
        struct Said<'a> {
            r#type: &'static str,
            #[serde(flatten)]
            token: &'a ClientToken,
        }
        let said = self.client_token.as_ref().map(|token| serde_json::to_vec(&Said { r#type: KIND, token }));
        Ok(said.transpose().map_err(ApiError::internal)?.map(|json| (KIND, json)))
    }
}

/// `{message, turn, reply}`, and at a start what goes with it.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation: Option<&'a Conversation>,
    message: Option<&'a Message>,
    turn: Option<Box<RawValue>>,
    reply: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_token: Option<Option<&'a ClientToken>>,
}

/// What the turn's stream told while it was waited for.
#[derive(Default)]
struct Told {
    turn: Option<Box<RawValue>>,
    reply: Option<Box<RawValue>>,
    ended: bool,
    erased: bool,
}

impl Answering {
    pub(super) async fn answer(
        self,
        accepted: Accepted,
        stops: Option<StopOnDrop>,
    ) -> Result<HttpResponse, ApiError> {
        if self.delivered.streamed {
            self.stream(accepted, stops).await
        } else {
            self.whole(accepted, stops).await
        }
    }

    /// Of a repeated request: from what the first one left.
    pub(super) async fn answer_again(self, effect: &Effect) -> Result<HttpResponse, ApiError> {
        let (_, accepted) = repeats::accepted(&self.parts, self.key.0, effect).await?;
        self.answer(accepted, None).await
    }

    fn timing(&self, accepted: &Accepted) -> Option<Timing> {
        let turn = accepted.turn.as_ref().filter(|_| !accepted.repeated)?;
        let model = turn.options.model.clone();
        let model = model.or_else(|| self.parts.directory.models().default_name().map(str::to_owned));
        Some(Timing::new(model?, self.asked_at))
    }

    async fn stream(self, accepted: Accepted, stops: Option<StopOnDrop>) -> Result<HttpResponse, ApiError> {
        let timing = self.timing(&accepted);
        let Some(active) = self.active else { return Err(ApiError::internal("a stream was not counted")) };
        let turn = accepted.turn.as_ref().map(|turn| turn.id);
        let location = turn.map(|turn| links::turn(self.key, turn));
        let directory = &self.parts.directory;
        let reader = match (self.resumes_at.filter(|_| accepted.repeated), turn) {
            (Some(cursor), Some(turn)) => match directory.open(self.key, Some(turn), Some(cursor)).await? {
                Opened::Reader(reader) => *reader,
                Opened::Ended => return Ok(sse::nothing_more(location)),
                Opened::NotFound => return Err(ApiError::not_found()),
            },
            _ => directory.follow(self.key, &accepted),
        };
        let events = Events::new(reader, self.key.1, active).stopping(stops).timed(timing);
        let events = events.for_page(self.viewer.is_page).beginning_with(self.viewer.first_event()?);
        Ok(events.response(location))
    }

    async fn whole(
        self,
        accepted: Accepted,
        mut stops: Option<StopOnDrop>,
    ) -> Result<HttpResponse, ApiError> {
        let timing = self.timing(&accepted);
        let mut told = Told::default();
        let patience = accepted.turn.as_ref().map_or(Duration::ZERO, |turn| self.patience(turn));
        if !patience.is_zero() {
            let reader = self.parts.directory.follow(self.key, &accepted);
            match timeout(patience, told.listen(reader)).await {
                Ok(Ok(())) => {}
                // The message is stored and its turn goes on, which is what the client is told.
                Ok(Err(error)) => warn!(%error, "an answer could not be followed to its end"),
                Err(_) => {}
            }
            if told.erased {
                return Err(ApiError::not_found());
            }
        }
        // From here on the client gets its answer: it does not hang up.
        stops.iter_mut().for_each(StopOnDrop::disarm);
        let goes_on = accepted.turn.is_some() && !told.ended;
        if let (Some(timing), false) = (timing, goes_on) {
            timing.ended();
        }
        self.render(&accepted, told, goes_on).await
    }

    /// How long the turn's end is waited for. One that is over is shown with its reply also to who would not wait:
    /// a repeat finds such.
    fn patience(&self, turn: &Turn) -> Duration {
        let within = self.delivered.within;
        if turn.ended_sequence.is_some() { within.max(AT_HAND) } else { within }
    }

    async fn render(&self, accepted: &Accepted, told: Told, goes_on: bool) -> Result<HttpResponse, ApiError> {
        let store = &self.parts.store;
        let present = match (self.of, &accepted.turn) {
            // It moved on while it was waited for.
            (Of::Start, Some(turn)) if !self.patience(turn).is_zero() => {
                Some(read::conversation(store, self.key).await?.ok_or_else(ApiError::not_found)?)
            }
            _ => None,
        };
        let mut repeated = None;
        if let (Of::Retry, Some(turn)) = (self.of, &accepted.turn)
            && let Some(last) = turn.message_ids.last()
        {
            repeated = read::message(store, self.key, *last).await?;
        }
        let is_start = self.of == Of::Start;
        let conversation = present.as_ref().unwrap_or(&accepted.conversation);
        let whole = Whole {
            conversation: is_start.then_some(conversation),
            message: accepted.message.as_ref().or(repeated.as_ref()),
            turn: match told.turn {
                Some(turn) => Some(turn),
                None => accepted.turn.as_ref().map(as_json).transpose()?,
            },
            reply: told.reply,
            // A start by a secret key shows the field without a token.
            client_token: is_start.then_some(self.viewer.client_token.as_ref()),
        };
        let status = match (goes_on, is_start) {
            (true, _) => StatusCode::ACCEPTED,
            (false, true) => StatusCode::CREATED,
            (false, false) => StatusCode::OK,
        };
        let mut response = HttpResponse::build(status);
        if let Some(location) = self.location(accepted) {
            response.insert_header((header::LOCATION, location));
        }
        Ok(response.json(whole))
    }

    fn location(&self, accepted: &Accepted) -> Option<String> {
        match self.of {
            Of::Start => Some(links::conversation(self.key)),
            Of::Message => accepted.message.as_ref().map(|message| links::message(self.key, message.id)),
            Of::Retry => accepted.turn.as_ref().map(|turn| links::turn(self.key, turn.id)),
        }
    }
}

fn as_json(turn: &Turn) -> Result<Box<RawValue>, ApiError> {
    to_raw_value(turn).map_err(ApiError::internal)
}

impl Told {
    /// Follows a turn to its end.
    async fn listen(&mut self, mut reader: Reader) -> Result<(), StoreError> {
        let mut frames = Vec::new();
        while poll_fn(|cx| reader.poll_frames(cx, &mut frames)).await? {
            for frame in frames.drain(..) {
                match frame {
                    Frame::Event(event, _) => self.hear(&event),
                    Frame::Closing(closing) => self.erased = closing == Closing::Deleted,
                    Frame::Delta { .. } | Frame::Notice(_) | Frame::Gap { .. } => {}
                }
            }
        }
        Ok(())
    }

    /// The turn and its reply look in the answer as they do in their events.
    fn hear(&mut self, event: &DurableEvent) {
        #[derive(Deserialize)]
        struct Shown<'a> {
            #[serde(borrow)]
            data: Data<'a>,
        }
        #[derive(Deserialize)]
        struct Data<'a> {
            #[serde(borrow)]
            turn: Option<&'a RawValue>,
            #[serde(borrow)]
            message: Option<&'a RawValue>,
        }
        let Ok(Shown { data }) = serde_json::from_slice(&event.json) else { return };
        if let Some(turn) = data.turn {
            self.turn = Some(turn.to_owned());
        }
        if event.kind == EventKind::MessageSent {
            self.reply = data.message.map(ToOwned::to_owned);
        }
        self.ended |= event.kind.is_terminal();
    }
}
