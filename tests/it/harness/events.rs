//! Server-Sent Events as an `EventSource` reads them: an event counts once its empty line has come.

use std::io::{self, BufRead, BufReader};

use serde_json::Value;

use super::{
    contract,
    wire::{Body, Connection, Head},
};

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// Its `event:` line; `message` without one.
    pub(crate) kind: String,
    /// Its own `id:` line.
    pub(crate) id: Option<String>,
    /// Its `data:` lines as JSON; a string if they are none.
    pub(crate) data: Value,
    /// Its `data:` lines, as they came.
    pub(crate) text: String,
    /// Its `retry:` line.
    pub(crate) retry: Option<u64>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The server ended the answer.
    Clean,
    /// The connection broke.
    Broken,
}

/// An answer read as events: an iterator that ends when the stream does.
pub(crate) struct EventStream {
    head: Head,
    lines: BufReader<Body<Connection>>,
    ending: Option<Ending>,
    last_id: Option<String>,
    comments: usize,
}

impl EventStream {
    pub(super) fn read(mut connection: Connection) -> io::Result<Self> {
        let head = connection.head()?;
        head.hold(None);
        let lines = BufReader::new(Body::of(&head, connection)?);
        Ok(Self { head, lines, ending: None, last_id: None, comments: 0 })
    }

    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.head.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The last id seen: what `Last-Event-ID` says when resuming.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Comments so far.
    pub(crate) fn comments(&self) -> usize {
        self.comments
    }

    /// How it ended, once it has.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// The next event of that kind; those before it are passed over.
    #[track_caller]
    pub(crate) fn until(&mut self, kind: &str) -> Event {
        let mut passed = Vec::new();
        for event in self.by_ref() {
            if event.kind == kind {
                return event;
            }
            passed.push(event.kind);
        }
        panic!("the stream ended ({:?}) before a {kind}: {passed:?}", self.ending)
    }

    /// The next event.
    #[track_caller]
    pub(crate) fn expect(&mut self) -> Event {
        self.next().unwrap_or_else(|| panic!("the stream ended: {:?}", self.ending))
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => self.ending = Some(Ending::Clean),
            Ok(_) => return Some(line.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("nothing came for a long time"),
            Err(_) => self.ending = Some(Ending::Broken),
        }
        None
    }
}

impl Iterator for EventStream {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.ending.is_some() {
            return None;
        }
        let (mut kind, mut id, mut retry, mut data) = (None, None, None, Vec::new());
        loop {
            let line = self.line()?;
            if line.is_empty() {
                if id.is_some() {
                    self.last_id.clone_from(&id);
                }
                if data.is_empty() {
                    (kind, id, retry) = (None, None, None);
                    continue;
                }
                break;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match field {
                "" => self.comments += 1,
                "event" => kind = Some(value),
                "id" => id = Some(value),
                "data" => data.push(value),
                "retry" => retry = Some(value.parse().expect("a number of milliseconds")),
                _ => panic!("not a field of an event: {line:?}"),
            }
        }
        let text = data.join("\n");
        let data = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.clone()));
        let kind = kind.unwrap_or_else(|| "message".to_owned());
        if let Some(said) = &self.head.to {
            contract::hold_event(said, &kind, &data);
        }
        Some(Event { kind, id, data, text, retry })
    }
}

/// The kind and the data of each event of a whole stream.
pub(super) fn read_all(body: &[u8]) -> Vec<(String, Value)> {
    let text = String::from_utf8_lossy(body);
    let each = text.split("\n\n").filter_map(|event| {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let data = field("data")?;
        let data = serde_json::from_str(data).unwrap_or_else(|_| data.into());
        Some((field("event").unwrap_or("message").to_owned(), data))
    });
    each.collect()
}
