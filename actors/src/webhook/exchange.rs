//! One exchange with an endpoint: its name looked up, its address looked at, the request sent, the answer read.

use std::{
    cell::OnceCell,
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use awc::{
    Client, ClientResponse,
    error::{ConnectError, SendRequestError},
    http::{StatusCode, header},
};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Serialize;
use tracing::warn;

use super::{
    address::{AddressPolicy, NotAllowed},
    endpoint::{EndpointUrl, Webhook},
    schedule, sign,
};
use crate::{
    clock::Timestamp,
    tls::Trust,
    wire::{self, Kept, Stopwatch, Wires},
};

/// How much of an answer is read before the connection is given up.
const LONGEST_ANSWER: usize = 16 << 10;

/// How much of it is kept.
const KEPT_OF_ANSWER: usize = 1 << 10;

/// Less than the five seconds after which Node and others drop an idle connection: none breaks under a request. And no
/// connection lives so long that a change of the name's addresses goes unnoticed.
const KEPT: Kept = Kept { idle: Duration::from_secs(4), at_most: Duration::from_secs(60) };

/// What came back.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: String,
    pub(super) retry_after: Option<Duration>,
}

/// Why nothing came back. The words are for programs too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    NotAllowed(NotAllowed),
    NotResolved,
    NotConnected,
    NoTls,
    TimedOut,
    Broken,
}

impl Failure {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::NotAllowed(_) => "address_not_allowed",
            Self::NotResolved => "name_not_resolved",
            Self::NotConnected => "connection_failed",
            Self::NoTls => "tls_failed",
            Self::TimedOut => "timed_out",
            Self::Broken => "connection_broken",
        }
    }
}

/// How long the parts of an exchange took, in milliseconds; null where it did not come so far.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Timings {
    resolve_ms: Option<f64>,
    connect_ms: Option<f64>,
    tls_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    total_ms: f64,
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 100.0
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// Constant over retries.
    pub(super) id: String,
    /// When this attempt began.
    pub(super) at: Timestamp,
    pub(super) body: Bytes,
}

