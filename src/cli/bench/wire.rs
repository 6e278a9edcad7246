//! HTTP/1.1 as a load generator needs it: one connection, one request at a time, the body as it comes.
//!
//! The generator shares the machine with the server that it measures, so a piece of an answer costs one read and one
//! copy here: no channel, no task of its own, no allocation.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use memchr::memmem;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A machine that takes longer to answer a knock is not there.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);

/// Room for what one read brings: some tokens, or all of a short answer.
const READ: usize = 8 << 10;

/// A head of more is not one of ours.
const LONGEST_HEAD: usize = 32 << 10;
const MOST_HEADERS: usize = 64;

/// The longest line before a chunk: a size in hexadecimal.
const LONGEST_SIZE: usize = 64;

/// What came is not an answer, or it came to no end.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The connection broke, or was never made.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Bytes that are not HTTP/1.1.
    #[error("what came is not HTTP/1.1")]
    Foreign,
}

/// The part of an answer's head that matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) status: u16,
}

/// How much of the body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nothing,
    Bytes(usize),
    /// The line with the next chunk's size.
    Size,
    Chunk(usize),
    /// The line end after a chunk.
    AfterChunk,
    Trailers,
    UntilClosed,
}

/// Where a server listens, and whether it speaks TLS there.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) socket: SocketAddr,
    pub(super) tls: Option<Tls>,
}

/// Whom to trust, and who the server must prove to be.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

#[derive(Debug)]
enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    async fn open(address: &Address) -> io::Result<Self> {
        let socket = TcpStream::connect(address.socket).await?;
        socket.set_nodelay(true)?;
        match &address.tls {
            None => Ok(Self::Plain(socket)),
            Some(Tls { config, name }) => {
                let connector = TlsConnector::from(Arc::clone(config));
                Ok(Self::Tls(Box::new(connector.connect(name.clone(), socket).await?)))
            }
        }
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes).await,
            Self::Tls(socket) => {
                socket.write_all(bytes).await?;
                // What TLS holds back is sent with this.
                socket.flush().await
            }
        }
    }

    async fn read_buf(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read_buf(into).await,
            Self::Tls(socket) => socket.read_buf(into).await,
        }
    }
}

/// A connection on which one request is under way at most.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    input: Vec<u8>,
    /// How much of `input` was taken.
    at: usize,
    rest: Rest,
    stays: bool,
}

impl Connection {
    pub(super) async fn open(address: &Address) -> Result<Self, WireError> {
        let socket = timeout(CONNECTED_WITHIN, Socket::open(address))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(Self { socket, input: Vec::with_capacity(READ), at: 0, rest: Rest::Nothing, stays: true })
    }

    /// The last answer was read to its end, and the server keeps the connection.
    pub(super) fn is_free(&self) -> bool {
        self.stays && self.rest == Rest::Nothing
    }

    /// Sends a request and reads the head of its answer.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Result<Head, WireError> {
        self.socket.write_all(request).await?;
        self.head().await
    }

    /// Sends bytes on a connection that has become a WebSocket.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        Ok(self.socket.write_all(bytes).await?)
    }

    async fn head(&mut self) -> Result<Head, WireError> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
            let mut head = httparse::Response::new(&mut headers);
            let parsed = head.parse(&self.input[self.at..]).map_err(|_| WireError::Foreign)?;
            if let httparse::Status::Complete(length) = parsed {
                let status = head.code.unwrap_or_default();
                let (rest, stays) = framing(status, head.headers)?;
                self.at += length;
                (self.rest, self.stays) = (rest, stays);
                return Ok(Head { status });
            }
            if self.input.len() - self.at > LONGEST_HEAD {
                return Err(WireError::Foreign);
            }
            self.read().await?;
        }
    }

    /// Adds what has come of the body to `out`; false at its end.
    pub(super) async fn piece(&mut self, out: &mut Vec<u8>) -> Result<bool, WireError> {
        let before = out.len();
        loop {
            self.take(out)?;
            if out.len() > before {
                return Ok(true);
            }
            if self.rest == Rest::Nothing {
                return Ok(false);
            }
            match self.read().await {
                Err(WireError::Io(error))
                    if self.rest == Rest::UntilClosed && error.kind() == io::ErrorKind::UnexpectedEof =>
                {
                    self.rest = Rest::Nothing;
                }
                read => read?,
            }
        }
    }

    /// The whole body.
    pub(super) async fn body(&mut self, out: &mut Vec<u8>) -> Result<(), WireError> {
        while self.piece(out).await? {}
        Ok(())
    }

    async fn read(&mut self) -> Result<(), WireError> {
        if self.at == self.input.len() {
            self.input.clear();
        } else {
            self.input.drain(..self.at);
        }
        self.at = 0;
        self.input.reserve(READ);
        match self.socket.read_buf(&mut self.input).await? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }

    /// Takes as much of the body as is there.
    fn take(&mut self, out: &mut Vec<u8>) -> Result<(), WireError> {
        loop {
            let here = &self.input[self.at..];
            match self.rest {
                Rest::Nothing => return Ok(()),
                Rest::UntilClosed => {
                    out.extend_from_slice(here);
                    self.at = self.input.len();
                    return Ok(());
                }
                Rest::Bytes(left) | Rest::Chunk(left) => {
                    let taken = left.min(here.len());
                    out.extend_from_slice(&here[..taken]);
                    self.at += taken;
                    let is_chunk = matches!(self.rest, Rest::Chunk(_));
                    self.rest = match (left - taken, is_chunk) {
                        (0, true) => Rest::AfterChunk,
                        (0, false) => Rest::Nothing,
                        (left, true) => Rest::Chunk(left),
                        (left, false) => Rest::Bytes(left),
                    };
                    if here.len() == taken && left > taken {
                        return Ok(());
                    }
                }
                Rest::Size | Rest::AfterChunk | Rest::Trailers => {
                    let Some(length) = memmem::find(here, b"\r\n") else {
                        return if here.len() > LONGEST_SIZE { Err(WireError::Foreign) } else { Ok(()) };
                    };
                    self.rest = after_line(self.rest, &here[..length])?;
                    self.at += length + 2;
                }
            }
        }
    }
}

