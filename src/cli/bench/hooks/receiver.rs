//! Receivers of webhooks, on a thread of this process: each request is checked as the official libraries would.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Room for what one read brings: a head and a short event.
const READ: usize = 8 << 10;

/// A head with more is not one of ours.
const MOST_HEADERS: usize = 32;

/// Standard Webhooks' own tolerance would hide a clock that is wrong by minutes; here both ends have one clock.
const MOST_SECONDS_OLD: i64 = 60;

const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const REFUSED: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";

/// What a receiver does with what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Takes,
    Refuses,
    /// Never answers.
    Hangs,
}

/// An event that came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Receipt {
    pub(super) first: Instant,
    pub(super) times: u32,
}

/// What a receiver knows.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// The signing key of its webhook.
    key: Vec<u8>,
    /// What came, by conversation: each has one event here.
    pub(super) receipts: HashMap<String, Receipt>,
    /// What came without a good signature, or is no event.
    pub(super) forged: u64,
    /// A body as it came.
    pub(super) sample: Vec<u8>,
}

/// A receiver. Ends with the process.
#[derive(Debug, Clone)]
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    manner: Manner,
    book: Mutex<Book>,
    came: AtomicU64,
}

impl Receiver {
    /// Starts receivers of these manners.
    pub(super) fn start(manners: &[Manner]) -> io::Result<Vec<Self>> {
        let (mut receivers, mut listeners) = (Vec::new(), Vec::new());
        for manner in manners {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            listener.set_nonblocking(true)?;
            let shared = Shared { manner: *manner, book: Mutex::default(), came: AtomicU64::new(0) };
            receivers.push(Self { address: listener.local_addr()?, shared: Arc::new(shared) });
            listeners.push(listener);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared: Vec<_> = receivers.iter().map(|receiver| Arc::clone(&receiver.shared)).collect();
        thread::Builder::new().name("receivers".to_owned()).spawn(move || {
            runtime.block_on(async {
                for (listener, shared) in listeners.into_iter().zip(shared) {
                    // It was bound: registering it fails only where nothing works.
                    if let Ok(listener) = TcpListener::from_std(listener) {
                        tokio::spawn(accept(listener, shared));
                    }
                }
                std::future::pending::<()>().await;
            });
        })?;
        Ok(receivers)
    }

    /// From now on it checks signatures by that secret.
    pub(super) fn knows(&self, secret: &str) {
        let key = BASE64_STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap_or_default();
        self.book().key = key;
    }

    pub(super) fn manner(&self) -> Manner {
        self.shared.manner
    }

    /// Requests so far.
    pub(super) fn times(&self) -> u64 {
        self.shared.came.load(Ordering::Relaxed)
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.shared.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // A connection that breaks is the other side's loss: it sends again.
            drop(serve(socket, &shared).await);
        });
    }
}

async fn serve(mut socket: TcpStream, shared: &Shared) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut input = Vec::with_capacity(READ);
    loop {
        while let Some(length) = request(&input, shared)? {
            input.drain(..length);
            match shared.manner {
                Manner::Takes => socket.write_all(TAKEN).await?,
                Manner::Refuses => socket.write_all(REFUSED).await?,
                Manner::Hangs => {}
            }
        }
        if socket.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// Takes the request at the beginning of the input, if all of it is there. Says its length.
fn request(input: &[u8], shared: &Shared) -> io::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let parsed = head.parse(input).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let httparse::Status::Complete(start) = parsed else { return Ok(None) };
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok()).unwrap_or_default()
    };
    let length: usize = header("content-length").parse().unwrap_or(0);
    let Some(body) = input.get(start..start + length) else { return Ok(None) };
    let mut book = shared.book.lock().unwrap_or_else(PoisonError::into_inner);
    let signed = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    match conversation(&book.key, signed, body) {
        Some(conversation) => {
            let receipt = Receipt { first: Instant::now(), times: 0 };
            book.receipts.entry(conversation).or_insert(receipt).times += 1;
        }
        None => book.forged += 1,
    }
    if book.sample.is_empty() {
        book.sample = body.to_vec();
    }
    shared.came.fetch_add(1, Ordering::Relaxed);
    Ok(Some(start + length))
}

/// The part of an event that is looked at.
#[derive(Deserialize)]
struct Event<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    conversation_id: &'a str,
}

/// The conversation that the event is about, if the request is good.
fn conversation(key: &[u8], (id, timestamp, signature): (&str, &str, &str), body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].iter().for_each(|part| mac.update(part));
    let given = BASE64_STANDARD.decode(signature.strip_prefix("v1,")?).ok()?;
    mac.verify_slice(&given).ok()?;
    let seconds: i64 = timestamp.parse().ok()?;
    let is_now = (jiff::Timestamp::now().as_second() - seconds).abs() <= MOST_SECONDS_OLD;
    let event: Event<'_> = serde_json::from_slice(body).ok()?;
    let is_ours = event.id == id && event.kind == "conversation.started" && is_now;
    is_ours.then(|| event.conversation_id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signature of that under the key.
    fn signed(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].iter().for_each(|part| mac.update(part));
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }

    #[test]
    fn only_an_event_that_is_signed_under_its_own_id_now_and_by_the_right_key_is_one() {
        let (key, now) = ([7; 24], jiff::Timestamp::now().as_second());
        let body = br#"{"id":"evt_1","type":"conversation.started","conversation_id":"conv_1"}"#;
        let judge = |id: &str, at: i64, key: &[u8], sent: &[u8]| {
            let at = at.to_string();
            conversation(&[7; 24], (id, &at, &signed(key, id, &at, body)), sent)
        };
        assert_eq!(judge("evt_1", now, &key, body).as_deref(), Some("conv_1"));
        assert_eq!(judge("evt_2", now, &key, body), None, "signed under another id than the event's");
        assert_eq!(judge("evt_1", now - 3_600, &key, body), None, "signed an hour ago");
        assert_eq!(judge("evt_1", now, &[8; 24], body), None, "signed by another key");
        let other = br#"{"id":"evt_1","type":"conversation.started","conversation_id":"conv_2"}"#;
        assert_eq!(judge("evt_1", now, &key, other), None, "another body");
    }

    #[test]
    fn requests_are_taken_one_by_one_once_they_are_whole() {
        let shared = Shared { manner: Manner::Takes, book: Mutex::default(), came: AtomicU64::new(0) };
        let one = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        for part in 0..one.len() {
            assert_eq!(request(&one[..part], &shared).unwrap(), None);
        }
        assert_eq!(request(&[&one[..], one].concat(), &shared).unwrap(), Some(one.len()));
        let book = shared.book.lock().unwrap();
        assert_eq!((shared.came.load(Ordering::Relaxed), book.forged), (1, 1), "that is no event");
    }
}
