//! The articles behind a server.

use std::{io, path::Path, time::Duration};

use actix_web::http::{Method, StatusCode};
use awc::ClientResponse;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncReadExt;

use super::{
    files,
    import::{RefusedArticle, Summary, progress},
    place::{Failure, Refusal},
};
use crate::cli::remote::{CallError, Remote};

/// How often a server that has no time is asked again.
const TRIES: u32 = 20;

/// The wait before, where the server does not say.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// An import is answered when all of it is stored: hours, for what a slow line sends.
const IMPORTED_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

/// What is read of a file at a time.
const PART: usize = 64 << 10;

const IMPORT: &str = "/v1/knowledge/import?wait=indexed";

/// A server.
pub(super) struct Server {
    remote: Remote,
}

/// An import, as the server shows it.
#[derive(Deserialize)]
struct Imported {
    id: String,
    counts: Counts,
    errors: Vec<LineError>,
}

#[derive(Deserialize)]
struct Counts {
    lines: usize,
    created: usize,
    updated: usize,
    unchanged: usize,
    deleted: usize,
    refused: usize,
}

#[derive(Deserialize)]
struct LineError {
    line: usize,
    code: String,
    message: String,
}

#[derive(Deserialize)]
struct Page {
    data: Vec<LineError>,
    next_cursor: Option<String>,
}

impl Server {
    pub(super) fn new(remote: Remote) -> Self {
        Self { remote }
    }

    /// Imports a folder, or a file of lines.
    pub(super) async fn import(&self, from: &Path, json: bool) -> Result<Summary, Failure> {
        if !from.is_dir() {
            let import = self.send(|| async { file(from, json).await }).await?;
            return Ok(self.summary(import, |line| format!("line {line}"), Vec::new()).await?);
        }
        let (mut names, mut lines, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for (at, body) in files::files(from)? {
            match body {
                Ok(body) => {
                    names.push(at);
                    lines.push(Bytes::from(format!("{body}\n")));
                }
                Err(Refusal { code, message }) => unreadable.push(RefusedArticle { at, code, message }),
            }
        }
        let body = || async { Ok(counted(lines.clone(), json)) };
        let import = self.send(body).await?;
        let name = |line: usize| names.get(line - 1).cloned().unwrap_or_default();
        Ok(self.summary(import, name, unreadable).await?)
    }

    /// Sends an import, and sends it again while that may help: what was stored already is not written twice.
    async fn send<S, F>(&self, body: impl Fn() -> F) -> Result<Imported, Failure>
    where
        S: Stream<Item = io::Result<Bytes>> + 'static,
        F: Future<Output = Result<S, Failure>>,
    {
        for attempt in 1.. {
            let request = self.remote.request(Method::POST, IMPORT);
            let kind = "application/x-ndjson";
            let sent = self.remote.send_stream(request, kind, body().await?, IMPORTED_WITHIN).await;
            let answer = match sent {
                Ok(response) => self.remote.read(response).await,
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if error.passes() && attempt < TRIES => {
                    tokio::time::sleep(error.retry_after().unwrap_or(TRY_AGAIN_AFTER)).await;
                }
                answer => return Ok(answer?),
            }
        }
        Err("the server has no time".into())
    }

    async fn summary(
        &self,
        Imported { id, counts, mut errors }: Imported,
        name: impl Fn(usize) -> String,
        unreadable: Vec<RefusedArticle>,
    ) -> Result<Summary, CallError> {
        if errors.len() < counts.refused {
            errors = self.errors(&id).await?;
        }
        let named = |LineError { line, code, message }| RefusedArticle { at: name(line), code, message };
        let mut summary = Summary {
            articles: counts.lines + unreadable.len(),
            created: counts.created,
            updated: counts.updated,
            unchanged: counts.unchanged,
            deleted: counts.deleted,
            refused: counts.refused + unreadable.len(),
            errors: unreadable,
        };
        summary.errors.extend(errors.into_iter().map(named));
        Ok(summary)
    }

    /// All lines that an import refused.
    async fn errors(&self, id: &str) -> Result<Vec<LineError>, CallError> {
        let mut errors = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/knowledge/imports/{id}/errors?limit=100{cursor}");
            let page: Page = self.call(&path).await?;
            errors.extend(page.data);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(errors),
            }
        }
    }

    /// Asks for JSON.
    pub(super) async fn get(&self, path: &str) -> Result<Value, CallError> {
        self.call(path).await
    }

    /// Asks for a body that is read as it comes.
    pub(super) async fn open(&self, path: &str) -> Result<ClientResponse, CallError> {
        self.remote.send(self.remote.request(Method::GET, path), String::new()).await
    }

    /// Asks, and asks again when the server says when to come back.
    async fn call<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        for _ in 1..TRIES {
            let answer: Result<(StatusCode, T), _> =
                self.remote.call(self.remote.request(Method::GET, path), String::new()).await;
            match answer.as_ref().err().and_then(CallError::retry_after) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return answer.map(|(_, body)| body),
            }
        }
        Ok(self.remote.call(self.remote.request(Method::GET, path), String::new()).await?.1)
    }
}

/// The lines of articles, counted as they are sent: no faster than the server stores them.
fn counted(lines: Vec<Bytes>, json: bool) -> impl Stream<Item = io::Result<Bytes>> + 'static {
    let progress = Cleared(progress(lines.len(), json));
    stream::iter(lines).map(move |line| {
        progress.0.inc(1);
        Ok(line)
    })
}

/// A file in parts. Its lines are counted before, for the bar.
async fn file(path: &Path, json: bool) -> Result<impl Stream<Item = io::Result<Bytes>> + 'static, Failure> {
    let named = |error: io::Error| format!("{}: {error}", path.display());
    let open = || tokio::fs::File::open(path);
    let mut lines = 0;
    let mut parts = Box::pin(parts(open().await.map_err(named)?));
    while let Some(part) = parts.next().await {
        lines += ends(&part.map_err(named)?);
    }
    let progress = Cleared(progress(lines, json));
    let parts = self::parts(open().await.map_err(named)?);
    Ok(parts.inspect(move |part| {
        progress.0.inc(part.as_ref().map_or(0, |part| ends(part) as u64));
    }))
}

fn ends(part: &[u8]) -> usize {
    part.iter().filter(|byte| **byte == b'\n').count()
}

fn parts(file: tokio::fs::File) -> impl Stream<Item = io::Result<Bytes>> + 'static {
    stream::try_unfold(file, |mut file| async move {
        let mut part = vec![0; PART];
        let length = file.read(&mut part).await?;
        part.truncate(length);
        Ok((length > 0).then(|| (Bytes::from(part), file)))
    })
}

/// A bar that goes with what it shows.
struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