/// What follows a line of the chunked encoding.
fn after_line(rest: Rest, line: &[u8]) -> Result<Rest, WireError> {
    match rest {
        Rest::Size => {
            let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let digits = std::str::from_utf8(digits).map_err(|_| WireError::Foreign)?;
            match usize::from_str_radix(digits.trim(), 16).map_err(|_| WireError::Foreign)? {
                0 => Ok(Rest::Trailers),
                size => Ok(Rest::Chunk(size)),
            }
        }
        Rest::AfterChunk if line.is_empty() => Ok(Rest::Size),
        Rest::Trailers if line.is_empty() => Ok(Rest::Nothing),
        Rest::Trailers => Ok(Rest::Trailers),
        _ => Err(WireError::Foreign),
    }
}

/// How the body is framed, and whether the connection stays.
fn framing(status: u16, headers: &[httparse::Header<'_>]) -> Result<(Rest, bool), WireError> {
    let value = |name: &str| {
        let found = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    let stays = !value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let rest = match (value("transfer-encoding"), value("content-length")) {
        // From here on it is another protocol.
        _ if status == 101 => Rest::UntilClosed,
        _ if status == 204 || status == 304 => Rest::Nothing,
        (Some(encoding), _) if encoding.eq_ignore_ascii_case("chunked") => Rest::Size,
        (Some(_), _) => return Err(WireError::Foreign),
        (None, Some(length)) => match length.parse().map_err(|_| WireError::Foreign)? {
            0 => Rest::Nothing,
            length => Rest::Bytes(length),
        },
        (None, None) => Rest::UntilClosed,
    };
    Ok((rest, stays && rest != Rest::UntilClosed))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    fn plain(socket: SocketAddr) -> Address {
        Address { socket, tls: None }
    }

    /// What is read of an answer that comes in two pieces.
    async fn read(answer: &[u8], cut: usize) -> (u16, String, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = answer.to_vec();
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            // Closed with something unread, it would be reset.
            let mut request = [0; REQUEST.len()];
            socket.read_exact(&mut request).await.unwrap();
            socket.write_all(&answer[..cut]).await.unwrap();
            tokio::task::yield_now().await;
            socket.write_all(&answer[cut..]).await.unwrap();
        });
        let mut connection = Connection::open(&plain(address)).await.unwrap();
        let status = connection.ask(REQUEST).await.unwrap().status;
        let mut body = Vec::new();
        connection.body(&mut body).await.unwrap();
        server.await.unwrap();
        (status, String::from_utf8(body).unwrap(), connection.is_free())
    }

    #[tokio::test]
    async fn an_answer_cut_anywhere_reads_the_same() {
        for (answer, free) in [
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\nC;x=y\r\n, two, three\r\n0\r\n\r\n",
                true,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\none, two, three", true),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 15\r\n\r\none, two, three", false),
            ("HTTP/1.1 200 OK\r\n\r\none, two, three", false),
        ] {
            for cut in 0..answer.len() {
                let expected = (200, "one, two, three".to_owned(), free);
                assert_eq!(read(answer.as_bytes(), cut).await, expected, "{answer:?} cut at {cut}");
            }
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_off_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; REQUEST.len()];
            socket.read_exact(&mut request).await.unwrap();
            socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\non").await.unwrap();
        });
        let mut connection = Connection::open(&plain(address)).await.unwrap();
        connection.ask(REQUEST).await.unwrap();
        let error = connection.body(&mut Vec::new()).await.unwrap_err();
        assert!(matches!(error, WireError::Io(_)), "{error}");
        assert!(!connection.is_free());
    }
}
