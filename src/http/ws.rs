//! `GET /v1/conversations/{id}/ws`: a conversation over a WebSocket, both ways.
//!
//! Out go the frames of a reader, as on the conversation's stream; in come messages, stops and typing. The actor runs
//! inside the answer's body, which is asked for more only when the socket has room: a slow reader costs its position.

mod batches;
mod command;
mod guard;

use std::{
    collections::HashMap,
    rc::Rc,
    str,
    time::{Duration, Instant},
};

use actix::prelude::*;
use actix_http::ws::Item;
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use actix_web_actors::ws::{
    CloseCode, CloseReason, Message, ProtocolError, WebsocketContext, WsResponseBuilder,
};
use bytes::BytesMut;
use openclaw_actors::{
    conversation::{
        directory::Opened,
        messages::ConversationKey,
        reader::{Cursor, Frame},
    },
    ids::{ConversationId, TurnId},
    keys::Scope,
};
use tokio::sync::Mutex;

use self::{
    batches::{Batch, Batches},
    command::{Done, carry_out},
    guard::Guarded,
};
use super::{
    auth::{Caller, ReadConversations, StreamParty},
    conversations::StopOnDrop,
    cursor::StreamParameters,
    error::ApiError,
    frames::{self, Goodbye, JsonFrames},
    open_streams::ActiveStream,
    query::{PathId, Query},
    redact,
};
use crate::server::Parts;

/// As large as a request's body may be.
const LARGEST_FRAME: usize = 1 << 20;

/// Proxies cut what is silent for a minute, some for half of one.
const PING_EVERY: Duration = Duration::from_secs(15);

/// Three pings without an answer: nobody is there.
const SILENT_FOR: Duration = Duration::from_secs(50);

/// Commands of one socket under way at once. A person has one; more than this is a client gone wrong.
const MOST_UNDER_WAY: usize = 16;

/// Opens a WebSocket on a conversation.
pub(super) async fn open(
    mut party: StreamParty<ReadConversations>,
    id: PathId<ConversationId>,
    request: HttpRequest,
    parameters: Query<StreamParameters>,
    payload: Payload,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let cursor = parameters.cursor(request.headers())?;
    if parts.stopping.is_announced() {
        return Err(ApiError::unavailable());
    }
    let key = (party.caller.org, *id);
    let Opened::Reader(reader) = parts.directory.open(key, None, cursor).await? else {
        return Err(ApiError::not_found());
    };
    let seat = party.seat(&parts).await?;
    let StreamParty { caller, permit, .. } = party;
    let active = ActiveStream::new(&parts.keys, &caller.principal, Scope::ConversationsRead, permit);
    let active = active.seated(seat);
    let json = JsonFrames::of(key.1).for_page(caller.is_page());
    let socket = Socket {
        parts,
        caller,
        key,
        json,
        batches: Some(Batches::new(*reader, active)),
        heard_at: Instant::now(),
        parts_heard: BytesMut::new(),
        under_way: 0,
        in_order: Rc::default(),
        stops: HashMap::new(),
    };
    // What a handshake lacks is the client's doing.
    let guarded = Guarded::new(payload, LARGEST_FRAME);
    let response = WsResponseBuilder::new(socket, &request, guarded).frame_size(LARGEST_FRAME).start();
    response.map_err(|error| ApiError::bad_request("invalid_handshake", error.to_string()))
}

/// One open WebSocket.
struct Socket {
    parts: Data<Parts>,
    caller: Caller<ReadConversations>,
    key: ConversationKey,
    json: JsonFrames,
    /// Until the actor starts to read them.
    batches: Option<Batches>,
    heard_at: Instant,
    /// Of a message that comes in parts.
    parts_heard: BytesMut,
    under_way: usize,
    /// Held while it is looked up what the caller may do, so that no command overtakes another there.
    in_order: Rc<Mutex<()>>,
    /// Turns that stop when the socket closes.
    stops: HashMap<TurnId, StopOnDrop>,
}

impl Actor for Socket {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(batches) = self.batches.take() {
            ctx.add_stream(batches);
        }
        ctx.run_interval(PING_EVERY, |socket, ctx| {
            if socket.heard_at.elapsed() >= SILENT_FOR {
                ctx.stop();
            } else {
                ctx.ping(b"");
            }
        });
    }
}

impl StreamHandler<Batch> for Socket {
    fn handle(&mut self, batch: Batch, ctx: &mut Self::Context) {
        match batch {
            Batch::Frames(frames) => frames.iter().for_each(|frame| self.show(frame, ctx)),
            Batch::Goodbye(goodbye) => self.say_goodbye(goodbye, ctx),
        }
    }

