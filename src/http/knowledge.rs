//! Articles: written, read, searched. A write is answered once it is searchable.

mod body;
mod condition;
mod export;
mod import;
mod lines;
mod parameters;
mod view;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    web::{self, Data},
};
use openclaw_actors::{
    clock::Timestamp,
    idempotency::{Effect, Stamp},
    ids::{ArticleId, OrgId},
    knowledge::{
        article::{Draft, Fields, StoredArticle},
        markup::{MAX_DEPTH, MarkupError},
        messages::{
            ArticleName, Change, DeleteArticle, Deleted, KnowledgeError, Precondition, Put, PutArticle,
            PutTarget,
        },
    },
    writer::Row,
};

use self::view::UnansweredView;
pub use self::{
    body::{ArticleBody, ArticlePatch},
    export::{export, exported},
    import::{import, import_errors, import_status, imports},
    parameters::{ArticleFilters, SearchParameters, Wait},
    view::{ArticleView, SearchView, StatusView},
};
use super::{
    auth::{Caller, ReadKnowledge, WriteKnowledge},
    body::BodyLimit,
    error::ApiError,
    idempotency::{Once, Repeatable, of_another_kind, replayed},
    json::Json,
    page::{List, NoFilters, Order, Page},
    query::{PathId, Query},
};
use crate::server::Parts;

/// The largest body of an article.
pub const BODY_LIMIT: BodyLimit = BodyLimit(4 << 20);

/// The longest external id, in characters.
const LONGEST_EXTERNAL_ID: usize = 255;

/// How often a PATCH without `If-Match` is made anew on what another write left.
const PATCH_TRIES: usize = 64;

/// `POST /v1/knowledge`
///
/// # Errors
/// See [`KnowledgeError`].
pub async fn create(
    caller: Caller<WriteKnowledge>,
    _: Query<Wait>,
    repeatable: Repeatable,
    body: Json<ArticleBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let Json { value, raw } = body;
    let (fields, content) = value.read()?;
    let (id, org, shared) = (ArticleId::generate(), caller.org, parts.clone());
    let effect = Effect::Article { article: id };
    let act = move |stamp: Option<Stamp>| async move {
        let row = stamp.map(|stamp| stamp.row(&effect));
        let target = PutTarget::New(id);
        let made = put(&shared, org, target, fields, content, Precondition::None, row).await?;
        Ok((made, effect))
    };
    match repeatable.once(&parts, caller.credential(), &raw, act).await? {
        Once::First(made) => Ok(made),
        Once::Repeat(Effect::Article { article }) => {
            let mut again = show(&parts, org, &ArticleName::Id(article)).await?;
            *again.status_mut() = StatusCode::CREATED;
            again.headers_mut().insert(header::LOCATION, location(article));
            Ok(replayed(again))
        }
        Once::Repeat(other) => Err(of_another_kind(&other)),
    }
}

/// `GET /v1/knowledge`
///
/// # Errors
/// A filter or the cursor is of no use, or the store is away.
pub async fn list(
    caller: Caller<ReadKnowledge>,
    list: List<ArticleFilters>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let with_content = list.filters.include.is_some();
    let wanted = list.filters.read(list.page.after()?, list.page.order, list.page.rows());
    let articles = parts.knowledge.list(caller.org, &wanted).await?;
    let page = Page::new(articles, &list.page, |stored| stored.article.id);
    let ids = page.data.iter().map(|stored| stored.article.id);
    let mut indexed = parts.knowledge.indexed(caller.org, ids).await?.into_iter();
    let show = |stored: StoredArticle| {
        let content = with_content.then_some(stored.content);
        ArticleView::of(&stored.article, content, indexed.next().flatten())
    };
    Ok(HttpResponse::Ok().json(page.map(show)))
}

/// `GET /v1/knowledge/{id}`
///
/// # Errors
/// There is no such article, or the store is away.
pub async fn get(
    caller: Caller<ReadKnowledge>,
    id: PathId<ArticleId>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    show(&parts, caller.org, &ArticleName::Id(*id)).await
}

/// `PUT /v1/knowledge/{id}`
///
/// # Errors
/// See [`KnowledgeError`].
pub async fn replace(
    caller: Caller<WriteKnowledge>,
    id: PathId<ArticleId>,
    _: Query<Wait>,
    request: HttpRequest,
    body: Json<ArticleBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let only_if = condition::of(request.headers())?;
    let (fields, content) = body.value.read()?;
    put(&parts, caller.org, PutTarget::Stored(*id), fields, content, only_if, None).await
}

