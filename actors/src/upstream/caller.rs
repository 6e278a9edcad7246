//! Calls to an upstream: one HTTP client per thread, made once.

use std::{
    cell::RefCell,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use awc::{
    Client, ClientRequest, ClientResponse,
    error::{ConnectError, SendRequestError},
    http::{StatusCode, header},
};
use bytes::Bytes;

use super::{ApiKey, BaseUrl, Failure, Kind, retry};
use crate::{
    tls,
    wire::{self, Kept, Wires},
};

/// An idle connection is kept for less than the minute after which common servers and balancers drop it, and no
/// connection for so long that a change of the name's addresses goes unnoticed.
const KEPT: Kept = Kept { idle: Duration::from_secs(30), at_most: Duration::from_secs(600) };

/// Calls one upstream, from any thread.
#[derive(Debug)]
pub(crate) struct Caller {
    base_url: BaseUrl,
    api_key: Option<ApiKey>,
    /// To a connection, with its name looked up and TLS agreed.
    connect_within: Duration,
    tls: Option<Arc<rustls::ClientConfig>>,
    /// Tells the clients of a thread apart.
    number: usize,
}

thread_local! {
    /// awc's client is bound to its thread; so is its pool of connections.
    static CLIENTS: RefCell<Vec<(usize, Client)>> = const { RefCell::new(Vec::new()) };
}

impl Caller {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The address asks for TLS, and the machine has no certificates to trust.
    pub(crate) fn new(
        base_url: BaseUrl,
        api_key: Option<ApiKey>,
        connect_within: Duration,
    ) -> io::Result<Self> {
        static NUMBERS: AtomicUsize = AtomicUsize::new(0);
        let tls = if base_url.is_https() { Some(tls::trusting_the_machine()?) } else { None };
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Ok(Self { base_url, api_key, connect_within, tls, number })
    }

    /// Asks for what stands at `path` behind the address. What is not 2xx is an error. Whoever calls sees to the
    /// deadline.
    pub(crate) async fn get(&self, path: &str) -> Result<ClientResponse, Failure> {
        self.send(self.client().get(self.base_url.on_the_wire(path)), Bytes::new()).await
    }

    /// The same with a JSON body.
    pub(crate) async fn post(&self, path: &str, body: Bytes) -> Result<ClientResponse, Failure> {
        let request = self.client().post(self.base_url.on_the_wire(path));
        self.send(request.insert_header((header::CONTENT_TYPE, "application/json")), body).await
    }

    async fn send(&self, request: ClientRequest, body: Bytes) -> Result<ClientResponse, Failure> {
        let mut request = request
            .no_decompress()
            .insert_header((header::HOST, self.base_url.authority()))
            .insert_header((header::ACCEPT, "text/event-stream, application/json"))
            .insert_header((header::ACCEPT_ENCODING, "identity"))
            .insert_header((header::USER_AGENT, concat!("openclaw-server/", env!("CARGO_PKG_VERSION"))));
        if let Some(key) = &self.api_key {
            request = request.insert_header((header::AUTHORIZATION, key.bearer()));
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
                let client = wire::client(Wires::new(self.tls.as_ref()), self.connect_within, KEPT);
                clients.push((self.number, client.clone()));
                client
            }
        })
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
