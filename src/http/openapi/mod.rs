//! The OpenAPI document: `GET /v1/openapi.json`, and the reference that is read with it.
//!
//! It is written by hand in the files beside this one, a room each, and put together once. A test in `tests` below
//! holds it to the route table; `tests/it/harness/contract.rs` holds it to every answer that a test gets.

mod around;
pub(super) mod docs;
#[cfg(test)]
mod tests;
mod tree;

use std::{borrow::Cow, sync::LazyLock};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderMap, HeaderValue},
};
use bytes::Bytes;
use rust_embed::Embed;

use self::tree::Tree;
use super::{error::ApiError, idempotency::fingerprint, query::AnyParameters};

/// Where the document is. The same for everyone, so nobody's key is looked at.
pub(super) const PATH: &str = "/v1/openapi.json";

#[derive(Embed)]
#[folder = "src/http/openapi"]
#[include = "*.json"]
#[include = "examples/*.json"]
struct Rooms;

/// What all rooms share, and what the others are added to.
const BASE: &str = "base.json";

/// Examples of a room stand apart, because they are written by the tests that ask for them.
const EXAMPLES: &str = "examples/";

/// Something to serve as it is, again and again.
struct Served {
    body: Bytes,
    etag: HeaderValue,
}

impl Served {
    fn new(body: Bytes) -> Self {
        let etag = format!("\"{}\"", fingerprint([&body[..]]));
        // Hexadecimal digits.
        Self { body, etag: HeaderValue::from_str(&etag).unwrap_or(HeaderValue::from_static("\"\"")) }
    }

    /// With what lets a client keep it and ask whether it is still the same.
    fn answer(&self, request: &HeaderMap, kind: impl TryInto<HeaderValue>) -> HttpResponse {
        let is_known = request.get_all(header::IF_NONE_MATCH).any(|known| {
            let mut tags = known.to_str().unwrap_or_default().split(',').map(str::trim);
            // Compared weakly, as caches do.
            tags.any(|tag| tag == "*" || tag.trim_start_matches("W/").as_bytes() == self.etag.as_bytes())
        });
        let mut answer = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        answer.insert_header((header::ETAG, self.etag.clone()));
        answer.insert_header((header::CACHE_CONTROL, "no-cache"));
        if is_known {
            return answer.finish();
        }
        if let Ok(kind) = kind.try_into() {
            answer.insert_header((header::CONTENT_TYPE, kind));
        }
        answer.body(self.body.clone())
    }
}

static DOCUMENT: LazyLock<Result<Served, String>> = LazyLock::new(|| {
    let document = merged()?;
    let text = serde_json::to_vec(&document).map_err(|error| error.to_string())?;
    Ok(Served::new(text.into()))
});

/// The document as it is published.
///
/// # Errors
/// Its parts do not fit together: what is wrong with them.
pub fn text() -> Result<Bytes, &'static str> {
    DOCUMENT.as_ref().map(|document| document.body.clone()).map_err(String::as_str)
}

/// `GET /v1/openapi.json`
pub(super) async fn document(request: HttpRequest, _: AnyParameters) -> Result<HttpResponse, ApiError> {
    match &*DOCUMENT {
        Ok(document) => Ok(document.answer(request.headers(), "application/json")),
        // The unit tests put it together too.
        Err(error) => Err(ApiError::internal(error.as_str())),
    }
}

/// All rooms as one document.
fn merged() -> Result<Tree, String> {
    let mut document = read(BASE)?;
    if let Some(version) = document.entry("info").and_then(|info| info.entry("version")) {
        *version = Tree::Leaf(env!("CARGO_PKG_VERSION").into());
    }
    let mut names: Vec<Cow<'static, str>> = Rooms::iter().filter(|name| name != BASE).collect();
    names.sort_unstable();
    for name in names {
        let room = read(&name)?;
        let added =
            if name.starts_with(EXAMPLES) { examples(&mut document, room) } else { add(&mut document, room) };
        added.map_err(|error| format!("{name}: {error}"))?;
    }
    let mut paths = document.entry("paths").map(std::mem::take).unwrap_or_default();
    if let Some(shared) = document.entry("components").and_then(|all| all.entry("responses")) {
        around::complete(&mut paths, shared);
    }
    if let Some(place) = document.entry("paths") {
        *place = paths;
    }
    Ok(document)
}

fn read(name: &str) -> Result<Tree, String> {
    let file = Rooms::get(name).ok_or_else(|| format!("{name} is not there"))?;
    serde_json::from_slice(&file.data).map_err(|error| format!("{name}: {error}"))
}

/// Adds a room. A name that is there already belongs to another.
fn add(document: &mut Tree, room: Tree) -> Result<(), String> {
    let Tree::Object(sections) = room else { return Err("it is no object".to_owned()) };
    for (section, content) in sections {
        match (section.as_str(), content) {
            ("tags", Tree::Array(tags)) => document.append("tags", tags),
            ("paths" | "webhooks", Tree::Object(named)) => fill(document.entry(&section), named)?,
            ("components", Tree::Object(kinds)) => {
                for (kind, named) in kinds {
                    let Tree::Object(named) = named else { return Err(format!("{kind} is no object")) };
                    fill(document.entry("components").and_then(|all| all.entry(&kind)), named)?;
                }
            }
            _ => return Err(format!("a room has no `{section}` of that kind")),
        }
    }
    Ok(())
}

/// Adds the examples of a room.
fn examples(document: &mut Tree, room: Tree) -> Result<(), String> {
    let Tree::Object(named) = room else { return Err("it is no object".to_owned()) };
    fill(document.entry("components").and_then(|all| all.entry("examples")), named)
}

fn fill(place: Option<&mut Tree>, named: Vec<(String, Tree)>) -> Result<(), String> {
    let place = place.ok_or("there is no object to add to")?;
    for (name, value) in named {
        if place.get(&name).is_some() {
            return Err(format!("`{name}` stands in another room already"));
        }
        place.or_insert(&name, || value);
    }
    Ok(())
}
