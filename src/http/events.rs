//! The organization's log: as a list, and as a stream.

use std::{
    fmt::{Display, Write},
    task::{Context, Poll},
};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Json as Answer},
};
use bytes::BytesMut;
use openclaw_actors::{
    event::EventKind,
    keys::{Scope, ScopeSet},
    log::{
        reader::{LogFrame, LogReader},
        wanted::{LogPattern, Wanted},
    },
    position::Position,
    store::StoreError,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::warn;

use super::{
    auth::{Caller, ReadConversations, StreamCaller},
    cursor::{self, StreamParameters},
    error::ApiError,
    frames::{Goodbye, write_gap, write_goodbye},
    open_streams::ActiveStream,
    query::Query,
    sse::{Events, Source},
};
use crate::server::Parts;

const DEFAULT_LIMIT: usize = 20;
const LARGEST_LIMIT: usize = 100;

/// What of the log may be asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogParameters {
    types: Vec<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// A part of the log. It may be empty though there is more, where what is asked for is rare.
#[derive(Debug, Serialize)]
pub(super) struct LogView {
    data: Vec<Box<RawValue>>,
    has_more: bool,
    /// What `after` takes; never null, so that a poller always knows where it stands.
    next_cursor: String,
}

/// `GET /v1/events`
///
/// # Errors
/// A parameter is malformed, or the store is away.
pub(super) async fn list(
    caller: Caller<ReadConversations>,
    parameters: Query<LogParameters>,
    parts: Data<Parts>,
) -> Result<Answer<LogView>, ApiError> {
    let Query(LogParameters { types, after, limit }) = parameters;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=LARGEST_LIMIT).contains(&limit) {
        return Err(ApiError::invalid_field("limit", format!("it must be from 1 to {LARGEST_LIMIT}")));
    }
    let after = after.map_or(Ok(Position::default()), |after| after.parse());
    let after = after.map_err(|_| cursor::malformed("after"))?;
    let wanted = wanted(&caller, &types)?;
    let page = parts.log.page(caller.org, after, &wanted, limit).await?;
    let data = page.events.iter().map(|event| serde_json::from_slice(&event.json)).collect::<Result<_, _>>();
    Ok(Answer(LogView {
        data: data.map_err(ApiError::internal)?,
        has_more: page.has_more,
        next_cursor: page.next.to_string(),
    }))
}

/// `GET /v1/events/stream`
///
/// # Errors
/// The position is malformed, or the store is away.
pub(super) async fn stream(
    StreamCaller { caller, permit }: StreamCaller<ReadConversations>,
    request: HttpRequest,
    parameters: Query<StreamParameters>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let after: Option<Position> = parameters.cursor(request.headers())?;
    // It would end at once; the client should come back to whoever serves next.
    if parts.stopping.is_announced() {
        return Err(ApiError::unavailable());
    }
    let wanted = wanted(&caller, &[])?;
    let reader = parts.log.open(caller.org, after, wanted).await?;
    let needs: ScopeSet = [Scope::ConversationsRead, Scope::KnowledgeRead, Scope::WebhooksRead]
        .into_iter()
        .filter(|scope| caller.principal.holds(*scope))
        .collect();
    let active = ActiveStream::needing(&parts.keys, &caller.principal, needs, permit);
    Ok(Events::of(LogEvents(reader), active).response(None))
}

/// Patterns may be separated by commas or be given one by one.
fn wanted<P>(caller: &Caller<P>, types: &[String]) -> Result<Wanted, ApiError> {
    let texts = types.iter().flat_map(|types| types.split(','));
    let patterns: Result<Vec<LogPattern>, _> = texts.map(str::parse).collect();
    let patterns = patterns.map_err(|error| ApiError::invalid_field("types", format!("it {error}")))?;
    Ok(Wanted::new(&patterns, |kind| needs(kind).is_none_or(|scope| caller.principal.holds(scope))))
}

/// What somebody must hold to see it, beside `conversations:read`.
fn needs(kind: EventKind) -> Option<Scope> {
    match kind.as_str().split('.').next() {
        Some("knowledge") => Some(Scope::KnowledgeRead),
        Some("webhook") => Some(Scope::WebhooksRead),
        _ => None,
    }
}

/// A reader of the log, as a source.
struct LogEvents(LogReader);

impl Source for LogEvents {
    type Frame = LogFrame;

    fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<LogFrame>,
    ) -> Poll<Result<bool, StoreError>> {
        self.0.poll_frames(cx, frames)
    }

    fn size(frame: &LogFrame) -> usize {
        frame.size()
    }

    fn kind(frame: &LogFrame) -> &'static str {
        match frame {
            LogFrame::Event(event, _) => event.kind.as_str(),
            LogFrame::Gap { .. } => "stream.gap",
            LogFrame::Closing => Goodbye::Shutdown.kind(),
        }
    }

    fn id(frame: &LogFrame) -> Option<impl Display> {
        match frame {
            LogFrame::Event(_, position) => Some(position),
            LogFrame::Gap { .. } | LogFrame::Closing => None,
        }
    }

    fn is_last(frame: &LogFrame) -> bool {
        matches!(frame, LogFrame::Closing)
    }

    fn write(&mut self, out: &mut BytesMut, frame: &LogFrame) {
        match frame {
            LogFrame::Event(event, _) => out.extend_from_slice(&event.json),
            LogFrame::Gap { requested, from } => write_gap(out, None, requested, from),
            LogFrame::Closing => self.write_goodbye(out, Goodbye::Shutdown),
        }
    }

    fn write_goodbye(&self, out: &mut BytesMut, goodbye: Goodbye) {
        write_goodbye(out, None, goodbye);
    }

    /// The position that was reached: what others write moves it too, and whoever comes back need not look through
    /// all of that again. A block without data sets an `EventSource`'s last id and shows nothing.
    fn add_to_keep_alive(&self, out: &mut BytesMut) {
        // Writing to memory does not fail.
        let _ = write!(out, "id: {}\n\n", self.0.position());
    }

    fn failed(&self, error: &StoreError) {
        warn!(%error, org.id = %self.0.org(), "a stream of the log could not go on");
    }
}
