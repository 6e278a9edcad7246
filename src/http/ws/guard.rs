//! Frames that are too large, refused by their head.
//!
//! The codec compares a frame's length with its limit only once all of the frame is there, and buffers it until then:
//! a head that promises a gigabyte would be given one. So the heads are read here first.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;

/// A masked frame that promises more bytes than there are numbers: the codec refuses it at once, as too large.
const IMPOSSIBLE: [u8; 14] = [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// What comes in, up to the first frame that is too large; in its place stands one that the codec refuses.
pub(super) struct Guarded<S> {
    incoming: S,
    largest: u64,
    /// A frame's head, as far as it has come.
    head: Vec<u8>,
    /// Of the payload after it, how much is still to come.
    left: u64,
    refused: bool,
}

impl<S> Guarded<S> {
    pub(super) fn new(incoming: S, largest: usize) -> Self {
        Self { incoming, largest: largest as u64, head: Vec::new(), left: 0, refused: false }
    }

    fn pass(&mut self, mut bytes: Bytes) -> Bytes {
        let mut passed = BytesMut::with_capacity(bytes.len());
        while !bytes.is_empty() {
            if self.left > 0 {
                let part = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                passed.extend_from_slice(&bytes.split_to(part));
                self.left -= part as u64;
                continue;
            }
            self.head.extend_from_slice(&bytes.split_to(1));
            let Some(length) = length(&self.head) else { continue };
            if length > self.largest {
                self.refused = true;
                passed.extend_from_slice(&IMPOSSIBLE);
                break;
            }
            passed.extend_from_slice(&self.head);
            self.head.clear();
            self.left = length;
        }
        passed.freeze()
    }
}

/// How long the payload is (RFC 6455, section 5.2); `None` while the head is not whole.
fn length(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    if head.len() < 2 + extended + mask {
        return None;
    }
    let digits = &head[2..2 + extended];
    Some(match extended {
        0 => u64::from(second & 0x7f),
        _ => digits.iter().fold(0, |length, digit| length << 8 | u64::from(*digit)),
    })
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for Guarded<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.refused {
                return Poll::Ready(None);
            }
            let next = std::task::ready!(Pin::new(&mut self.incoming).poll_next(cx));
            let Some(Ok(bytes)) = next else { return Poll::Ready(next) };
            let passed = self.pass(bytes);
            // Only part of a head: nothing to hand on yet.
            if !passed.is_empty() {
                return Poll::Ready(Some(Ok(passed)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Vec<u8> {
        let mut frame = vec![0x81];
        match length {
            0..126 => frame.push(0x80 | length as u8),
            126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.extend(std::iter::repeat_n(7, length));
        frame
    }

    fn passed(bytes: &[u8], pieces: usize) -> (Vec<u8>, bool) {
        let mut guard = Guarded::new((), 100_000);
        let mut out = Vec::new();
        for piece in bytes.chunks(pieces) {
            if !guard.refused {
                out.extend(guard.pass(Bytes::copy_from_slice(piece)));
            }
        }
        (out, guard.refused)
    }

    #[test]
    fn frames_within_the_limit_pass_unchanged_however_they_are_cut() {
        let frames =
            [frame(0), frame(5), frame(125), frame(126), frame(70_000), frame(100_000), frame(1)].concat();
        for pieces in [1, 2, 3, 1_000, frames.len()] {
            assert_eq!(passed(&frames, pieces), (frames.clone(), false));
        }
    }

    #[test]
    fn a_head_that_promises_too_much_is_refused_before_its_payload() {
        let good = frame(10);
        let head = &frame(100_001)[..14];
        for pieces in [1, 5, 100] {
            let (out, refused) = passed(&[&good, head].concat(), pieces);
            assert!(refused);
            assert_eq!(out, [good.as_slice(), &IMPOSSIBLE].concat());
        }
    }
}
