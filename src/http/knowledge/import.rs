//! Imports: a body of any length, a line at a time, into articles.
//!
//! A body is read no faster than its lines are stored, so memory holds two batches however long it is: one that is
//! being written, and the next.

mod body;

use std::{cell::RefCell, rc::Rc, time::Duration};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Payload},
};
use openclaw_actors::{
    idempotency::{Effect, Stamp},
    ids::ImportId,
    keys::Scope,
    knowledge::import::{Counts, Import, ImportState, Maker, NewImport},
};
use tokio::time::Instant;

use self::body::{Body, take};
use super::{
    body::source,
    parameters::{ImportMode, ImportParameters, Wait},
    view::ImportView,
};
use crate::{
    http::{
        auth::{AnySecretKey, Caller, WriteKnowledge},
        error::ApiError,
        idempotency::{Once, Repeatable, of_another_kind, replayed},
        json::check_uncompressed,
        page::{Filters, List, NoFilters, Order, Page},
        query::{PathId, Query},
    },
    server::Parts,
};

/// The longest that `?wait=indexed` waits.
const INDEXED_WITHIN: Duration = Duration::from_secs(30);

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Refused lines that an import shows; all of them are a list of their own.
const ERRORS_SHOWN: i64 = 1_000;

/// The same where many imports are shown.
const ERRORS_LISTED: i64 = 10;

/// `POST /v1/knowledge/import`
///
/// # Errors
/// The parameters or the headers are of no use, the body breaks off, or the store is away for long.
pub async fn import(
    caller: Caller<WriteKnowledge>,
    asked: Query<ImportParameters>,
    repeatable: Repeatable,
    request: HttpRequest,
    payload: Payload,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    check_uncompressed(&request)?;
    check_kind(&request)?;
    let ImportParameters { source, mode, wait } = asked.0;
    let source = source.map(self::source).transpose()?;
    let mirror = mode == Some(ImportMode::Mirror);
    if mirror && source.as_ref().is_none_or(String::is_empty) {
        return Err(ApiError::invalid_field("source", "a mirror needs the source that it is of"));
    }
    let (org, maker) = (caller.org, Maker::Key(caller.principal.key));
    let new = NewImport { id: ImportId::generate(), key: Some(caller.principal.key), source, mirror };
    // Whoever is first reads the body; a repeat only compares it.
    let body = Rc::new(RefCell::new(Some(Body::of(payload))));
    let (shared, taken) = (parts.clone(), body.clone());
    let act = move |stamp: Option<Stamp>| async move {
        let body = taken.take().ok_or_else(ApiError::unavailable)?;
        let id = new.id;
        let source = new.source.clone();
        let run = shared.knowledge.begin_import(org, new).await?;
        take(run, body, source, stamp).await?;
        Ok((id, Effect::Import { import: id }))
    };
    match repeatable.once(&parts, caller.credential(), &[], act).await? {
        Once::First(id) => {
            let import = settled(&parts, caller.org, id, maker, wait.is_some()).await?;
            Ok(shown(StatusCode::ACCEPTED, import))
        }
        Once::Repeat(Effect::Import { import: id }) => {
            let again = body.take().ok_or_else(ApiError::unavailable)?.digest().await?;
            if parts.knowledge.import_digest(org, id).await?.is_some_and(|first| first != again) {
                let message = "the idempotency key was used for another body";
                return Err(
                    ApiError::unprocessable("idempotency_key_reused", message).param("idempotency-key")
                );
            }
            let import = settled(&parts, caller.org, id, maker, wait.is_some()).await?;
            Ok(replayed(shown(StatusCode::ACCEPTED, import)))
        }
        Once::Repeat(other) => Err(of_another_kind(&other)),
    }
}