/// `PATCH /v1/knowledge/{id}`
///
/// # Errors
/// See [`KnowledgeError`].
pub async fn change(
    caller: Caller<WriteKnowledge>,
    id: PathId<ArticleId>,
    _: Query<Wait>,
    request: HttpRequest,
    body: Json<ArticlePatch>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let asked = condition::of(request.headers())?;
    let patch = body.value.read()?;
    for _ in 0..PATCH_TRIES {
        let stored = parts.knowledge.find(caller.org, &ArticleName::Id(*id)).await?;
        asked.check(Some(stored.article.version))?;
        // What the patch does not name is what was read just now, so it must still be so when written.
        let unchanged = Precondition::Version(vec![stored.article.version]);
        let keeps_text = patch.keeps_text();
        let (fields, content) = patch.clone().apply(stored)?;
        let shown = content.clone();
        let draft = match keeps_text {
            true => Draft::of_stored(fields, content),
            false => read(fields, content).await?,
        };
        let target = PutTarget::Stored(*id);
        match put_draft(&parts, caller.org, target, (draft, shown), unchanged, None).await {
            Err(error) if error.code() == "version_conflict" => {}
            answered => return answered,
        }
    }
    Err(ApiError::version_conflict())
}

/// `DELETE /v1/knowledge/{id}`
///
/// # Errors
/// See [`KnowledgeError`].
pub async fn delete(
    caller: Caller<WriteKnowledge>,
    id: PathId<ArticleId>,
    _: Query<Wait>,
    request: HttpRequest,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    remove(&parts, caller.org, ArticleName::Id(*id), &request).await
}

/// `PUT /v1/knowledge/external/{external_id}`
///
/// # Errors
/// See [`KnowledgeError`]; 400 if the body names another external id.
pub async fn put_external(
    caller: Caller<WriteKnowledge>,
    external_id: PathId<String>,
    _: Query<Wait>,
    request: HttpRequest,
    body: Json<ArticleBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let only_if = condition::of(request.headers())?;
    let (mut fields, content) = body.value.read()?;
    let external_id = body::external_id(external_id.0)?;
    if fields.external_id.as_ref().is_some_and(|named| *named != external_id) {
        return Err(ApiError::invalid_field("external_id", "it must be that of the path, or be left out"));
    }
    fields.external_id = Some(external_id);
    let target = PutTarget::External(ArticleId::generate());
    put(&parts, caller.org, target, fields, content, only_if, None).await
}

/// `GET /v1/knowledge/external/{external_id}`
///
/// # Errors
/// There is no such article, or the store is away.
pub async fn get_external(
    caller: Caller<ReadKnowledge>,
    external_id: PathId<String>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    show(&parts, caller.org, &ArticleName::External(external_id.0)).await
}

/// `DELETE /v1/knowledge/external/{external_id}`
///
/// # Errors
/// See [`KnowledgeError`].
pub async fn delete_external(
    caller: Caller<WriteKnowledge>,
    external_id: PathId<String>,
    _: Query<Wait>,
    request: HttpRequest,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    remove(&parts, caller.org, ArticleName::External(external_id.0), &request).await
}

/// `GET /v1/knowledge/search`
///
/// # Errors
/// A parameter is of no use, or the store is away.
pub async fn search(
    caller: Caller<ReadKnowledge>,
    asked: Query<SearchParameters>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let query = asked.0.read()?;
    let hits = parts.knowledge.search(caller.org, &query).await?;
    let ids = hits.iter().map(|hit| hit.entry.article.id);
    let indexed = parts.knowledge.indexed(caller.org, ids).await?;
    Ok(HttpResponse::Ok().json(SearchView::of(&hits, indexed, &query)))
}

/// `GET /v1/knowledge/status`
///
/// # Errors
/// The store is away.
pub async fn status(caller: Caller<ReadKnowledge>, parts: Data<Parts>) -> Result<HttpResponse, ApiError> {
    let status = parts.knowledge.status(caller.org).await?;
    Ok(HttpResponse::Ok().json(StatusView::of(status)))
}

