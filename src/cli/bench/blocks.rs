//! Server-Sent Events out of pieces, without an allocation per event.
//!
//! Not the reader of `chat`, which takes every line end that the format allows and owns what it finds: at a token per
//! event that would cost more than the server under test. Ours ends its lines in LF.

use memchr::memmem;

/// An event longer than this is not one of ours: the longest holds an answer of 64 KiB with its citations.
const LONGEST_EVENT: usize = 4 << 20;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block<'a> {
    pub(super) kind: &'a str,
    pub(super) id: Option<&'a str>,
    pub(super) data: &'a str,
    /// How long the server asks to wait before coming back, in milliseconds.
    pub(super) retry: Option<u64>,
}

/// It is no event of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Finds events.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    bytes: Vec<u8>,
    /// How much of it was given out.
    at: usize,
}

impl Blocks {
    /// Where the next piece is to be added.
    pub(super) fn input(&mut self) -> &mut Vec<u8> {
        if self.at == self.bytes.len() {
            self.bytes.clear();
        } else {
            self.bytes.drain(..self.at);
        }
        self.at = 0;
        &mut self.bytes
    }

    /// Bytes that were not given out yet.
    pub(super) fn unread(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Forgets what has come.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.at = 0;
    }

    /// The next whole event; those without data are passed over.
    pub(super) fn next(&mut self) -> Result<Option<Block<'_>>, Unreadable> {
        loop {
            let here = &self.bytes[self.at..];
            let Some(length) = memmem::find(here, b"\n\n") else {
                return if here.len() > LONGEST_EVENT { Err(Unreadable) } else { Ok(None) };
            };
            let range = self.at..self.at + length;
            self.at += length + 2;
            if memmem::find(&self.bytes[range.clone()], b"data:").is_some() {
                let text = std::str::from_utf8(&self.bytes[range]).map_err(|_| Unreadable)?;
                return parse(text).map(Some);
            }
        }
    }
}

fn parse(text: &str) -> Result<Block<'_>, Unreadable> {
    let (mut kind, mut id, mut data, mut retry) = ("message", None, None, None);
    for line in text.split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => kind = value,
            "id" => id = Some(value),
            "retry" => retry = value.parse().ok(),
            // The JSON of an event is one line.
            "data" if data.is_some() => return Err(Unreadable),
            "data" => data = Some(value),
            _ => {}
        }
    }
    data.map(|data| Block { kind, id, data, retry }).ok_or(Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_cut_anywhere_read_the_same() {
        let stream = ":\n\nretry: 1500\nevent: a\nid: 3.7\ndata: {\"text\":\"naïve €5\"}\n\n: keep-alive\n\n\
                      event: b\ndata:x\n\ndata: not ended";
        for cut in 0..=stream.len() {
            let (mut blocks, mut read) = (Blocks::default(), Vec::new());
            for piece in [&stream.as_bytes()[..cut], &stream.as_bytes()[cut..]] {
                blocks.input().extend_from_slice(piece);
                while let Some(Block { kind, id, data, retry }) = blocks.next().unwrap() {
                    read.push((kind.to_owned(), id.map(str::to_owned), data.to_owned(), retry));
                }
            }
            let expected = [
                ("a".to_owned(), Some("3.7".to_owned()), "{\"text\":\"naïve €5\"}".to_owned(), Some(1_500)),
                ("b".to_owned(), None, "x".to_owned(), None),
            ];
            assert_eq!(read, expected, "cut at {cut}");
        }
    }

    #[test]
    fn two_lines_of_data_are_not_ours() {
        let mut blocks = Blocks::default();
        blocks.input().extend_from_slice(b"data: {\ndata: }\n\n");
        assert_eq!(blocks.next(), Err(Unreadable));
    }
}
