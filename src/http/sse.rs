//! Server-Sent Events: a reader's frames as the body of an answer, whatever it reads.
//!
//! Nothing is queued here. The body is asked for more only when the socket has room, takes everything that is ready in
//! one piece, and holds no more than that piece: a slow reader costs its position.

mod pulse;

use std::{
    cell::Cell,
    convert::Infallible,
    fmt::{Display, Write},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    body::BoxBody,
    dev::ServiceResponse,
    http::{
        StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use openclaw_actors::{
    conversation::reader::{Frame, Reader},
    ids::{ConversationId, RequestId},
    store::StoreError,
};
use serde_json::json;
use tokio::time::Instant;
use tracing::warn;

pub(super) use self::pulse::Pulse;
use super::{
    conversations::StopOnDrop,
    error::ApiError,
    frames::{self, Goodbye, JsonFrames},
    open_streams::ActiveStream,
    timing::Timing,
};

/// Proxies cut what is silent for a minute, some for half of one.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

/// A reader that has taken nothing for that long is told so, and resumes when it can.
pub(super) const LAGGING_AFTER: Duration = Duration::from_secs(30);

/// When a reader that lost its stream may come back, in milliseconds; drawn per stream, so that a restart makes no herd.
const RETRY_FROM: u64 = 1_000;
const RETRY_SPREAD: u64 = 2_001;

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A comment that is written at once, so that the headers go out: what a client waits for.
const GREETING: &[u8] = b":\n\n";

/// A block without its data, and what a delta says beside its text: so much room is made before anything is written.
const BLOCK_AROUND: usize = 160;

const END_OF_BLOCK: &[u8] = b"\n\n";

const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// Blocks are written into memory that all streams of a worker share: what is handed on is copied to the connection at
/// once, so the same bytes are used again and again.
const OUT_BYTES: usize = 32 << 10;

thread_local! {
    static OUT: Cell<BytesMut> = Cell::new(BytesMut::with_capacity(OUT_BYTES));
}

/// Writes a piece of a stream into the memory that all streams of this worker share.
pub(super) fn piece(write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = OUT.take();
    write(&mut out);
    let said = if out.is_empty() { Bytes::new() } else { out.split().freeze() };
    OUT.set(out);
    said
}

/// A stream whose reader has seen all of it: a repeated POST is answered so.
pub(super) fn nothing_more(content_location: Option<String>) -> HttpResponse {
    head(content_location).body(GREETING)
}

/// An answer that an `EventSource` bears: any other status than 200 ends it for ever, also where it should come back.
pub(super) fn bearable(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let passes = matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let is_stream = response.request().match_pattern().is_some_and(|pattern| pattern.ends_with("/stream"));
    if !(passes && is_stream) {
        return response;
    }
    let headers = response.headers();
    let wait = headers.get(header::RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse::<u64>().ok());
    let wait_ms = wait.unwrap_or(1) * 1_000;
    let refused = response.response().error().and_then(|error| error.as_error::<ApiError>());
    let reason = refused.map_or("unavailable", ApiError::code);
    let kind = Goodbye::Unavailable.kind();
    let conversation = response.request().match_info().get("id").unwrap_or_default();
    let data =
        json!({ "type": kind, "conversation_id": conversation, "reason": reason, "retry_after_ms": wait_ms });
    let mut answer = head(None);
    let of_limits = |name: &HeaderName| name.as_str().contains("ratelimit");
    for header in headers.iter().filter(|(name, _)| of_limits(name)) {
        answer.append_header(header);
    }
    let answer = answer.body(format!("retry: {wait_ms}\nevent: {kind}\ndata: {data}\n\n"));
    response.into_response(answer)
}

/// The head of a stream.
pub(super) fn head(content_location: Option<String>) -> HttpResponseBuilder {
    let mut head = HttpResponse::Ok();
    head.insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((ACCEL_BUFFERING, "no"))
        .insert_header((header::CONTENT_TYPE, "text/event-stream"));
    if let Some(location) = content_location.and_then(|location| HeaderValue::try_from(location).ok()) {
        head.insert_header((header::CONTENT_LOCATION, location));
    }
    head
}

/// What is shown as a stream: frames, one after the other, each a block.
pub(super) trait Source {
    /// What it gives.
    type Frame;

    /// Appends what is ready. `Ready(false)`: that was the end.
    fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Self::Frame>,
    ) -> Poll<Result<bool, StoreError>>;

    /// About how many bytes it is when it is shown.
    fn size(frame: &Self::Frame) -> usize;

    /// Its type.
    fn kind(frame: &Self::Frame) -> &'static str;

    /// The position after it, if it has one.
    fn id(frame: &Self::Frame) -> Option<impl Display>;

    /// Nothing follows it.
    fn is_last(frame: &Self::Frame) -> bool;

    /// Its JSON, as one line.
    fn write(&mut self, out: &mut BytesMut, frame: &Self::Frame);

    /// The JSON of the last thing that the stream says.
    fn write_goodbye(&self, out: &mut BytesMut, goodbye: Goodbye);

    /// What follows the comment that keeps proxies awake.
    fn add_to_keep_alive(&self, _: &mut BytesMut) {}

    /// It is about to be shown.
    fn is_shown(&mut self, _: &Self::Frame, _: Instant) {}

    /// The store failed under it.
    fn failed(&self, error: &StoreError);
}

/// A conversation's reader, as a source.
pub(super) struct ConversationEvents {
    reader: Reader,
    conversation: ConversationId,
    json: JsonFrames,
    timing: Option<Timing>,
}

impl Source for ConversationEvents {
    type Frame = Frame;

    fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Frame>,
    ) -> Poll<Result<bool, StoreError>> {
        self.reader.poll_frames(cx, frames)
    }

    fn size(frame: &Frame) -> usize {
        frame.size()
    }

    fn kind(frame: &Frame) -> &'static str {
        frames::kind(frame)
    }

    fn id(frame: &Frame) -> Option<impl Display> {
        frames::cursor(frame)
    }

    fn is_last(frame: &Frame) -> bool {
        matches!(frame, Frame::Closing(_))
    }

    fn write(&mut self, out: &mut BytesMut, frame: &Frame) {
        self.json.write(out, frame);
    }

    fn write_goodbye(&self, out: &mut BytesMut, goodbye: Goodbye) {
        self.json.write_goodbye(out, goodbye);
    }

    fn is_shown(&mut self, frame: &Frame, now: Instant) {
        if let Some(timing) = &mut self.timing {
            timing.saw(frame, now.into_std());
        }
    }

    fn failed(&self, error: &StoreError) {
        warn!(%error, conversation.id = %self.conversation, "a stream could not go on");
    }
}

