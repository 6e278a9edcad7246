//! An endpoint: where it is, how long it may take, and one HTTP client per thread to reach it.

use std::{
    cell::RefCell,
    fmt, io,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use awc::{
    Client, ClientRequest, ClientResponse, Connector,
    error::{ConnectError, SendRequestError},
    http::{StatusCode, Uri, header},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{
    failure::{Failure, Kind},
    retry,
};
use crate::{tls, wire::Wires};

/// An idle connection is kept for less than the minute after which common servers and balancers drop it.
const KEPT_FOR: Duration = Duration::from_secs(30);

/// How long a connection lives at most, so that a change of the name's addresses is noticed.
const LIVES_FOR: Duration = Duration::from_secs(600);

/// The list of models; theirs has a few hundred entries.
const LONGEST_LIST: usize = 1 << 20;

/// Where an endpoint is: `https://api.openai.com/v1`, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BaseUrl(String);

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || Err("it must look like https://api.openai.com/v1 or http://127.0.0.1:11434/v1".to_owned());
        let Ok(uri) = text.parse::<Uri>() else { return wrong() };
        let speaks_http = text.starts_with("http://") || text.starts_with("https://");
        if !speaks_http || uri.host().is_none_or(str::is_empty) || uri.query().is_some() || text.contains('#')
        {
            return wrong();
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(
                "it must not hold a name or a password: put the key into model.openai.api_key".to_owned()
            );
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<BaseUrl> for String {
    fn from(url: BaseUrl) -> Self {
        url.0
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl BaseUrl {
    fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Host and port.
    fn authority(&self) -> &str {
        let after = self.0.split_once("://").map_or("", |(_, after)| after);
        after.split('/').next().unwrap_or_default()
    }

    /// The address as awc is told it: with the port that its scheme means and without TLS, which is [`wire`]'s.
    fn on_the_wire(&self, path: &str) -> String {
        let (scheme, after) = self.0.split_once("://").unwrap_or_default();
        let (authority, base) = after.split_at(self.authority().len());
        let has_port = self.0.parse::<Uri>().is_ok_and(|uri| uri.port().is_some());
        let port = if scheme == "https" && !has_port { ":443" } else { "" };
        format!("http://{authority}{port}{base}{path}")
    }

    /// Whether what is sent there can be read on the way: no TLS, and not on this machine.
    #[must_use]
    pub fn is_in_the_clear(&self) -> bool {
        let uri: Option<Uri> = self.0.parse().ok();
        let host = uri.as_ref().and_then(Uri::host).unwrap_or_default().trim_matches(['[', ']']);
        let stays_here = match host.parse::<std::net::IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => host == "localhost" || host.ends_with(".localhost"),
        };
        !self.is_https() && !stays_here
    }
}

/// A key that is never shown.
#[derive(Clone)]
pub struct ApiKey(String);

impl From<&str> for ApiKey {
    fn from(key: &str) -> Self {
        Self(key.to_owned())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(set)")
    }
}

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
    tls: Option<Arc<rustls::ClientConfig>>,
    /// Tells the clients of a thread apart.
    number: usize,
}

thread_local! {
    /// awc's client is bound to its thread; so is its pool of connections.
    static CLIENTS: RefCell<Vec<(usize, Client)>> = const { RefCell::new(Vec::new()) };
}

impl Endpoint {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The address asks for TLS, and the machine has no certificates to trust.
    pub fn new(settings: Settings) -> io::Result<Self> {
        static NUMBERS: AtomicUsize = AtomicUsize::new(0);
        let tls = if settings.base_url.is_https() { Some(tls::trusting_the_machine()?) } else { None };
        Ok(Self { settings, tls, number: NUMBERS.fetch_add(1, Ordering::Relaxed) })
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
            let request = self.client().get(self.settings.base_url.on_the_wire("/models"));
            let mut response = self.send(request, Bytes::new()).await?;
            let body = response.body().limit(LONGEST_LIST).await.map_err(|_| Kind::Broken)?;
            let list: Option<List> = serde_json::from_slice(&body).ok();
            Ok(list.map(|list| list.data.into_iter().map(|model| model.id).collect()))
        };
        timeout(self.settings.deadlines.first_token, asked).await.unwrap_or(Err(Kind::TimedOut.into()))
    }

    /// Asks for a completion. What is not 2xx is an error. The caller sees to the deadline.
    pub(super) async fn complete(&self, body: Bytes) -> Result<ClientResponse, Failure> {
        let request = self.client().post(self.settings.base_url.on_the_wire("/chat/completions"));
        self.send(request.insert_header((header::CONTENT_TYPE, "application/json")), body).await
    }

    async fn send(&self, request: ClientRequest, body: Bytes) -> Result<ClientResponse, Failure> {
        let mut request = request
            .no_decompress()
            .insert_header((header::HOST, self.settings.base_url.authority()))
            .insert_header((header::ACCEPT, "text/event-stream, application/json"))
            .insert_header((header::ACCEPT_ENCODING, "identity"))
            .insert_header((header::USER_AGENT, concat!("openclaw-server/", env!("CARGO_PKG_VERSION"))));
        if let Some(key) = &self.settings.api_key {
            request = request.insert_header((header::AUTHORIZATION, format!("Bearer {}", key.0)));
        }
        let response = request.send_body(body).await.map_err(|error| Failure::from(kind_of(&error)))?;
        match response.status() {
            status if status.is_success() && is_encoded(&response) => Err(Kind::Broken.into()),
            status if status.is_success() => Ok(response),
            status => Err(refusal(status, response.headers().get(header::RETRY_AFTER))),
        }
    }

    /// This thread's client.
    fn client(&self) -> Client {
        CLIENTS.with_borrow_mut(|clients| match clients.iter().find(|(number, _)| *number == self.number) {
            Some((_, client)) => client.clone(),
            None => {
                let client = self.new_client();
                clients.push((self.number, client.clone()));
                client
            }
        })
    }

    fn new_client(&self) -> Client {
        let connector = Connector::new()
            .connector(Wires::new(self.tls.as_ref()))
            .timeout(self.settings.deadlines.connect)
            .conn_keep_alive(KEPT_FOR)
            .conn_lifetime(LIVES_FOR)
            // How many answers run at once is `limits.running_turns`' business: none of them waits for another here.
            .limit(0);
        Client::builder()
            .connector(connector)
            .disable_timeout()
            .disable_redirects()
            .no_default_headers()
            .finish()
    }
}

fn is_encoded(response: &ClientResponse) -> bool {
    let encoding = response.headers().get(header::CONTENT_ENCODING);
    encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn refusal(status: StatusCode, retry_after: Option<&header::HeaderValue>) -> Failure {
    let status = status.as_u16();
    let retry_after = retry_after.and_then(|value| value.to_str().ok());
    Failure {
        kind: Kind::of_status(status),
        status: Some(status),
        retry_after: retry_after.and_then(|value| retry::after(value, jiff::Timestamp::now())),
    }
}

fn kind_of(error: &SendRequestError) -> Kind {
    match error {
        // awc's word for a connection that ended before the answer's head: one from the pool may have been stale.
        SendRequestError::Connect(ConnectError::Disconnected) | SendRequestError::Send(_) => Kind::Broken,
        SendRequestError::Connect(_) => Kind::Unreachable,
        SendRequestError::Timeout => Kind::TimedOut,
        _ => Kind::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_and_holds_no_secret() {
        let url = |text: &str| text.parse::<BaseUrl>().map(|url| url.to_string());
        assert_eq!(url("https://api.openai.com/v1/").unwrap(), "https://api.openai.com/v1");
        assert_eq!(url("http://localhost:11434").unwrap(), "http://localhost:11434");
        for wrong in
            ["", "localhost:1", "ftp://a/v1", "/v1", "http://a/v1?key=x", "https://me:pw@a/v1", "http://"]
        {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn awc_is_told_where_to_connect_and_not_how() {
        let wire = |text: &str| text.parse::<BaseUrl>().unwrap().on_the_wire("/models");
        assert_eq!(wire("https://a.example/v1"), "http://a.example:443/v1/models");
        assert_eq!(wire("https://a.example:8443"), "http://a.example:8443/models");
        assert_eq!(wire("http://[::1]:1/v1/"), "http://[::1]:1/v1/models");
        assert_eq!(wire("http://a.example"), "http://a.example/models");
    }

    #[test]
    fn what_can_be_read_on_the_way_is_known() {
        let in_the_clear = |text: &str| text.parse::<BaseUrl>().unwrap().is_in_the_clear();
        for safe in ["https://a.example/v1", "http://127.0.0.1:1/v1", "http://[::1]:1", "http://localhost"] {
            assert!(!in_the_clear(safe), "{safe}");
        }
        assert!(in_the_clear("http://10.0.0.7:8000/v1") && in_the_clear("http://models.example"));
    }
}