/// `GET /v1/knowledge/unanswered`
///
/// # Errors
/// The cursor is of no use, or the store is away.
pub async fn unanswered(
    caller: Caller<ReadKnowledge>,
    list: List<NoFilters>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let page = &list.page;
    let ascending = page.order == Order::Asc;
    let found = parts.knowledge.unanswered(caller.org, page.after()?, ascending, page.rows()).await?;
    let page = Page::new(found, page, |row| (row.count, row.likeness.clone()));
    Ok(HttpResponse::Ok().json(page.map(UnansweredView::from)))
}

async fn show(parts: &Parts, org: OrgId, name: &ArticleName) -> Result<HttpResponse, ApiError> {
    let StoredArticle { article, content } = parts.knowledge.find(org, name).await?;
    let indexed = parts.knowledge.indexed(org, [article.id]).await?.pop().flatten();
    let view = ArticleView::of(&article, Some(content), indexed);
    Ok(HttpResponse::Ok().insert_header((header::ETAG, condition::etag(article.version))).json(view))
}

async fn put(
    parts: &Parts,
    org: OrgId,
    target: PutTarget,
    fields: Fields,
    content: String,
    only_if: Precondition,
    idempotency: Option<Row>,
) -> Result<HttpResponse, ApiError> {
    let shown = content.clone();
    let draft = read(fields, content).await?;
    put_draft(parts, org, target, (draft, shown), only_if, idempotency).await
}

/// Reading four megabytes of markup takes its time, which is not the other requests'.
async fn read(fields: Fields, content: String) -> Result<Draft, ApiError> {
    Ok(web::block(move || Draft::read(fields, content)).await.map_err(ApiError::internal)??)
}

async fn put_draft(
    parts: &Parts,
    org: OrgId,
    target: PutTarget,
    (draft, content): (Draft, String),
    only_if: Precondition,
    idempotency: Option<Row>,
) -> Result<HttpResponse, ApiError> {
    let message = PutArticle { org, target, draft, only_if, now: Timestamp::now(), idempotency };
    let Put { article, change, indexed } = parts.knowledge.put(message).await?;
    let status = match change {
        // Stored, and not yet to be found after all the time that a write waits.
        _ if indexed.is_none() => StatusCode::ACCEPTED,
        Change::Created => StatusCode::CREATED,
        Change::Updated | Change::Unchanged => StatusCode::OK,
    };
    let mut answer = HttpResponse::build(status);
    answer.insert_header((header::ETAG, condition::etag(article.version)));
    if change == Change::Created {
        answer.insert_header((header::LOCATION, location(article.id)));
    }
    Ok(answer.json(ArticleView::of(&article, Some(content), indexed)))
}

fn location(article: ArticleId) -> HeaderValue {
    // An id is visible ASCII.
    HeaderValue::try_from(format!("/v1/knowledge/{article}"))
        .unwrap_or_else(|_| HeaderValue::from_static("/"))
}

async fn remove(
    parts: &Parts,
    org: OrgId,
    name: ArticleName,
    request: &HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let only_if = condition::of(request.headers())?;
    Ok(match parts.knowledge.delete(DeleteArticle { org, name, only_if }).await? {
        Deleted::Everywhere => HttpResponse::NoContent().finish(),
        // Gone for good, but still to be found after all the time that a write waits.
        Deleted::FromStore => HttpResponse::Accepted().finish(),
    })
}

impl From<KnowledgeError> for ApiError {
    fn from(error: KnowledgeError) -> Self {
        match error {
            KnowledgeError::NotFound => Self::not_found(),
            KnowledgeError::VersionConflict => Self::version_conflict(),
            KnowledgeError::ExternalIdTaken => {
                Self::conflict("external_id_taken", "another article has this external id")
                    .param("external_id")
            }
            KnowledgeError::Overloaded => Self::overloaded(),
            KnowledgeError::Write(error) => error.into(),
            KnowledgeError::Store(error) => error.into(),
            KnowledgeError::Restarting => Self::unavailable().caused_by(error),
        }
    }
}

impl From<MarkupError> for ApiError {
    fn from(error: MarkupError) -> Self {
        match error {
            MarkupError::Nul => Self::invalid_field("content", "text must not hold the character NUL"),
            MarkupError::TooDeep => Self::too_deep(MAX_DEPTH).param("content"),
            MarkupError::TooManyAttributes => Self::invalid_field("content", error.to_string()),
            MarkupError::TooSlow => Self::invalid_field("content", "its markup takes too long to read"),
        }
    }
}