/// `GET /v1/knowledge/imports/{id}`
///
/// # Errors
/// There is no such import that the caller may see, or the store is away.
pub async fn import_status(
    caller: Caller<AnySecretKey>,
    id: PathId<ImportId>,
    asked: Query<Wait>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let import = settled(&parts, caller.org, *id, maker(&caller)?, asked.wait.is_some()).await?;
    Ok(shown(StatusCode::OK, import))
}

/// `GET /v1/knowledge/imports`
///
/// # Errors
/// The cursor is of no use, or the store is away.
pub async fn imports(
    caller: Caller<AnySecretKey>,
    list: List<NoFilters>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let (page, maker) = (&list.page, maker(&caller)?);
    let ascending = page.order == Order::Asc;
    let found = parts.knowledge.imports(caller.org, maker, page.after()?, ascending, page.rows()).await?;
    let page = Page::new(found, page, |import| import.id);
    let mut errors = Vec::with_capacity(page.data.len());
    for import in &page.data {
        errors.push(match import.counts.refused {
            0 => Vec::new(),
            _ => {
                let which = (caller.org, import.id);
                parts.knowledge.import_errors(which, maker, None, false, ERRORS_LISTED).await?
            }
        });
    }
    let mut errors = errors.into_iter();
    let show = |import| ImportView::of(import, errors.next().unwrap_or_default());
    Ok(HttpResponse::Ok().json(page.map(show)))
}

/// The filters of a list of refused lines: none, and the first line first.
#[derive(Debug, Clone, Copy, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ByLine {}

impl Filters for ByLine {
    const ORDER: Order = Order::Asc;
}

/// `GET /v1/knowledge/imports/{id}/errors`
///
/// # Errors
/// There is no such import that the caller may see, the cursor is of no use, or the store is away.
pub async fn import_errors(
    caller: Caller<AnySecretKey>,
    id: PathId<ImportId>,
    list: List<ByLine>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let page = &list.page;
    let (which, maker) = ((caller.org, *id), maker(&caller)?);
    let descending = page.order == Order::Desc;
    let found = parts.knowledge.import_errors(which, maker, page.after()?, descending, page.rows()).await?;
    Ok(HttpResponse::Ok().json(Page::new(found, page, |error| error.line)))
}

/// Who may read articles sees all imports, who may only write them sees their own.
fn maker(caller: &Caller<AnySecretKey>) -> Result<Maker, ApiError> {
    if caller.principal.holds(Scope::KnowledgeWrite) && !caller.principal.holds(Scope::KnowledgeRead) {
        return Ok(Maker::Key(caller.principal.key));
    }
    caller.require(Scope::KnowledgeRead).map(|()| Maker::Any)
}

fn check_kind(request: &HttpRequest) -> Result<(), ApiError> {
    let kind = request.content_type().trim();
    let names = ["application/x-ndjson", "application/ndjson", "application/jsonl"];
    if names.iter().any(|name| kind.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    let message = "send one JSON object per line, as `Content-Type: application/x-ndjson`";
    Err(ApiError::unsupported_media_type(message))
}

/// An import as it is; where asked for, once nothing of it is pending or the time is up.
async fn settled(
    parts: &Parts,
    org: openclaw_actors::ids::OrgId,
    id: ImportId,
    maker: Maker,
    waits: bool,
) -> Result<ImportView, ApiError> {
    let since = Instant::now();
    loop {
        let (import, errors) = parts.knowledge.import(org, id, maker, ERRORS_SHOWN).await?;
        let is_settled = |Import { state, counts: Counts { pending, .. }, .. }: &Import| {
            *state != ImportState::Running && *pending == 0
        };
        let goes_on = waits && !is_settled(&import) && since.elapsed() < INDEXED_WITHIN;
        if !goes_on || parts.stopping.is_announced() {
            return Ok(ImportView::of(import, errors));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn shown(status: StatusCode, import: ImportView) -> HttpResponse {
    let location = format!("/v1/knowledge/imports/{}", import.id());
    HttpResponse::build(status).insert_header((header::LOCATION, location)).json(import)
}
