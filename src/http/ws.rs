//! `GET /v1/conversations/{id}/ws`: a conversation over a WebSocket, both ways.
//!
//! Out go the frames of a reader, as on the conversation's stream; in come messages, stops and typing. The actor runs
//! inside the answer's body, which is asked for more only when the socket has room: a slow reader costs its position.

mod batches;
mod command;
mod handshake;
mod incoming;

use std::{collections::HashMap, rc::Rc, str};

use actix::prelude::*;
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use actix_web_actors::ws::{CloseCode, CloseReason, Message, ProtocolError, WebsocketContext};
use bytes::BytesMut;
use futures_util::stream;
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
    incoming::{Incoming, Said},
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

/// Pings without an answer before it is taken that nobody is there: one or two get lost where a telephone changes cells.
const PINGS_UNANSWERED: u32 = 3;

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
    // Before the ticket's seat is taken: what comes to nothing ends nobody's connection.
    let mut answer = handshake::accept(&request)?;
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
        sources: Some((Batches::new(*reader, active), Incoming::new(payload, LARGEST_FRAME))),
        unanswered: 0,
        under_way: 0,
        in_order: Rc::default(),
        stops: HashMap::new(),
    };
    // What the framework would read by itself is read by [`Incoming`].
    Ok(answer.streaming(WebsocketContext::create(socket, stream::pending())))
}

/// One open WebSocket.
struct Socket {
    parts: Data<Parts>,
    caller: Caller<ReadConversations>,
    key: ConversationKey,
    json: JsonFrames,
    /// What is to be sent and what is said, until the actor starts to read them.
    sources: Option<(Batches, Incoming<Payload>)>,
    /// Pings since the client was last heard.
    unanswered: u32,
    under_way: usize,
    /// Held while it is looked up what the caller may do, so that no command overtakes another there.
    in_order: Rc<Mutex<()>>,
    /// Turns that stop when the socket closes.
    stops: HashMap<TurnId, StopOnDrop>,
}

impl Actor for Socket {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some((batches, incoming)) = self.sources.take() {
            ctx.add_stream(batches);
            ctx.add_stream(incoming);
        }
        let ping_every = self.parts.config.server.websocket_ping_every();
        ctx.run_interval(ping_every, |socket, ctx| {
            if socket.unanswered >= PINGS_UNANSWERED {
                return ctx.stop();
            }
            socket.unanswered += 1;
            ctx.ping(b"");
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

/// The connection goes on for a moment and drops what comes, so that this arrives (`GOODBYE_WITHIN`).
fn close(code: CloseCode, ctx: &mut WebsocketContext<Socket>) {
    ctx.close(Some(CloseReason::from(code)));
    ctx.stop();
}

/// Into the object that was written last.
fn add_cursor(json: &mut BytesMut, cursor: Cursor) {
    json.truncate(json.len().saturating_sub(1));
    json.extend_from_slice(format!(",\"cursor\":\"{cursor}\"}}").as_bytes());
}

impl StreamHandler<Said> for Socket {
    fn handle(&mut self, said: Said, ctx: &mut Self::Context) {
        self.unanswered = 0;
        match said {
            Said::Close(reason) => {
                ctx.close(reason);
                ctx.stop();
            }
            Said::Text(words) => self.command(words.as_bytes(), ctx),
            Said::Ping(payload) => ctx.pong(&payload),
            Said::Pong => {}
            Said::Wrong(code) => close(code, ctx),
        }
    }
}

/// Required by the framework, which is given nothing to read.
impl StreamHandler<Result<Message, ProtocolError>> for Socket {
    fn handle(&mut self, _: Result<Message, ProtocolError>, _: &mut Self::Context) {}
}
