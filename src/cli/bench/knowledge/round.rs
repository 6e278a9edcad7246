//! What a client does with articles, one round after the other.

use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{Base, Field, ROWS, articles::Article, question};
use crate::cli::bench::{
    answer::Fault,
    client::Client,
    tally::{Failure, Took},
};

/// What waits are counted by.
pub(super) const WRITE: &str = "write";
pub(super) const SEARCH: &str = "search";
pub(super) const ANSWER: &str = "answer";

/// Of a given title, what is searched for.
const LONGEST_QUERY: usize = 200;

#[derive(Deserialize)]
struct Stored {
    external_id: String,
    index: Indexed,
}

#[derive(Deserialize)]
struct Indexed {
    state: String,
}

#[derive(Deserialize)]
struct Found {
    data: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    article: Named,
    passage: Passage,
}

#[derive(Deserialize)]
struct Named {
    external_id: Option<String>,
}

#[derive(Deserialize)]
struct Passage {
    text: String,
}

/// One round.
pub(in crate::cli::bench) struct Round<'a> {
    field: &'a Field,
    article: Article,
    number: u64,
    /// What each operation took.
    operations: Vec<(&'static str, Duration)>,
}

impl<'a> Round<'a> {
    pub(in crate::cli::bench) fn next(field: &'a Field) -> Self {
        let (article, number) = field.next();
        Self { field, article, number, operations: Vec::new() }
    }

    /// Writes, searches, changes, searches, and asks. The first write's wait counts from `since`, and so does the
    /// round's.
    pub(in crate::cli::bench) async fn run(
        mut self,
        client: &mut Client,
        since: Instant,
    ) -> Result<Took, Failure> {
        self.write(client, 0, since).await?;
        self.find(client, 0).await?;
        self.write(client, 1, Instant::now()).await?;
        self.find(client, 1).await?;
        self.search_the_base(client).await?;
        let answered = self.ask(client).await?;
        client.note_operations(self.operations);
        Ok(Took { completion: since.elapsed(), ..answered })
    }

    async fn write(&mut self, client: &mut Client, version: u64, since: Instant) -> Result<(), Failure> {
        let id = utf8_percent_encode(&self.article.external_id, NON_ALPHANUMERIC);
        let mut body = self.article.body(version);
        body["source"] = self.field.run.as_str().into();
        let path = format!("/v1/knowledge/external/{id}?wait=indexed");
        let request = client.target().put(&path, &body);
        let stored: Stored = self.call(client, WRITE, &request, since).await?;
        match stored.index.state.as_str() {
            _ if stored.external_id != self.article.external_id => Err(Fault::Senseless.into()),
            "indexed" => Ok(()),
            "pending" => Err(Failure::error("not_indexed", "an article was not searchable within 30 s")),
            _ => Err(Fault::NotIndexed.into()),
        }
    }

    /// What was written must be the first that is found, and say what it says now.
    async fn find(&mut self, client: &mut Client, version: u64) -> Result<(), Failure> {
        let found = self.search(client, &self.article.question()).await?;
        match found.data.first() {
            Some(row) if row.article.external_id.as_ref() == Some(&self.article.external_id) => {
                match row.passage.text.contains(&self.article.fact(version)) {
                    true => Ok(()),
                    false => Err(Fault::Outdated(self.article.name.clone()).into()),
                }
            }
            _ => Err(Fault::NotFound(self.article.name.clone()).into()),
        }
    }

    async fn search_the_base(&mut self, client: &mut Client) -> Result<(), Failure> {
        // Fibonacci hashing: neighbouring rounds look far apart.
        let scattered = self.number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        match &self.field.base {
            Base::Generated(0) => Ok(()),
            Base::Generated(articles) => {
                let article = self.field.article(scattered % articles);
                let found = self.search(client, &article.question()).await?;
                let first = found.data.first().and_then(|row| row.article.external_id.as_deref());
                match first == Some(&*article.external_id) {
                    true => Ok(()),
                    false => Err(Fault::NotFound(article.name).into()),
                }
            }
            Base::Given(given) => {
                let place = scattered.checked_rem(given.len() as u64).unwrap_or_default() as usize;
                let Some((id, title)) = given.get(place) else { return Ok(()) };
                let query: String = title.chars().take(LONGEST_QUERY).collect();
                let found = self.search(client, &query).await?;
                let is_there = found.data.iter().any(|row| row.article.external_id.as_ref() == Some(id));
                // Titles may be alike, so that this is a figure and no fault.
                self.field.looked.set(self.field.looked.get() + 1);
                self.field.found.set(self.field.found.get() + u64::from(is_there));
                Ok(())
            }
        }
    }

    async fn ask(&mut self, client: &mut Client) -> Result<Took, Failure> {
        let body = question(client.target(), &self.article.question());
        let request = client.target().post("/v1/conversations", &body);
        let answered = client.start(&request, Instant::now()).await?;
        self.operations.push((ANSWER, answered.completion));
        match client.text() {
            text if text.contains(&self.article.fact(1)) => Ok(answered),
            text if text.contains(&self.article.fact(0)) => {
                Err(Fault::Outdated(self.article.name.clone()).into())
            }
            _ => Err(Fault::WrongAnswer(self.article.name.clone()).into()),
        }
    }

    async fn search(&mut self, client: &mut Client, query: &str) -> Result<Found, Failure> {
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let request = client.target().get(&format!("/v1/knowledge/search?q={query}&limit={ROWS}"), "");
        self.call(client, SEARCH, &request, Instant::now()).await
    }

    async fn call<T: for<'de> Deserialize<'de>>(
        &mut self,
        client: &mut Client,
        operation: &'static str,
        request: &[u8],
        since: Instant,
    ) -> Result<T, Failure> {
        let body = client.call_in_time(request).await?;
        self.operations.push((operation, since.elapsed()));
        serde_json::from_slice(&body).map_err(|_| Fault::Senseless.into())
    }
}
