//! The endpoint of a model that chats: how long it may take, and what it can be asked.

use std::{io, time::Duration};

use awc::ClientResponse;
use bytes::Bytes;
use serde::Deserialize;
use tokio::time::timeout;

use crate::upstream::{ApiKey, BaseUrl, Caller, Failure, Kind};

/// The list of models; theirs has a few hundred entries.
const LONGEST_LIST: usize = 1 << 20;

/// How long an upstream may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// To a connection, with its name looked up and TLS agreed.
    pub connect: Duration,
    /// From the question to the first text, over all tries. Comments and empty pieces are no text.
    pub first_token: Duration,
    /// From one text to the next. Again comments and empty pieces do not count: customers see nothing of them.
    pub between_tokens: Duration,
    /// From the question to the end.
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            // One lost packet is sent again after one second.
            connect: Duration::from_secs(2),
            // Customers leave a chat that is silent for longer; a fallback still comes in time.
            first_token: Duration::from_secs(10),
            // A model that stalls for longer is not going to finish.
            between_tokens: Duration::from_secs(15),
            // 64 KiB of text at a leisurely pace.
            total: Duration::from_secs(120),
        }
    }
}

/// What must be known of an endpoint.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it is.
    pub base_url: BaseUrl,
    /// Sent as a bearer token; local servers need none.
    pub api_key: Option<ApiKey>,
    /// The model's name there, and ours in `GET /v1/models`.
    pub model: String,
    /// How long it may take.
    pub deadlines: Deadlines,
}

/// An endpoint that can be asked from any thread.
#[derive(Debug)]
pub struct Endpoint {
    pub(super) settings: Settings,
    caller: Caller,
}

impl Endpoint {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The address asks for TLS, and the machine has no certificates to trust.
    pub fn new(settings: Settings) -> io::Result<Self> {
        let (url, key) = (settings.base_url.clone(), settings.api_key.clone());
        let caller = Caller::new(url, key, settings.deadlines.connect)?;
        Ok(Self { settings, caller })
    }

    /// Asks for the names of the models, for as long as one question may take; `None` if what comes is no such list.
    ///
    /// # Errors
    /// The endpoint cannot be reached, or refuses.
    pub async fn models(&self) -> Result<Option<Vec<String>>, Failure> {
        #[derive(Deserialize)]
        struct List {
            data: Vec<Model>,
        }
        #[derive(Deserialize)]
        struct Model {
            id: String,
        }
        let asked = async {
            let mut response = self.caller.get("/models").await?;
            let body = response.body().limit(LONGEST_LIST).await.map_err(|_| Kind::Broken)?;
            let list: Option<List> = serde_json::from_slice(&body).ok();
            Ok(list.map(|list| list.data.into_iter().map(|model| model.id).collect()))
        };
        timeout(self.settings.deadlines.first_token, asked).await.unwrap_or(Err(Kind::TimedOut.into()))
    }

    /// Asks for a completion. What is not 2xx is an error. The caller sees to the deadline.
    pub(super) async fn complete(&self, body: Bytes) -> Result<ClientResponse, Failure> {
        self.caller.post("/chat/completions", body).await
    }
}
