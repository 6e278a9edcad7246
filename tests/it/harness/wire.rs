//! HTTP/1.1 by hand: what is sent may be anything, what comes back is read strictly.

use std::{
    io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
};

use super::{
    PATIENCE, Reply,
    contract::{self, Said, Saying},
};

/// A connection on which anything can be said.
#[derive(Debug)]
pub(crate) struct Connection {
    reader: BufReader<Metered>,
    /// What the answers will be to.
    saying: Saying,
}

/// A socket that breaks after so many bytes have come.
#[derive(Debug)]
struct Metered {
    socket: TcpStream,
    left: Option<usize>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(left) = &mut self.left else { return self.socket.read(buffer) };
        if *left == 0 {
            // Both ways, as when the network goes.
            self.socket.shutdown(Shutdown::Both).ok();
            return Err(Error::new(ErrorKind::ConnectionAborted, "the test cut the connection"));
        }
        let most = buffer.len().min(*left);
        let read = self.socket.read(&mut buffer[..most])?;
        *left -= read;
        Ok(read)
    }
}

/// The start of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    /// What it is the answer to; `None` if that was no HTTP.
    pub(super) to: Option<Said>,
}

impl Head {
    /// Holds the answer to the published document. `body` is `None` where none is read, or not as a whole.
    #[track_caller]
    pub(super) fn hold(&self, body: Option<&[u8]>) {
        if let Some(said) = &self.to {
            contract::hold(said, self.status, &self.headers, body);
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        Ok(Self { reader: BufReader::new(Metered { socket, left: None }), saying: Saying::default() })
    }

    /// Breaks after so many more bytes of the answer.
    pub(crate) fn cut_after(&mut self, bytes: usize) {
        self.reader.get_mut().left = Some(bytes);
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.saying.add(bytes);
        self.reader.get_mut().socket.write_all(bytes)
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) {
        self.reader.get_ref().socket.shutdown(Shutdown::Write).unwrap();
    }

    /// The next answer on this connection.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        self.reply_to("GET").unwrap()
    }

    /// An answer to HEAD has no body.
    pub(super) fn reply_to(&mut self, method: &str) -> io::Result<Reply> {
        let head = self.head()?;
        let mut body = Vec::new();
        if method != "HEAD" {
            Body::of(&head, self)?.read_to_end(&mut body)?;
        }
        head.hold((method != "HEAD").then_some(&body));
        Ok(Reply::new(head.status, head.headers, body))
    }

    /// The status of an answer after which the connection speaks another protocol.
    pub(crate) fn upgraded(&mut self) -> io::Result<u16> {
        let head = self.head()?;
        head.hold(None);
        self.saying.upgrade();
        Ok(head.status)
    }

    /// So many bytes, as they come.
    pub(crate) fn take(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        let mut taken = vec![0; bytes];
        self.reader.read_exact(&mut taken)?;
        Ok(taken)
    }

    /// Everything until the server closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => rest,
            // The server need not read what it refuses, and then the kernel says it less politely.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => rest,
            Err(error) => panic!("the server left the connection open: {error}"),
        }
    }

    pub(super) fn head(&mut self) -> io::Result<Head> {
        let line = self.line()?;
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| malformed(&line))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                // An interim answer is followed by the one that is meant.
                let to = if status == 100 { None } else { self.saying.next() };
                return Ok(Head { status, headers, to });
            }
            let (name, value) = line.split_once(": ").ok_or_else(|| malformed(&line))?;
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(malformed(&line)),
        }
    }
}

fn malformed(line: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("not HTTP: {line:?}"))
}

/// The body of an answer, without its framing.
pub(super) struct Body<C> {
    connection: C,
    framing: Framing,
}

enum Framing {
    Length(usize),
    /// What is left of the chunk.
    Chunked(usize),
    UntilClosed,
    Ended,
}

impl<C: AsMut<Connection>> Body<C> {
    pub(super) fn of(head: &Head, connection: C) -> io::Result<Self> {
        let framing = match (head.header("transfer-encoding"), head.header("content-length")) {
            _ if matches!(head.status, 100..=199 | 204 | 304) => Framing::Ended,
            (Some("chunked"), None) => Framing::Chunked(0),
            (None, Some(length)) => Framing::Length(length.parse().map_err(|_| malformed(length))?),
            (None, None) => Framing::UntilClosed,
            _ => return Err(malformed("two framings")),
        };
        Ok(Self { connection, framing })
    }
}

impl AsMut<Connection> for Connection {
    fn as_mut(&mut self) -> &mut Connection {
        self
    }
}

impl<C: AsMut<Connection>> Read for Body<C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let connection = self.connection.as_mut();
        if let Framing::Chunked(0) = self.framing {
            let line = connection.line()?;
            let length = usize::from_str_radix(&line, 16).map_err(|_| malformed(&line))?;
            self.framing = Framing::Chunked(length);
            if length == 0 {
                connection.line()?;
                self.framing = Framing::Ended;
            }
        }
        let most = match self.framing {
            Framing::Length(left) | Framing::Chunked(left) => left.min(buffer.len()),
            Framing::UntilClosed => buffer.len(),
            Framing::Ended => 0,
        };
        if most == 0 {
            return Ok(0);
        }
        let read = connection.reader.read(&mut buffer[..most])?;
        match &mut self.framing {
            Framing::Length(_) | Framing::Chunked(_) if read == 0 => {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the body broke off"));
            }
            Framing::Length(left) => *left -= read,
            Framing::Chunked(left) => {
                *left -= read;
                if *left == 0 {
                    connection.line()?;
                }
            }
            Framing::UntilClosed | Framing::Ended => {}
        }
        Ok(read)
    }
}