/// A source's frames as a body.
pub(super) struct Events<S: Source = ConversationEvents> {
    source: S,
    active: ActiveStream,
    /// Said before everything else.
    first: Option<(&'static str, Vec<u8>)>,
    /// Stops the turn if the client hangs up before its end.
    stops: Option<StopOnDrop>,
    frames: Vec<S::Frame>,
    greeted: bool,
    /// Still to be said, beside the first data.
    retry_ms: Option<u64>,
    pulse: Pulse,
    ended: bool,
}

impl Events {
    pub(super) fn new(reader: Reader, conversation: ConversationId, active: ActiveStream) -> Self {
        let json = JsonFrames::of(conversation);
        Self::of(ConversationEvents { reader, conversation, json, timing: None }, active)
    }

    /// Leaves out what customers' pages do not see.
    pub(super) fn for_page(mut self, for_page: bool) -> Self {
        self.source.json = self.source.json.for_page(for_page);
        self
    }

    /// Measures the waits for the answer.
    pub(super) fn timed(mut self, timing: Option<Timing>) -> Self {
        self.source.timing = timing;
        self
    }
}

impl<S> Events<S>
where
    S: Source + Unpin + 'static,
    S::Frame: Unpin,
{
    pub(super) fn of(source: S, active: ActiveStream) -> Self {
        Self {
            source,
            active,
            first: None,
            stops: None,
            frames: Vec::new(),
            greeted: false,
            retry_ms: Some(draw_retry()),
            pulse: Pulse::new(Instant::now()),
            ended: false,
        }
    }

    /// Stops the turn if the client hangs up before its end.
    pub(super) fn stopping(mut self, stops: Option<StopOnDrop>) -> Self {
        self.stops = stops;
        self
    }

    /// Says this before everything else, and never again.
    pub(super) fn beginning_with(mut self, first: Option<(&'static str, Vec<u8>)>) -> Self {
        self.first = first;
        self
    }

    /// As an answer; a turn's names the turn.
    pub(super) fn response(self, content_location: Option<String>) -> HttpResponse {
        head(content_location).streaming(self)
    }

    fn take_frames(&mut self, out: &mut BytesMut, now: Instant, cx: &mut Context<'_>) {
        match self.source.poll_frames(cx, &mut self.frames) {
            Poll::Ready(Ok(more)) => {
                if !more {
                    self.end();
                }
            }
            Poll::Ready(Err(error)) => {
                self.source.failed(&error);
                self.say_goodbye(out, Goodbye::Unavailable);
            }
            Poll::Pending => {}
        }
        let mut frames = std::mem::take(&mut self.frames);
        out.reserve(frames.iter().map(|frame| S::size(frame) + BLOCK_AROUND).sum());
        for frame in frames.drain(..) {
            self.source.is_shown(&frame, now);
            self.write(out, &frame);
        }
        self.frames = frames;
    }

    fn write(&mut self, out: &mut BytesMut, frame: &S::Frame) {
        self.begin_block(out, S::kind(frame), S::id(frame));
        self.source.write(out, frame);
        out.extend_from_slice(END_OF_BLOCK);
        if S::is_last(frame) {
            self.end();
        }
    }

    fn say_goodbye(&mut self, out: &mut BytesMut, goodbye: Goodbye) {
        self.begin_block(out, goodbye.kind(), None::<&str>);
        self.source.write_goodbye(out, goodbye);
        out.extend_from_slice(END_OF_BLOCK);
        self.end();
    }

    /// Everything before the data.
    fn begin_block(&mut self, out: &mut BytesMut, kind: &str, id: Option<impl Display>) {
        // Writing to memory does not fail.
        if let Some(retry_ms) = self.retry_ms.take() {
            let _ = writeln!(out, "retry: {retry_ms}");
        }
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        if let Some(id) = id {
            let _ = write!(out, "\nid: {id}");
        }
        out.extend_from_slice(b"\ndata: ");
    }

    /// Nothing more will come: from now on a reader that leaves has not hung up.
    fn end(&mut self) {
        self.ended = true;
        if let Some(stops) = &mut self.stops {
            stops.disarm();
        }
    }

    /// Appends what there is to say now.
    fn say(&mut self, out: &mut BytesMut, now: Instant, cx: &mut Context<'_>) {
        if self.pulse.is_lagging(now) {
            return self.say_goodbye(out, Goodbye::Lagging);
        }
        if !std::mem::replace(&mut self.greeted, true) {
            out.extend_from_slice(GREETING);
        }
        if let Some((kind, json)) = self.first.take() {
            self.begin_block(out, kind, None::<&str>);
            out.extend_from_slice(&json);
            out.extend_from_slice(END_OF_BLOCK);
        }
        if let Poll::Ready(goodbye) = self.active.poll_over(cx) {
            return self.say_goodbye(out, goodbye);
        }
        self.take_frames(out, now, cx);
        if out.is_empty() && !self.ended {
            self.pulse.beat(out, now, cx);
            if !out.is_empty() {
                self.source.add_to_keep_alive(out);
            }
        }
    }
}

impl<S> Stream for Events<S>
where
    S: Source + Unpin + 'static,
    S::Frame: Unpin,
{
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let now = Instant::now();
        let said = piece(|out| this.say(out, now, cx));
        match (said.is_empty(), this.ended) {
            (false, _) => {
                this.pulse.wrote(now);
                Poll::Ready(Some(Ok(said)))
            }
            (true, true) => Poll::Ready(None),
            (true, false) => Poll::Pending,
        }
    }
}

/// Any number from the range, another for each stream: the low bits of a fresh id are random.
fn draw_retry() -> u64 {
    RETRY_FROM + (RequestId::generate().as_u128() as u64) % RETRY_SPREAD
}

#[cfg(test)]
pub(super) mod tests;
