//! A connection whose answers awc reads as they were meant.
//!
//! awc takes an HTTP/1.1 answer that says neither its length nor that it comes in chunks for one without a body. RFC
//! 9112 §6.3 says that such a body ends with the connection, and simple model servers stream so. It also takes an
//! interim answer (1xx) for the last one. So the head of each answer is read here first: interim ones are left out,
//! and where nothing says how long the body is, the head becomes that of HTTP/1.0, which awc reads to its end.
//!
//! Heads can only be read above TLS, so TLS is agreed here too; awc itself sees a plain connection.

mod client;

use std::{
    cell::Cell,
    fmt, io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use actix_rt::net::{ActixStream, Ready, TcpStream};
use actix_service::Service;
use actix_tls::connect::{
    ConnectError, ConnectInfo, Connection, Connector, ConnectorService,
    rustls_0_23::{TlsConnector, TlsConnectorService, reexports::AsyncTlsStream},
};
use awc::http::Uri;
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) use self::client::{Kept, client};

/// A longer head is passed on as it is: awc refuses it.
const LONGEST_HEAD: usize = 128 * 1024;

/// Makes connections: name, TCP, and TLS if there is any.
#[derive(Clone)]
pub(crate) struct Wires {
    tcp: ConnectorService,
    tls: Option<TlsConnectorService>,
    watch: Option<Rc<Stopwatch>>,
}

/// How long the parts of the last connection took.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    pub(crate) tcp: Cell<Option<Duration>>,
    pub(crate) tls: Cell<Option<Duration>>,
}

impl Wires {
    pub(crate) fn new(tls: Option<&Arc<rustls::ClientConfig>>) -> Self {
        Self {
            tcp: Connector::default().service(),
            tls: tls.map(|tls| TlsConnector::service(Arc::clone(tls))),
            watch: None,
        }
    }

    /// The same, timed.
    pub(crate) fn timed(self, watch: &Rc<Stopwatch>) -> Self {
        Self { watch: Some(Rc::clone(watch)), ..self }
    }
}

impl Service<ConnectInfo<Uri>> for Wires {
    type Response = Connection<Uri, Wire>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        let (tcp, tls, watch) = (self.tcp.call(info), self.tls.clone(), self.watch.clone());
        Box::pin(async move {
            let began = Instant::now();
            let connection = tcp.await?;
            let connected = Instant::now();
            if let Some(watch) = &watch {
                watch.tcp.set(Some(connected - began));
            }
            let (socket, connection) = match tls {
                None => {
                    let (socket, connection) = connection.replace_io(());
                    (Socket::Plain(socket), connection)
                }
                Some(tls) => {
                    let (socket, connection) =
                        tls.call(connection).await.map_err(ConnectError::Io)?.replace_io(());
                    if let Some(watch) = &watch {
                        watch.tls.set(Some(connected.elapsed()));
                    }
                    (Socket::Tls(Box::new(socket)), connection)
                }
            };
            Ok(connection.replace_io(Wire::over(socket)).1)
        })
    }
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<AsyncTlsStream<TcpStream>>),
}

/// See the module.
pub(crate) struct Wire {
    socket: Socket,
    /// The head of an answer is being read; else what comes is passed on.
    in_head: bool,
    /// What was read and not passed on yet.
    held: Vec<u8>,
    /// How much of it was passed on.
    passed: usize,
}

impl Wire {
    fn over(socket: Socket) -> Self {
        Self { socket, in_head: true, held: Vec::new(), passed: 0 }
    }

    /// Reads a piece of the head. Says whether the connection has ended.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [0; 4096];
        let mut piece = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut piece))?;
        let known = self.held.len();
        self.held.extend_from_slice(piece.filled());
        let mut from = known.saturating_sub(3);
        // A head that breaks off is passed on as far as it came.
        self.in_head = !piece.filled().is_empty() && self.held.len() <= LONGEST_HEAD;
        while self.in_head
            && let Some(end) = end_of_head(&self.held, from)
        {
            if is_interim(&self.held) {
                self.held.drain(..end);
                from = 0;
            } else {
                tell_its_end(&mut self.held[..end]);
                self.in_head = false;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.in_head {
            ready!(self.poll_head(cx))?;
        }
        if self.passed == self.held.len() {
            return Pin::new(&mut self.socket).poll_read(cx, buffer);
        }
        let most = buffer.remaining().min(self.held.len() - self.passed);
        buffer.put_slice(&self.held[self.passed..self.passed + most]);
        self.passed += most;
        if self.passed == self.held.len() {
            self.held = Vec::new();
            self.passed = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // What is written is a request; what is read next is the head of its answer.
        self.in_head = true;
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl ActixStream for Wire {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(self.socket.tcp(), cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(self.socket.tcp(), cx)
    }
}

impl Socket {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(socket) => socket.get_ref().0,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(socket) => Pin::new(socket).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("in_head", &self.in_head).finish_non_exhaustive()
    }
}

/// Where the head ends: after its empty line.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find_map(|at| match bytes[at..] {
        [b'\n', b'\n', ..] => Some(at + 2),
        [b'\n', b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// 1xx, but not the change to another protocol, which is the last answer in HTTP.
fn is_interim(head: &[u8]) -> bool {
    let status = head.get(..12).filter(|line| line.starts_with(b"HTTP/1.")).map(|line| &line[9..]);
    status.is_some_and(|status| status[0] == b'1' && status != b"101")
}

/// Makes the head of a body that ends with its connection one of HTTP/1.0.
fn tell_its_end(head: &mut [u8]) {
    let has = |name: &[u8]| {
        let mut fields = head.split(|byte| *byte == b'\n').skip(1);
        fields.any(|line| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
    };
    let has_body = !matches!(head.get(9..12), Some(b"204" | b"304" | b"101"));
    if head.starts_with(b"HTTP/1.1 ") && has_body && !has(b"content-length") && !has(b"transfer-encoding") {
        head[7] = b'0';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_head_that_says_nothing_of_its_end_is_changed() {
        let told = |head: &str| {
            let mut head = head.as_bytes().to_vec();
            tell_its_end(&mut head);
            String::from_utf8(head).unwrap().lines().next().unwrap().to_owned()
        };
        assert_eq!(told("HTTP/1.1 200 OK\r\nX: y\r\n\r\n"), "HTTP/1.0 200 OK");
        assert_eq!(told("HTTP/1.1 200 OK\r\n\r\n"), "HTTP/1.0 200 OK");
        for kept in [
            "HTTP/1.1 200 OK\r\nContent-LENGTH: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: y\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\n",
            "nonsense\r\n\r\n",
            "\r\n",
        ] {
            assert_eq!(told(kept), kept.lines().next().unwrap());
        }
    }

    #[test]
    fn the_end_of_a_head_is_found_and_interim_ones_are_known() {
        assert_eq!(end_of_head(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", 0), Some(25));
        assert_eq!(end_of_head(b"HTTP/1.1 200 OK\n\nbody", 0), Some(17));
        assert_eq!(end_of_head(b"HTTP/1.1 200 OK\r\nA: b\r\n\r", 0), None);
        assert!(
            is_interim(b"HTTP/1.1 100 Continue\r\n\r\n") && is_interim(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        );
        assert!(!is_interim(b"HTTP/1.1 200 OK\r\n\r\n") && !is_interim(b"HTTP/1.1 101 Switching\r\n\r\n"));
        assert!(!is_interim(b"\r\n"));
    }
}
