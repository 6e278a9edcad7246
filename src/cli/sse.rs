//! Server-Sent Events, read from bytes that may be cut anywhere: within a character, between CR and LF, within a field.

/// An event longer than this is not one of ours: the longest holds an answer of 64 KiB with its citations.
const LONGEST_EVENT: usize = 4 << 20;

/// One event, once its empty line has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Its `event:` line; `message` without one.
    pub(super) kind: String,
    /// Its own `id:` line: what `Last-Event-ID` says when resuming.
    pub(super) id: Option<String>,
    /// Its `data:` lines.
    pub(super) data: String,
}

/// The stream is not what it says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent an event of more than {LONGEST_EVENT} bytes")]
pub(super) struct Oversized;

/// Reads a stream piece by piece.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The line that has not ended yet. Bytes, so that a character may come in two pieces.
    line: Vec<u8>,
    /// The last piece ended in a CR: an LF at the start of the next belongs to it.
    after_cr: bool,
    past_first_line: bool,
    kind: Option<String>,
    id: Option<String>,
    data: Vec<String>,
    retry_ms: Option<u64>,
    held: usize,
}

impl Parser {
    /// How long the server asks to wait before coming back, in milliseconds.
    pub(super) fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// Takes the next piece; `found` gets the events that are whole now.
    ///
    /// # Errors
    /// An event is too long to be held. The stream cannot be read on.
    pub(super) fn push(&mut self, piece: &[u8], mut found: impl FnMut(Event)) -> Result<(), Oversized> {
        for &byte in piece {
            let ends_crlf = std::mem::take(&mut self.after_cr) && byte == b'\n';
            match byte {
                b'\n' if ends_crlf => {}
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    if let Some(event) = self.end_line() {
                        found(event);
                    }
                }
                byte => {
                    self.held += 1;
                    if self.held > LONGEST_EVENT {
                        return Err(Oversized);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> Option<Event> {
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&bytes);
        let is_first = !std::mem::replace(&mut self.past_first_line, true);
        let line = if is_first { line.trim_start_matches('\u{feff}') } else { &line };
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.kind = Some(value.to_owned()),
            "data" => self.data.push(value.to_owned()),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" => self.retry_ms = value.parse().ok().or(self.retry_ms),
            // A comment, or a field of the future.
            _ => {}
        }
        None
    }

    /// A block without data is no event.
    fn end_event(&mut self) -> Option<Event> {
        self.held = 0;
        let (kind, id, data) = (self.kind.take(), self.id.take(), std::mem::take(&mut self.data));
        if data.is_empty() {
            return None;
        }
        Some(Event { kind: kind.unwrap_or_else(|| "message".to_owned()), id, data: data.join("\n") })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<Event> {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.push(piece, |event| events.push(event)).unwrap();
        }
        events
    }

    fn event(kind: &str, id: Option<&str>, data: &str) -> Event {
        Event { kind: kind.to_owned(), id: id.map(str::to_owned), data: data.to_owned() }
    }

    const STREAM: &str = "\u{feff}: hello\n\nretry: 1500\nevent: turn.delta\nid: 3.7\ndata: {\"text\":\"naïve €5 🙂\"}\n\n\
        data:one\r\ndata: two\r\ndata\r\n\r\n: keep-alive\r\revent: lonely\n\nid: 4\rdata:  x: y\r\rdata: not ended\n";

    fn events() -> Vec<Event> {
        vec![
            event("turn.delta", Some("3.7"), "{\"text\":\"naïve €5 🙂\"}"),
            event("message", None, "one\ntwo\n"),
            event("message", Some("4"), " x: y"),
        ]
    }

    #[test]
    fn a_stream_cut_anywhere_reads_the_same() {
        let bytes = STREAM.as_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(read(&pieces), events(), "cut at {first} and {second}");
            }
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&single), events());
    }

    #[test]
    fn the_wait_asked_for_is_kept() {
        let mut parser = Parser::default();
        parser.push(b"retry: 2000\nretry: soon\ndata: x\n\n", |_| {}).unwrap();
        assert_eq!(parser.retry_ms(), Some(2_000));
    }

    #[test]
    fn an_endless_line_is_not_held() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1 << 20];
        let taken = (0..8).take_while(|_| parser.push(&piece, |_| {}).is_ok()).count();
        assert_eq!(taken, 4);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            texts in prop::collection::vec("[^\r\n]{0,12}(\n[^\r\n]{0,12}){0,2}", 1..5),
            ending in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            cut in 1usize..9,
        ) {
            let mut stream = String::new();
            for (number, text) in texts.iter().enumerate() {
                stream += &format!("id: {number}{ending}");
                text.split('\n').for_each(|line| stream += &format!("data: {line}{ending}"));
                stream += ending;
            }
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(cut).collect();
            let read = read(&pieces);
            prop_assert_eq!(read.len(), texts.len());
            for (number, (event, text)) in read.iter().zip(&texts).enumerate() {
                prop_assert_eq!(&event.data, text);
                prop_assert_eq!(event.id.clone(), Some(number.to_string()));
            }
        }
    }
}
