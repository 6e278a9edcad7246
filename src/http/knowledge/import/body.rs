//! The body of an import: read no faster than its lines are stored.

use std::{collections::HashSet, time::Duration};

use actix_web::web::{self, Payload};
use futures_util::future::join;
use openclaw_actors::{
    idempotency::{Effect, Stamp},
    knowledge::import::{BATCH_BYTES, BATCH_LINES, Line, RunningImport},
};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::super::lines::{self, Lines, RawLine};
use crate::http::{body::BodyReader, error::ApiError};

/// How long lines wait for more to come with them, when the body stands still.
const GATHER_WITHIN: Duration = Duration::from_millis(100);

/// Takes the whole body. Whatever ends it, the import says how.
pub(super) async fn take(
    mut run: RunningImport,
    mut body: Body,
    source: Option<String>,
    stamp: Option<Stamp>,
) -> Result<(), ApiError> {
    let mut parsed: Vec<Line> = Vec::new();
    let error = loop {
        // The next lines are read while those before them are written.
        let (written, gathered) = join(write(&mut run, parsed), body.gather(source.clone())).await;
        if let Err(error) = written {
            break error;
        }
        match gathered {
            Ok(lines) if lines.is_empty() => {
                let effect = Effect::Import { import: run.id() };
                let row = stamp.map(|stamp| stamp.row(&effect));
                return Ok(run.complete(&body.hash(), row).await?);
            }
            Ok(lines) => parsed = lines,
            Err(error) => break error,
        }
    };
    let id = run.id().to_string();
    let reason = format!("{} ({})", error, error.code());
    // Where its end cannot be stored either, whoever looks for abandoned imports stores it later.
    drop(run.fail(&reason).await);
    Err(error.field("import_id", id))
}

/// Stores lines in batches that name no article twice.
async fn write(run: &mut RunningImport, lines: Vec<Line>) -> Result<(), ApiError> {
    let mut batch = Vec::new();
    let mut named = HashSet::new();
    for line in lines {
        let writes = !matches!(line, Line::Refused(_));
        let name = line.external_id().filter(|_| writes).map(str::to_owned);
        if name.is_some_and(|name| !named.insert(name)) {
            named.clear();
            named.extend(line.external_id().map(str::to_owned));
            run.take(std::mem::take(&mut batch)).await?;
        }
        batch.push(line);
    }
    if batch.is_empty() { Ok(()) } else { Ok(run.take(batch).await?) }
}

/// A body that is read line by line.
pub(super) struct Body {
    reader: BodyReader,
    lines: Lines,
    digest: Sha256,
    has_ended: bool,
    /// It broke off behind lines that were whole.
    broken: Option<ApiError>,
}

impl Body {
    pub(super) fn of(payload: Payload) -> Self {
        let reader = BodyReader::streaming(payload.into_inner());
        Self { reader, lines: Lines::default(), digest: Sha256::new(), has_ended: false, broken: None }
    }

    /// The next lines: as many as one commit takes, or those that are there when the body stands still; none at the
    /// end.
    async fn gather(&mut self, source: Option<String>) -> Result<Vec<Line>, ApiError> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let (mut gathered, mut bytes) = (Vec::new(), 0);
        while gathered.len() < BATCH_LINES && bytes < BATCH_BYTES {
            match self.next(!gathered.is_empty()).await {
                Ok(Some(line)) => {
                    bytes += line.bytes.as_ref().map_or(0, bytes::Bytes::len);
                    gathered.push(line);
                }
                Ok(None) => break,
                // What came as a whole is stored first.
                Err(error) if !gathered.is_empty() => {
                    self.broken = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        let read = move || -> Vec<Line> {
            gathered.into_iter().map(|line| lines::read(line, source.as_deref())).collect()
        };
        web::block(read).await.map_err(ApiError::internal)
    }

    /// The next line; none at the end or, where `others` wait for it, when the body stands still.
    async fn next(&mut self, others: bool) -> Result<Option<RawLine>, ApiError> {
        loop {
            if let Some(line) = self.lines.next() {
                return Ok(Some(line));
            }
            if self.has_ended {
                return Ok(self.lines.last());
            }
            let chunk = match others {
                true => match timeout(GATHER_WITHIN, self.reader.chunk()).await {
                    Ok(chunk) => chunk?,
                    Err(_) => return Ok(None),
                },
                false => self.reader.chunk().await?,
            };
            match chunk {
                Some(chunk) => {
                    self.digest.update(&chunk);
                    self.lines.push(&chunk);
                }
                None => self.has_ended = true,
            }
        }
    }

    fn hash(&self) -> String {
        self.digest.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads to the end without taking anything.
    pub(super) async fn digest(mut self) -> Result<String, ApiError> {
        while let Some(chunk) = self.reader.chunk().await? {
            self.digest.update(&chunk);
        }
        Ok(self.hash())
    }
}