/// The headers that are ours, for that message.
pub(super) fn our_headers(webhook: &Webhook, message: &Message) -> [(&'static str, String); 4] {
    let seconds = message.at.0.div_euclid(1_000);
    let secrets = webhook.secrets(message.at);
    [
        ("content-type", "application/json".to_owned()),
        ("webhook-id", message.id.clone()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", sign::signatures(&secrets, &message.id, seconds, &message.body)),
    ]
}

/// The addresses of a name that may be sent to.
///
/// # Errors
/// It has none, or none that may be.
pub(super) async fn resolve(url: &EndpointUrl, policy: &AddressPolicy) -> Result<Vec<SocketAddr>, Failure> {
    if !url.is_https && !policy.allow_http {
        return Err(Failure::NotAllowed(NotAllowed::InTheClear));
    }
    let found = policy.names.look_up(&url.host, url.port).await.map_err(|_| Failure::NotResolved)?;
    let mut refused = None;
    let mut allowed = Vec::new();
    for address in found {
        match policy.check(address) {
            Ok(()) => allowed.push(address),
            Err(not) => refused = Some(not),
        }
    }
    match refused {
        _ if !allowed.is_empty() => Ok(allowed),
        Some(not) => Err(Failure::NotAllowed(not)),
        None => Err(Failure::NotResolved),
    }
}

/// The clients of one thread.
pub(super) struct Exchange {
    policy: AddressPolicy,
    trust: Trust,
    plain: Client,
    secure: OnceCell<Option<Client>>,
}

impl Exchange {
    pub(super) fn new(policy: AddressPolicy, trust: Trust) -> Self {
        Self { policy, trust, plain: client(Wires::new(None)), secure: OnceCell::new() }
    }

    /// Sends the message. The caller sees to the deadline.
    pub(super) async fn send(&self, webhook: &Webhook, message: &Message) -> Result<Answer, Failure> {
        let addresses = resolve(&webhook.url, &self.policy).await?;
        let client = if webhook.url.is_https { self.secure()? } else { &self.plain };
        let response = post(client, webhook, message, &addresses).await?;
        read(response).await
    }

    /// The same on a connection of its own, timed, within that time.
    pub(super) async fn send_timed(
        &self,
        webhook: &Webhook,
        message: &Message,
        within: Duration,
    ) -> (Result<Answer, Failure>, Timings) {
        let began = Instant::now();
        let mut timings = Timings::default();
        let watch = Rc::new(Stopwatch::default());
        let exchange = async {
            let addresses = resolve(&webhook.url, &self.policy).await?;
            timings.resolve_ms = Some(ms(began.elapsed()));
            let wires = match webhook.url.is_https {
                true => Wires::new(Some(&self.trust.tls().map_err(|_| Failure::NoTls)?)),
                false => Wires::new(None),
            };
            let response = post(&client(wires.timed(&watch)), webhook, message, &addresses).await?;
            timings.first_byte_ms = Some(ms(began.elapsed()));
            read(response).await
        };
        let answered = tokio::time::timeout(within, exchange).await.unwrap_or(Err(Failure::TimedOut));
        timings.connect_ms = watch.tcp.get().map(ms);
        timings.tls_ms = watch.tls.get().map(ms);
        timings.total_ms = ms(began.elapsed());
        (answered, timings)
    }

    fn secure(&self) -> Result<&Client, Failure> {
        let made = self.secure.get_or_init(|| match self.trust.tls() {
            Ok(tls) => Some(client(Wires::new(Some(&tls)))),
            Err(error) => {
                warn!(%error, "webhooks cannot be sent over TLS");
                None
            }
        });
        made.as_ref().ok_or(Failure::NoTls)
    }
}

fn client(wires: Wires) -> Client {
    // The deadline around everything ends an attempt to connect.
    wire::client(wires, Duration::from_secs(3_600), KEPT)
}

async fn post(
    client: &Client,
    webhook: &Webhook,
    message: &Message,
    addresses: &[SocketAddr],
) -> Result<ClientResponse, Failure> {
    let mut last = Failure::NotResolved;
    for address in addresses {
        let mut request = client.post(&webhook.url.on_the_wire).address(*address).no_decompress();
        // Theirs first: ours take the place of any of the same name.
        for header in webhook.headers.iter() {
            request = request.insert_header(header);
        }
        for header in our_headers(webhook, message) {
            request = request.insert_header(header);
        }
        let sent = request
            .insert_header((header::HOST, webhook.url.authority.as_str()))
            .insert_header((header::ACCEPT_ENCODING, "identity"))
            .insert_header((header::USER_AGENT, concat!("openclaw-server/", env!("CARGO_PKG_VERSION"))))
            .send_body(message.body.clone())
            .await;
        match sent {
            Ok(response) => return Ok(response),
            Err(error) => last = failure(&error),
        }
        // Nothing was sent: the next of its addresses may take it.
        if last != Failure::NotConnected {
            break;
        }
    }
    Err(last)
}

/// Reads the answer to its end, or as much of it as is read.
async fn read(mut response: ClientResponse) -> Result<Answer, Failure> {
    let status = response.status();
    let asks = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.filter(|_| asks);
    let retry_after = retry_after.and_then(|value| schedule::retry_after(value, jiff::Timestamp::now()));
    let mut kept = Vec::new();
    let mut length = 0;
    while length < LONGEST_ANSWER
        && let Some(piece) = response.next().await
    {
        let piece = piece.map_err(|_| Failure::Broken)?;
        length += piece.len();
        kept.extend_from_slice(&piece[..piece.len().min(KEPT_OF_ANSWER - kept.len())]);
    }
    // A database cannot hold NUL in text.
    let body = String::from_utf8_lossy(&kept).replace('\0', "\u{fffd}");
    Ok(Answer { status, body, retry_after })
}

fn failure(error: &SendRequestError) -> Failure {
    match error {
        SendRequestError::Connect(ConnectError::Disconnected) | SendRequestError::Send(_) => Failure::Broken,
        SendRequestError::Connect(ConnectError::Io(error)) if is_of_tls(error) => Failure::NoTls,
        SendRequestError::Connect(_) => Failure::NotConnected,
        SendRequestError::Timeout => Failure::TimedOut,
        _ => Failure::Broken,
    }
}

fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}
