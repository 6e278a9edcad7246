//! All articles as lines of JSON, in the fields that an import takes.

use actix_web::{Error, HttpResponse, web::Data};
use bytes::Bytes;
use futures_util::stream;
use openclaw_actors::{
    ids::ArticleId,
    knowledge::{ListArticles, article::StoredArticle},
};

use super::view::ExportedView;
use crate::{
    http::{
        auth::{Caller, ReadKnowledge},
        error::ApiError,
    },
    server::Parts,
};

/// Articles read at a time. Each may have four megabytes, and no more than these are held for a slow reader.
const PAGE: i64 = 8;

/// `GET /v1/knowledge/export`
///
/// In the order of their creation; one that is changed meanwhile is shown before or after its change. A store that goes
/// away breaks the answer off.
///
/// # Errors
/// The store is away.
pub async fn export(caller: Caller<ReadKnowledge>, parts: Data<Parts>) -> Result<HttpResponse, ApiError> {
    let org = caller.org;
    // Read before the head is sent, so that a store that is away is said plainly.
    let first = parts.knowledge.list(org, &wanted(None)).await?;
    let pages = stream::try_unfold(Some(first), move |page| {
        let parts = parts.clone();
        async move {
            let Some(page) = page else { return Ok::<_, Error>(None) };
            let Some(last) = page.last().map(|stored| stored.article.id) else { return Ok(None) };
            let mut lines = Vec::new();
            for stored in &page {
                lines.extend(exported(stored)?);
            }
            let next = match (page.len() as i64) < PAGE {
                true => None,
                false => Some(parts.knowledge.list(org, &wanted(Some(last))).await.map_err(ApiError::from)?),
            };
            Ok(Some((Bytes::from(lines), next)))
        }
    });
    Ok(HttpResponse::Ok().content_type("application/x-ndjson").streaming(pages))
}

/// An article as a line that an import takes.
///
/// # Errors
/// None: text, numbers and strings under strings always serialize.
pub fn exported(stored: &StoredArticle) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&ExportedView::of(stored))?;
    line.push(b'\n');
    Ok(line)
}

fn wanted(after: Option<ArticleId>) -> ListArticles {
    ListArticles { after, ascending: true, with_content: true, limit: PAGE, ..ListArticles::default() }
}
