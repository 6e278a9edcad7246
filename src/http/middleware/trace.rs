//! W3C Trace Context: the caller's trace goes on through us.

use std::fmt;

use actix_web::http::header::HeaderMap;
use openclaw_actors::ids::RequestId;

/// A trace, and our own span in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The caller's.
    pub trace_id: u128,
    /// Ours: what calls made for this request name as their parent.
    pub span_id: u64,
    flags: u8,
}

impl TraceContext {
    /// The caller's trace, if it sent one that is well formed; anything else is ignored, as the standard asks.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut sent = headers.get_all("traceparent");
        let (Some(parent), None) = (sent.next(), sent.next()) else { return None };
        let (trace_id, flags) = parse(parent.to_str().ok()?)?;
        // The low half of a new id is random.
        let span_id = (RequestId::generate().as_u128() as u64).max(1);
        Some(Self { trace_id, span_id, flags })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// `00-<trace>-<span>-<flags>`, lower case; a later version may have more fields after these.
fn parse(text: &str) -> Option<(u128, u8)> {
    let mut fields = text.split('-');
    let version = hex(fields.next()?, 2)?;
    let trace_id = hex(fields.next()?, 32)?;
    let parent_id = hex(fields.next()?, 16)?;
    let flags = hex(fields.next()?, 2)?;
    let well_formed = version != 0xff && (version != 0 || fields.next().is_none());
    (well_formed && trace_id != 0 && parent_id != 0).then_some((trace_id, flags as u8))
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == digits && lower).then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;

    #[test]
    fn only_a_well_formed_trace_is_followed() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(parse(good), Some((TRACE, 1)));
        assert_eq!(parse(&format!("cc{}-more", &good[2..])), Some((TRACE, 1)));
        for bad in [
            &good.to_uppercase(),
            &format!("ff{}", &good[2..]),
            &format!("{good}-more"),
            &good[..good.len() - 1],
            &good.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &good.replace("00f067aa0ba902b7", &"0".repeat(16)),
            "",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_sent_on_names_the_same_trace() {
        let sent = TraceContext { trace_id: TRACE, span_id: 7, flags: 1 }.to_string();
        assert_eq!(sent, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-01");
        assert_eq!(parse(&sent), Some((TRACE, 1)));
    }
}
