//! A server somewhere else, as a command speaks to it: one key, JSON, and the server's own words when it refuses.

use std::{fmt, io, str::FromStr, time::Duration};

use actix_web::http::{Method, StatusCode, Uri, header};
use awc::{
    Client, ClientRequest, ClientResponse, Connector,
    error::{ConnectError, SendRequestError},
};
use bytes::Bytes;
use futures_util::Stream;
use openclaw_actors::tls::trusting_the_machine;
use serde::{Deserialize, de::DeserializeOwned};

/// A machine that takes longer to answer a knock is not there.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);

/// More than any single answer of the server; what is longer comes as a stream.
const LONGEST_BODY: usize = 8 << 20;

/// Where a server is: `https://chat.example.com`, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerUrl(String);

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "it must look like http://127.0.0.1:8080 or https://chat.example.com".to_owned();
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let speaks_http = matches!(uri.scheme_str(), Some("http" | "https"));
        if !speaks_http || uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
            return Err(wrong());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The server said no, in its own words.
    #[error("{message}")]
    Refused {
        status: StatusCode,
        code: String,
        message: String,
        /// When it is worth asking again.
        retry_after: Option<Duration>,
    },
    /// Nobody answers there: nothing was sent.
    #[error("cannot reach {url}: {cause}")]
    Unreachable { url: ServerUrl, cause: String },
    /// The connection broke: the request may have arrived.
    #[error("the connection to {url} broke: {cause}")]
    Broken { url: ServerUrl, cause: String },
    /// What answers there is something else.
    #[error("{url} does not answer like an OpenClaw server: {cause}")]
    Foreign { url: ServerUrl, cause: String },
}

impl CallError {
    /// Whether the same request may succeed later.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            Self::Refused { status, .. } => {
                matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::Foreign { .. } => false,
        }
    }

    /// Whether another request may succeed now.
    pub(super) fn is_of_this_request(&self) -> bool {
        let of_the_key = |status: StatusCode| status == StatusCode::UNAUTHORIZED;
        matches!(self, Self::Refused { status, .. } if !self.passes() && !of_the_key(*status))
    }

    /// When the server wants to be asked again, if it said so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Unreachable { .. } | Self::Broken { .. } | Self::Foreign { .. } => None,
        }
    }
}

/// A server and the key to it.
pub(super) struct Remote {
    client: Client,
    url: ServerUrl,
    key: String,
    answered_within: Duration,
}

impl Remote {
    /// Asks for nothing yet. An answer's head is waited for as long as that.
    ///
    /// # Errors
    /// The address asks for TLS, and the machine has no certificates to trust.
    pub(super) fn new(url: ServerUrl, key: String, answered_within: Duration) -> io::Result<Self> {
        let mut connector = Connector::new().timeout(CONNECTED_WITHIN);
        if url.0.starts_with("https:") {
            connector = connector.rustls_0_23(trusting_the_machine()?);
        }
        let client =
            Client::builder().connector(connector).timeout(answered_within).disable_redirects().finish();
        Ok(Self { client, url, key, answered_within })
    }

    pub(super) fn request(&self, method: Method, path: &str) -> ClientRequest {
        self.client
            .request(method, format!("{}{path}", self.url))
            .no_decompress()
            .insert_header((header::AUTHORIZATION, format!("Bearer {}", self.key)))
    }

    /// Sends a request; the body is empty or JSON. What is not 2xx is an error.
    pub(super) async fn send(
        &self,
        request: ClientRequest,
        body: String,
    ) -> Result<ClientResponse, CallError> {
        let request = match body.is_empty() {
            true => request,
            false => request.insert_header((header::CONTENT_TYPE, "application/json")),
        };
        let response = request.send_body(body).await.map_err(|error| self.failed(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    /// Sends a request and reads the answer's body.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        request: ClientRequest,
        body: String,
    ) -> Result<(StatusCode, T), CallError> {
        let response = self.send(request, body).await?;
        let status = response.status();
        Ok((status, self.read(response).await?))
    }

    /// Sends a body that is made as it is sent, of that kind, and waits for the answer as long as that.
    pub(super) async fn send_stream<S>(
        &self,
        request: ClientRequest,
        kind: &'static str,
        body: S,
        answered_within: Duration,
    ) -> Result<ClientResponse, CallError>
    where
        S: Stream<Item = io::Result<Bytes>> + 'static,
    {
        let request = request.insert_header((header::CONTENT_TYPE, kind)).timeout(answered_within);
        let sent = request.send_stream(Box::pin(body)).await;
        let response = sent.map_err(|error| self.failed(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    /// Reads the body of an answer.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        mut response: ClientResponse,
    ) -> Result<T, CallError> {
        let body = response.body().limit(LONGEST_BODY).await.map_err(|error| self.broken(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.foreign(&error))
    }

    pub(super) fn foreign(&self, cause: &dyn fmt::Display) -> CallError {
        CallError::Foreign { url: self.url.clone(), cause: cause.to_string() }
    }

    fn unreachable(&self, cause: &dyn fmt::Display) -> CallError {
        CallError::Unreachable { url: self.url.clone(), cause: cause.to_string() }
    }

    pub(super) fn broken(&self, cause: &dyn fmt::Display) -> CallError {
        CallError::Broken { url: self.url.clone(), cause: cause.to_string() }
    }

    fn failed(&self, error: &SendRequestError) -> CallError {
        match error {
            // awc's word for a connection that ended before the answer's head.
            SendRequestError::Connect(ConnectError::Disconnected) => self.broken(&"there was no answer"),
            SendRequestError::Connect(ConnectError::Io(cause)) => self.unreachable(cause),
            SendRequestError::Connect(cause) => self.unreachable(cause),
            SendRequestError::Send(cause) => self.broken(cause),
            SendRequestError::Timeout => {
                self.broken(&format_args!("no answer within {} seconds", self.answered_within.as_secs()))
            }
            other => self.broken(other),
        }
    }

    async fn refusal(&self, mut response: ClientResponse) -> CallError {
        #[derive(Deserialize)]
        struct Body {
            error: Details,
        }
        #[derive(Deserialize)]
        struct Details {
            code: String,
            message: String,
        }
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after =
            retry_after.and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        match response.json::<Body>().await {
            Ok(Body { error: Details { code, message } }) => {
                CallError::Refused { status, code, message, retry_after }
            }
            // A proxy in between speaks for a server that is away.
            Err(_) if status.is_server_error() => self.broken(&status),
            Err(_) => self.foreign(&status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_where_a_server_is() {
        let url = |text: &str| text.parse::<ServerUrl>().map(|url| url.to_string());
        assert_eq!(url("http://localhost:8080/").unwrap(), "http://localhost:8080");
        assert_eq!(url("https://example.com/chat/").unwrap(), "https://example.com/chat");
        for wrong in
            ["", "localhost:8080", "ftp://example.com", "http://", "http:///v1", "http://a/?b", "/v1"]
        {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}
