//! Passing on: the same bytes under the same headers, to a program that is being written.

use std::{fmt, io, str::FromStr, time::Duration};

use actix_web::http::{StatusCode, Uri, header::HeaderMap};
use awc::{Client, Connector};
use bytes::Bytes;
use openclaw_actors::tls::trusting_the_machine;

/// Longer than any server waits for an answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// Of an answer, which is passed back: more than the server reads.
const LONGEST_ANSWER: usize = 1 << 20;

/// What is about one connection, not about what is sent on it.
const OF_THE_CONNECTION: [&str; 7] =
    ["connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade"];

/// Where to.
#[derive(Debug, Clone)]
pub(super) struct ForwardUrl(String);

impl FromStr for ForwardUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri = text.parse::<Uri>().ok();
        let speaks_http =
            |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
        match uri.filter(speaks_http) {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err("it must look like http://127.0.0.1:3000/hook".to_owned()),
        }
    }
}

impl fmt::Display for ForwardUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// See the module. Made anew on each thread that serves.
#[derive(Clone)]
pub(super) struct Forward {
    url: ForwardUrl,
}

/// What came back.
pub(super) struct Passed {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Forward {
    /// # Errors
    /// The address asks for TLS, and the machine has no certificates to trust.
    pub(super) fn new(url: ForwardUrl) -> io::Result<Self> {
        client(&url)?;
        Ok(Self { url })
    }

    /// Sends it on, and says what came back or why nothing did.
    pub(super) async fn pass(&self, headers: &HeaderMap, body: Bytes) -> Result<Passed, String> {
        let client = client(&self.url).map_err(|error| error.to_string())?;
        let mut request = client.post(&self.url.0).no_decompress();
        for (name, value) in headers {
            if !OF_THE_CONNECTION.contains(&name.as_str()) {
                request = request.append_header((name.clone(), value.clone()));
            }
        }
        let mut response = request.send_body(body).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = response.body().limit(LONGEST_ANSWER).await.map_err(|error| error.to_string())?;
        Ok(Passed { status, body })
    }
}

fn client(url: &ForwardUrl) -> io::Result<Client> {
    let mut connector = Connector::new();
    if url.0.starts_with("https:") {
        connector = connector.rustls_0_23(trusting_the_machine()?);
    }
    // Without headers of its own: those that came are passed on, and no others.
    let builder = Client::builder().connector(connector).timeout(ANSWERED_WITHIN).no_default_headers();
    Ok(builder.disable_redirects().finish())
}
