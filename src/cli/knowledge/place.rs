//! Where the articles are: in a store that the command opens itself, or behind a server.

use std::{error::Error, time::Duration};

use clap::Args;
use openclaw_actors::{
    clock::Timestamp,
    ids::{ArticleId, OrgId},
    knowledge::{
        Knowledge,
        article::Draft,
        index::{Explanation, Query},
        messages::{Change, Precondition, Put, PutArticle, PutTarget},
    },
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::server::Server;
use crate::{
    cli::{
        offline::Offline,
        remote::{Remote, ServerUrl},
        settings::Settings,
    },
    http::{
        error::ApiError,
        knowledge::{ArticleBody, SearchView},
    },
};

pub(in crate::cli) type Failure = Box<dyn Error + Send + Sync>;

/// Beyond this a server is not slow but away.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

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

/// Why one article was not taken; the next may be.
#[derive(Debug)]
pub(in crate::cli) struct Refusal {
    pub(super) code: String,
    pub(in crate::cli) message: String,
}

impl Where {
    /// Needs a running actix system.
    pub(super) async fn open(self) -> Result<Place, Failure> {
        match (self.url, self.key, self.org) {
            (Some(url), Some(key), _) => {
                let remote = Remote::new(url, key, ANSWER_WITHIN)?;
                Ok(Place::Server(Box::new(Server::new(remote))))
            }
            (_, _, Some(org)) => {
                let offline = Box::new(Offline::open(self.settings).await?);
                // A mistyped organization should be noticed before its articles are written.
                offline.organizations().get(org).await?;
                let options = offline.config.knowledge.options()?;
                let knowledge = Knowledge::start_with(offline.store.clone(), offline.writer.clone(), options);
                Ok(Place::Store { offline, knowledge, org })
            }
            // clap asks for one of them.
            _ => Err("say whose articles: --org, or --url and --key".into()),
        }
    }
}

impl Place {
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

    /// How a search comes to what it finds: of a store alone, because no server tells.
    pub(super) async fn explain(&self, question: String, limit: u32) -> Result<Explanation, Failure> {
        let Self::Store { knowledge, org, .. } = self else {
            return Err("a server does not explain: give --org and --data".into());
        };
        let query = Query { turns: vec![question], limit: limit as usize, ..Query::default() };
        Ok(knowledge.explain(*org, &query).await?)
    }

    pub(super) async fn close(self) {
        if let Self::Store { offline, knowledge, .. } = self {
            knowledge.close().await;
            offline.close().await;
        }
    }
}

/// Writes an article under the external id that its body names.
pub(super) async fn put_in_store(
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
