//! Connections on which HTTP's own refusals have our shape.
//!
//! What cannot be parsed never reaches the application: actix answers it by itself, with a status line and an empty
//! body. Such an answer is given the body and the request id that every other one has, on its way out.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::http::StatusCode;
use openclaw_actors::ids::RequestId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Stream;
use crate::http::{
    error::ApiError,
    middleware::{Place, REQUEST_ID},
};

/// No bare answer is longer.
const LONGEST_BARE: usize = 256;

/// A connection that adds what a bare answer lacks.
#[derive(Debug)]
pub(super) struct PlainSpoken {
    socket: Stream,
    /// What is written instead of a bare answer, and how much of it is.
    instead: Vec<u8>,
    written: usize,
    place: Place,
}

impl PlainSpoken {
    pub(super) fn new(socket: Stream, place: Place) -> Self {
        Self { socket, instead: Vec::new(), written: 0, place }
    }

    /// It came when all places were taken.
    pub(super) fn is_surplus(&self) -> bool {
        self.place.is_surplus
    }
}

impl AsyncRead for PlainSpoken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for PlainSpoken {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.instead.is_empty() {
            match shaped(bytes) {
                Some(instead) => this.instead = instead,
                None => return Pin::new(&mut this.socket).poll_write(cx, bytes),
            }
        }
        while this.written < this.instead.len() {
            let rest = &this.instead[this.written..];
            match ready!(Pin::new(&mut this.socket).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => this.written += written,
            }
        }
        this.instead = Vec::new();
        this.written = 0;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// The whole of a bare answer, in our shape. Every answer of the application has a request id, so none is taken for
/// a bare one.
fn shaped(bytes: &[u8]) -> Option<Vec<u8>> {
    const EMPTY: &str = "content-length: 0\r\n";
    if bytes.len() > LONGEST_BARE || !bytes.starts_with(b"HTTP/1.1 4") {
        return None;
    }
    let head = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let head = format!("{head}\r\n");
    if !head.contains(EMPTY) || head.contains("\r\n\r\n") || head.contains(REQUEST_ID.as_str()) {
        return None;
    }
    let status: StatusCode = head.get(9..12)?.parse().ok()?;
    let name = RequestId::generate().to_string();
    let body = ApiError::of_protocol(status).body(Some(&name));
    let own = format!(
        "content-length: {}\r\ncontent-type: application/json\r\n{REQUEST_ID}: {name}\r\n",
        body.len()
    );
    Some([head.replacen(EMPTY, &own, 1).as_bytes(), b"\r\n", &body].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\ndate: Tue, 24 Nov 2026 07:00:00 GMT\r\n\r\n";

    #[test]
    fn a_bare_answer_gets_a_body_and_a_name() {
        let answer = String::from_utf8(shaped(BARE.as_bytes()).expect("it is bare")).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        assert!(
            head.contains("connection: close")
                && head.contains("date: ")
                && head.contains("x-request-id: req_")
        );
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["error"]["type"], "invalid_request");
        assert!(head.contains(body["error"]["request_id"].as_str().expect("an id")));
    }

    #[test]
    fn what_the_application_answers_is_let_be() {
        for whole in [
            BARE.replace("date", "x-request-id: mine\r\ndate"),
            BARE.replace("length: 0", "length: 10"),
            BARE.replace("400 Bad Request", "200 OK"),
            format!("{BARE}{BARE}"),
            format!("10\r\n{BARE}"),
            BARE.trim_end().to_owned(),
        ] {
            assert_eq!(shaped(whole.as_bytes()), None, "{whole}");
        }
    }
}
