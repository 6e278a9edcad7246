//! Where the articles are: in a store that the command opens itself, or behind a server.

use std::{collections::HashMap, error::Error, time::Duration};

use actix_web::http::{Method, StatusCode};
use clap::Args;
use openclaw_actors::{
    clock::Timestamp,
    ids::{ArticleId, OrgId},
    knowledge::{
        Knowledge,
        article::Draft,
        index::Query,
        messages::{Change, Precondition, Put, PutArticle, PutTarget},
    },
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::{
    cli::{
        offline::Offline,
        remote::{CallError, Remote, ServerUrl},
        settings::Settings,
    },
    http::{
        error::ApiError,
        knowledge::{ArticleBody, SearchView},
    },
};

pub(super) type Failure = Box<dyn Error + Send + Sync>;

/// Beyond this a server is not slow but away.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How often a server that has no time is asked again.
const TRIES: u32 = 20;

/// Which articles a command is about.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// Whose articles, in a store of this machine
    #[arg(long, value_name = "ORG", required_unless_present = "url", conflicts_with = "url")]
    org: Option<OrgId>,
    #[command(flatten)]
    settings: Settings,
    /// The server to ask instead of a store
    #[arg(long, value_name = "URL", requires = "key")]
    url: Option<ServerUrl>,
    /// The server's API key
    #[arg(long, value_name = "KEY", env = "OPENCLAW_KEY", hide_env_values = true)]
    key: Option<String>,
}

/// The way to the articles.
pub(super) enum Place {
    Store { offline: Box<Offline>, knowledge: Knowledge, org: OrgId },
    Server(Box<Server>),
}

/// A server and what is known of it.
pub(super) struct Server {
    remote: Remote,
    /// The versions of its articles before, by external id: what tells a changed one from one that was the same.
    versions: HashMap<String, i64>,
}

/// Why one article was not taken; the next may be.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) message: String,
}

impl Where {
    /// Needs a running actix system.
    pub(super) async fn open(self) -> Result<Place, Failure> {
        match (self.url, self.key, self.org) {
            (Some(url), Some(key), _) => {
                let remote = Remote::new(url, key, ANSWER_WITHIN)?;
                Ok(Place::Server(Box::new(Server { remote, versions: HashMap::new() })))
            }
            (_, _, Some(org)) => {
                let offline = Box::new(Offline::open(self.settings).await?);
                // A mistyped organization should be noticed before its articles are written.
                offline.organizations().get(org).await?;
                let knowledge = Knowledge::start(offline.store.clone(), offline.writer.clone());
                Ok(Place::Store { offline, knowledge, org })
            }
            // clap asks for one of them.
            _ => Err("say whose articles: --org, or --url and --key".into()),
        }
    }
}

impl Place {
    /// Notes what is there, so that [`Place::put`] can tell what it changed.
    pub(super) async fn get_ready(&mut self) {
        if let Self::Server(server) = self {
            server.read_versions().await;
        }
    }

    /// Writes an article under the external id that its body names.
    pub(super) async fn put(&self, body: Value) -> Result<Result<Change, Refusal>, Failure> {
        match self {
            Self::Store { knowledge, org, .. } => put_in_store(knowledge, *org, body).await,
            Self::Server(server) => server.put(body).await,
        }
    }

    /// What a search finds, as the API shows it.
    pub(super) async fn search(&self, question: String, limit: u32) -> Result<Value, Failure> {
        match self {
            Self::Store { knowledge, org, .. } => {
                let query = Query { turns: vec![question], limit: limit as usize, ..Query::default() };
                let hits = knowledge.search(*org, &query).await?;
                let indexed = knowledge.indexed(*org, hits.iter().map(|hit| hit.entry.article.id)).await?;
                Ok(serde_json::to_value(SearchView::of(&hits, indexed, &query))?)
            }
            Self::Server(server) => {
                let question = utf8_percent_encode(&question, NON_ALPHANUMERIC);
                Ok(server.get(&format!("/v1/knowledge/search?q={question}&limit={limit}")).await?)
            }
        }
    }

    pub(super) async fn close(self) {
        if let Self::Store { offline, knowledge, .. } = self {
            knowledge.stop();
            offline.close().await;
        }
    }
}

impl Server {
    /// Writes an article under the external id that its body names.
    async fn put(&self, body: Value) -> Result<Result<Change, Refusal>, Failure> {
        let external_id = body["external_id"].as_str().unwrap_or_default();
        let in_path = utf8_percent_encode(external_id, NON_ALPHANUMERIC);
        let path = format!("/v1/knowledge/external/{in_path}");
        let before = self.versions.get(external_id).copied();
        match self.ask(Method::PUT, &path, body.to_string()).await {
            Ok((StatusCode::CREATED, _)) => Ok(Ok(Change::Created)),
            Ok((_, answer)) if before.is_some() && before == answer["version"].as_i64() => {
                Ok(Ok(Change::Unchanged))
            }
            Ok(_) => Ok(Ok(Change::Updated)),
            Err(CallError::Refused {
                status: StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::PAYLOAD_TOO_LARGE,
                code,
                message,
                ..
            }) => Ok(Err(Refusal { code, message })),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads which versions there are. A key that may only write does without: then all old articles count as
    /// updated.
    async fn read_versions(&mut self) {
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/knowledge?limit=100{cursor}");
            let Ok(page) = self.get(&path).await else { return };
            for article in page["data"].as_array().into_iter().flatten() {
                let (external_id, version) = (article["external_id"].as_str(), article["version"].as_i64());
                self.versions.extend(external_id.map(str::to_owned).zip(version));
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return,
            }
        }
    }

    async fn get(&self, path: &str) -> Result<Value, CallError> {
        Ok(self.ask(Method::GET, path, String::new()).await?.1)
    }

    /// Asks, and asks again when the server says when to come back.
    async fn ask(&self, method: Method, path: &str, body: String) -> Result<(StatusCode, Value), CallError> {
        for _ in 1..TRIES {
            let answer = self.remote.call(self.remote.request(method.clone(), path), body.clone()).await;
            match answer.as_ref().err().and_then(CallError::retry_after) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return answer,
            }
        }
        self.remote.call(self.remote.request(method, path), body).await
    }
}

async fn put_in_store(
    knowledge: &Knowledge,
    org: OrgId,
    body: Value,
) -> Result<Result<Change, Refusal>, Failure> {
    let message = match read(body) {
        Ok(draft) => PutArticle {
            org,
            target: PutTarget::External(ArticleId::generate()),
            draft,
            only_if: Precondition::None,
            now: Timestamp::now(),
            idempotency: None,
        },
        Err(error) => return Ok(Err(Refusal { code: error.code().to_owned(), message: error.to_string() })),
    };
    let Put { change, .. } = knowledge.put(message).await?;
    Ok(Ok(change))
}

/// The same reading as over HTTP, so that both take and refuse the same.
fn read(body: Value) -> Result<Draft, ApiError> {
    let body: ArticleBody = crate::http::json::parse(body.to_string().as_bytes())?;
    let (fields, content) = body.read()?;
    Ok(Draft::read(fields, content)?)
}
