//! Server-Sent Events as upstreams send them, cut anywhere.
//!
//! Read as WHATWG HTML §9.2.6 says: lines end in LF, CR or CRLF, a byte order mark may stand first, comments and other
//! fields are passed over, what is not UTF-8 is replaced. One leniency: an event that the end of the body cut off
//! before its empty line still counts, because some upstreams end so after `[DONE]`.

use std::mem;

/// The data of one event. A token is some hundred bytes; what is longer than this is no token.
pub(super) const LONGEST_EVENT: usize = 256 * 1024;

/// An event, or a line of one, was longer than [`LONGEST_EVENT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// Puts events together from whatever pieces the body comes in.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    /// The `data:` lines of the event so far; `None` without one.
    data: Option<Vec<u8>>,
    /// The last byte was CR: an LF right after it belongs to the same line end.
    after_cr: bool,
    /// The first line is over.
    begun: bool,
}

impl Parser {
    /// Takes more of the body; adds the data of each event that is whole now.
    pub(super) fn push(&mut self, mut bytes: &[u8], events: &mut Vec<String>) -> Result<(), TooLong> {
        while let Some(&first) = bytes.first() {
            if mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            self.extend_line(&bytes[..end.unwrap_or(bytes.len())])?;
            let Some(end) = end else { break };
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            self.line_ends(events)?;
        }
        Ok(())
    }

    /// The body is over.
    pub(super) fn finish(&mut self, events: &mut Vec<String>) -> Result<(), TooLong> {
        self.line_ends(events)?;
        self.event_ends(events);
        Ok(())
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        // Nobody reads a comment, however long it is; that it is one must be known until its line ends.
        if self.line.first().or(bytes.first()) == Some(&b':') {
            self.line = vec![b':'];
            return Ok(());
        }
        if self.line.len() + bytes.len() > LONGEST_EVENT {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn line_ends(&mut self, events: &mut Vec<String>) -> Result<(), TooLong> {
        let line = mem::take(&mut self.line);
        let line = match mem::replace(&mut self.begun, true) {
            false => line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line),
            true => &line,
        };
        if line.is_empty() {
            self.event_ends(events);
            return Ok(());
        }
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        if field != b"data" {
            return Ok(());
        }
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &mut self.data {
            Some(data) => {
                if data.len() + value.len() >= LONGEST_EVENT {
                    return Err(TooLong);
                }
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            none => *none = Some(value.to_vec()),
        }
        Ok(())
    }

    fn event_ends(&mut self, events: &mut Vec<String>) {
        if let Some(data) = self.data.take() {
            events.push(String::from_utf8_lossy(&data).into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<String>, TooLong> {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.push(piece, &mut events)?;
        }
        parser.finish(&mut events)?;
        Ok(events)
    }

    #[test]
    fn events_are_read_however_they_are_written() {
        for (body, events) in [
            ("data: a\n\ndata: b\n\n", &["a", "b"][..]),
            ("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
            ("data: a\r\rdata: b\r\r", &["a", "b"]),
            ("\u{FEFF}data: a\n\n", &["a"]),
            ("data:a\n\ndata:  b\n\n", &["a", " b"]),
            ("data: a\ndata: b\n\n", &["a\nb"]),
            (": hello\n\n\n\nevent: x\nid: 1\ndata: a\nretry: 5\n\n:\n\n", &["a"]),
            ("data\n\n", &[""]),
            ("event: alone\n\n", &[]),
            ("data: cut off", &["cut off"]),
            ("database: x\n\n", &[]),
        ] {
            assert_eq!(read(&[body.as_bytes()]).unwrap(), events, "{body:?}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_replaced() {
        assert_eq!(read(&[b"data: a\xFFb\n\n"]).unwrap(), ["a\u{FFFD}b"]);
    }

    #[test]
    fn an_endless_line_ends_the_reading_and_an_endless_comment_costs_nothing() {
        let piece = vec![b'x'; 64 * 1024];
        let mut parser = Parser::default();
        let mut events = Vec::new();
        parser.push(b"data: ", &mut events).unwrap();
        let taken = (0..100).take_while(|_| parser.push(&piece, &mut events).is_ok()).count();
        assert_eq!(taken, 3, "256 KiB less the field's name");

        let lines = [b"data: ".as_slice(), &piece, b"\n"].concat();
        let mut parser = Parser::default();
        let taken = (0..100).take_while(|_| parser.push(&lines, &mut events).is_ok()).count();
        assert_eq!(taken, 3);

        let mut parser = Parser::default();
        parser.push(b":", &mut events).unwrap();
        for _ in 0..100 {
            parser.push(&piece, &mut events).unwrap();
            assert!(parser.line.len() <= 1);
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(
            lines in prop::collection::vec("(data: ?|data|:|event: |)[a-zé🙂:]{0,6}(\n|\r|\r\n)", 0..12),
            cuts in prop::collection::vec(0usize..200, 0..8),
        ) {
            let body = lines.concat().into_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[&body]));
        }
    }
}