    // The reader's end comes with a goodbye, which closes the socket politely.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Socket {
    fn show(&mut self, frame: &Frame, ctx: &mut WebsocketContext<Self>) {
        if let Frame::Closing(closing) = frame {
            return self.say_goodbye((*closing).into(), ctx);
        }
        if let Frame::Event(event, _) = frame
            && event.kind.is_terminal()
            && let Some(mut stops) = event.turn.and_then(|turn| self.stops.remove(&turn))
        {
            stops.disarm();
        }
        let mut json = BytesMut::new();
        self.json.write(&mut json, frame);
        if let Some(cursor) = frames::cursor(frame) {
            add_cursor(&mut json, cursor);
        }
        text(&json, ctx);
    }

    /// The server ends the socket: a reader that leaves now has not hung up.
    fn say_goodbye(&mut self, goodbye: Goodbye, ctx: &mut WebsocketContext<Self>) {
        let mut json = BytesMut::new();
        self.json.write_goodbye(&mut json, goodbye);
        text(&json, ctx);
        self.stops.values_mut().for_each(StopOnDrop::disarm);
        let code = match goodbye {
            Goodbye::Shutdown | Goodbye::Deleted => CloseCode::Away,
            Goodbye::Revoked | Goodbye::Replaced => CloseCode::Policy,
            Goodbye::Unavailable | Goodbye::Lagging => CloseCode::Again,
        };
        close(code, ctx);
    }

    fn command(&mut self, words: &[u8], ctx: &mut WebsocketContext<Self>) {
        if self.under_way >= MOST_UNDER_WAY {
            let name = command::name_of(words);
            return text(&command::refusal(name.as_deref(), &ApiError::overloaded()), ctx);
        }
        self.under_way += 1;
        let opener = self.caller.principal.clone();
        let acting = carry_out(self.parts.clone(), opener, self.key, Rc::clone(&self.in_order), words);
        // Beside the others: a stop must not wait for what it is to stop.
        ctx.spawn(actix::fut::wrap_future(acting).map(|done: Done, socket: &mut Self, ctx| {
            socket.under_way -= 1;
            socket.stops.extend(done.stops);
            if socket.caller.is_page() {
                text(&redact::for_customers("", &done.answer), ctx);
            } else {
                text(&done.answer, ctx);
            }
        }));
    }
}

fn text(json: &[u8], ctx: &mut WebsocketContext<Socket>) {
    // JSON is UTF-8.
    ctx.text(str::from_utf8(json).unwrap_or_default().to_owned());
}

fn close(code: CloseCode, ctx: &mut WebsocketContext<Socket>) {
    ctx.close(Some(CloseReason::from(code)));
    ctx.stop();
}

/// Into the object that was written last.
fn add_cursor(json: &mut BytesMut, cursor: Cursor) {
    json.truncate(json.len().saturating_sub(1));
    json.extend_from_slice(format!(",\"cursor\":\"{cursor}\"}}").as_bytes());
}

impl Socket {
    /// Browsers send a long message in parts.
    fn gather(&mut self, part: Item, ctx: &mut WebsocketContext<Self>) {
        let (part, is_last) = match part {
            Item::FirstBinary(_) => return close(CloseCode::Unsupported, ctx),
            Item::FirstText(part) | Item::Continue(part) => (part, false),
            Item::Last(part) => (part, true),
        };
        if self.parts_heard.len() + part.len() > LARGEST_FRAME {
            return close(CloseCode::Size, ctx);
        }
        self.parts_heard.extend_from_slice(&part);
        if is_last {
            let words = std::mem::take(&mut self.parts_heard);
            self.command(&words, ctx);
        }
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for Socket {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Self::Context) {
        self.heard_at = Instant::now();
        match message {
            Ok(Message::Text(words)) => self.command(words.as_bytes(), ctx),
            Ok(Message::Ping(payload)) => ctx.pong(&payload),
            Ok(Message::Pong(_) | Message::Nop) => {}
            Ok(Message::Binary(_)) => close(CloseCode::Unsupported, ctx),
            Ok(Message::Continuation(part)) => self.gather(part, ctx),
            Ok(Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            Err(ProtocolError::Overflow) => close(CloseCode::Size, ctx),
            // Text that is not UTF-8 comes as such.
            Err(ProtocolError::Io(_)) => close(CloseCode::Invalid, ctx),
            Err(_) => close(CloseCode::Protocol, ctx),
        }
    }
}
