//! What a receiver does with what it is sent: the other half of signing.

use std::{str::FromStr, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use subtle::ConstantTimeEq;

use super::sign::{PREFIX, SigningSecret};
use crate::clock::Timestamp;

/// How far a timestamp may lie from the receiver's clock: what the official libraries take.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// Lengths of a key, in bytes, that Standard Webhooks allows.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must be whsec_ and then 24 to 64 bytes in base64, as it was shown when the webhook was made")]
pub struct NotASecret;

impl FromStr for SigningSecret {
    type Err = NotASecret;

    fn from_str(text: &str) -> Result<Self, NotASecret> {
        let key = text.strip_prefix(PREFIX).and_then(|key| BASE64_STANDARD.decode(key).ok());
        match key {
            Some(key) if KEY_BYTES.contains(&key.len()) => Ok(Self::stored(text.to_owned())),
            _ => Err(NotASecret),
        }
    }
}

/// The three headers; none is what was not sent, or sent twice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signed<'a> {
    /// `webhook-id`
    pub id: Option<&'a str>,
    /// `webhook-timestamp`
    pub timestamp: Option<&'a str>,
    /// `webhook-signature`
    pub signature: Option<&'a str>,
}

/// Why something is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified {
    /// A header is not there, or is there twice.
    #[error("the header {0} is missing")]
    Missing(&'static str),
    /// The timestamp is no number of seconds.
    #[error("webhook-timestamp is no number of seconds")]
    NoTime,
    /// It was sent long ago, or the clocks differ.
    #[error("it was signed {0} seconds ago: somebody sends it again, or the clocks differ")]
    TooOld(i64),
    /// The clocks differ.
    #[error("it was signed {0} seconds in the future: the clocks differ")]
    TooNew(i64),
    /// Another secret, or another text.
    #[error("no signature is of this secret over these bytes")]
    WrongSignature,
}

impl SigningSecret {
    /// Was this body signed with the secret, and just now?
    ///
    /// # Errors
    /// It was not; see [`NotVerified`].
    pub fn verify(&self, signed: Signed<'_>, body: &[u8], now: Timestamp) -> Result<(), NotVerified> {
        let id = signed.id.ok_or(NotVerified::Missing("webhook-id"))?;
        let timestamp = signed.timestamp.ok_or(NotVerified::Missing("webhook-timestamp"))?;
        let signatures = signed.signature.ok_or(NotVerified::Missing("webhook-signature"))?;
        let at: i64 = timestamp.parse().map_err(|_| NotVerified::NoTime)?;
        let expected = self.sign(id, at, body);
        // All are compared, so that the time says nothing about which.
        let matching =
            signatures.split(' ').filter(|one| one.as_bytes().ct_eq(expected.as_bytes()).into()).count();
        if matching == 0 {
            return Err(NotVerified::WrongSignature);
        }
        let age = now.0 / 1_000 - at;
        let tolerance = TOLERANCE.as_secs() as i64;
        match age {
            _ if age > tolerance => Err(NotVerified::TooOld(age)),
            _ if age < -tolerance => Err(NotVerified::TooNew(-age)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_just_now_with_this_secret_is_verified_and_nothing_else() {
        let secret: SigningSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let at = Timestamp(1_614_265_330_000);
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let signed = |signature| Signed {
            id: Some("msg_p5jXN8AQM9LWM0D4loKWxJek"),
            timestamp: Some("1614265330"),
            signature: Some(signature),
        };
        let body = br#"{"test": 2432232314}"#;
        let verify = |signed, body: &[u8], now| secret.verify(signed, body, now);
        assert_eq!(verify(signed(good), body, at), Ok(()));
        let both = format!("v1a,x v1,AAAA {good}");
        assert_eq!(verify(signed(&both), body, at.plus_ms(299_000)), Ok(()));
        assert_eq!(verify(signed(good), b"{}", at), Err(NotVerified::WrongSignature));
        assert_eq!(verify(signed("v1,AAAA"), body, at), Err(NotVerified::WrongSignature));
        assert_eq!(verify(signed(good), body, at.plus_ms(301_000)), Err(NotVerified::TooOld(301)));
        assert_eq!(verify(signed(good), body, at.plus_ms(-400_000)), Err(NotVerified::TooNew(400)));
        let without = Signed { id: None, ..signed(good) };
        assert_eq!(verify(without, body, at), Err(NotVerified::Missing("webhook-id")));
        for bad in ["", "whsec_", "whsec_abc", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAA"] {
            assert!(bad.parse::<SigningSecret>().is_err(), "{bad}");
        }
    }
}
