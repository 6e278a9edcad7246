//! A blocking HTTP client: one connection per request.

use std::{io, net::SocketAddr, ops::Index, time::Duration};

use serde_json::Value;

use super::{EventStream, server::Address, wire::Connection};

/// Speaks to one server, wherever it listens now.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: Address,
    key: Option<String>,
}

impl Client {
    pub(super) fn new(address: Address, key: Option<String>) -> Self {
        Self { address, key }
    }

    /// Speaks to whatever listens there.
    pub(crate) fn to(address: SocketAddr, key: &str) -> Self {
        Self::new(Address::fixed(address), Some(key.to_owned()))
    }

    /// Its key, for other programs.
    pub(crate) fn key(&self) -> &str {
        self.key.as_deref().unwrap_or_default()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        let request = Request {
            address: self.address.clone(),
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        match &self.key {
            Some(key) => request.header("Authorization", &format!("Bearer {key}")),
            None => request,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.request("GET", path).send()
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Reply {
        self.request("POST", path).json(&body).send()
    }

    pub(crate) fn put(&self, path: &str, body: Value) -> Reply {
        self.request("PUT", path).json(&body).send()
    }

    pub(crate) fn patch(&self, path: &str, body: Value) -> Reply {
        self.request("PATCH", path).json(&body).send()
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        self.request("DELETE", path).send()
    }

    /// Opens a stream by GET.
    pub(crate) fn stream(&self, path: &str) -> EventStream {
        self.request("GET", path).stream()
    }
}

/// A request being put together.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    address: Address,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// Adds a header, also one that is there already.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// As bytes on the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.path, self.address.get());
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || matches!(&*self.method, "POST" | "PUT" | "PATCH") {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }

    /// Sends it and reads the whole answer.
    #[track_caller]
    pub(crate) fn send(&self) -> Reply {
        match self.try_send() {
            Ok(reply) => reply,
            Err(error) => panic!("{} {}: {error}", self.method, self.path),
        }
    }

    /// The same where the server may be gone.
    pub(crate) fn try_send(&self) -> io::Result<Reply> {
        let mut connection = Connection::open(self.address.get())?;
        connection.send(&self.bytes())?;
        connection.reply_to(&self.method)
    }

    /// Sends it and reads the answer as events, whatever its status was: see [`EventStream::status`].
    #[track_caller]
    pub(crate) fn stream(&self) -> EventStream {
        let opened = self.try_stream().unwrap();
        assert_eq!(opened.status(), 200, "{} {}", self.method, self.path);
        opened
    }

    /// The same where the server may be gone, or may refuse.
    pub(crate) fn try_stream(&self) -> io::Result<EventStream> {
        let mut connection = Connection::open(self.address.get())?;
        connection.send(&self.bytes())?;
        EventStream::read(connection)
    }

    /// The same on a connection that breaks after so many bytes of the answer.
    pub(crate) fn stream_cut_after(&self, bytes: usize) -> io::Result<EventStream> {
        let mut connection = Connection::open(self.address.get())?;
        connection.send(&self.bytes())?;
        connection.cut_after(bytes);
        EventStream::read(connection)
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    code: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    json: Value,
}

impl Reply {
    pub(super) fn new(code: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Self { code, headers, body, json }
    }

    /// The status.
    pub(crate) fn code(&self) -> u16 {
        self.code
    }

    /// Insists on a status.
    #[track_caller]
    pub(crate) fn status(self, expected: u16) -> Self {
        assert_eq!(self.code, expected, "{}", self.text());
        self
    }

    /// Insists on a refusal in the one shape of errors, with that status and code.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.code, self["error"]["code"].as_str()), (status, Some(code)), "{}", self.text());
        let error = self["error"].as_object().expect("an error");
        for name in ["type", "message", "request_id"] {
            assert!(error[name].is_string(), "{name} in {}", self.text());
        }
        assert!(error.contains_key("param"), "{}", self.text());
        assert_eq!(self.header("x-request-id"), error["request_id"].as_str());
        assert_eq!(self.header("content-type"), Some("application/json"));
        self
    }

    /// Insists on the field that a refusal names.
    #[track_caller]
    pub(crate) fn naming(self, param: &str) -> Self {
        assert_eq!(self["error"]["param"], param, "{}", self.text());
        self
    }

    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// `Retry-After`, in seconds.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after")?.parse().ok().map(Duration::from_secs)
    }

    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> &Value {
        &self.json
    }

    /// The body.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A field of the body, null if it is not there.
impl Index<&str> for Reply {
    type Output = Value;

    fn index(&self, field: &str) -> &Value {
        &self.json[field]
    }
}
