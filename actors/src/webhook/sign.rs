//! Standard Webhooks, to the byte: <https://www.standardwebhooks.com/>.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// 24 bytes: no padding in base64, so that strict and lax decoders agree.
const SECRET_BYTES: usize = 24;

pub(super) const PREFIX: &str = "whsec_";

/// A secret as a receiver is given it: `whsec_…`.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(String);

impl SigningSecret {
    /// A new one.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(format!("{PREFIX}{}", BASE64_STANDARD.encode(bytes))))
    }

    /// Reads back what was stored.
    pub(super) fn stored(text: String) -> Self {
        Self(text)
    }

    /// The whole text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `v1,` and the signature of these bytes under this id at that time.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let key = BASE64_STANDARD.decode(self.0.trim_start_matches(PREFIX)).unwrap_or_default();
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return String::new() };
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(set)")
    }
}

/// What stands in `webhook-signature`: one space between, none at the end, since some libraries fail on more.
pub(super) fn signatures(secrets: &[SigningSecret], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signed: Vec<String> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    signed.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SigningSecret {
        SigningSecret(text.to_owned())
    }

    #[test]
    fn signatures_are_those_that_five_libraries_agree_on() {
        let ours = r#"{"type":"handover.requested","timestamp":"2023-11-14T22:13:20Z","data":{"conversation_id":"conv_1","reason":"gebruiker vroeg om een mens – €5"}}"#;
        assert_eq!(ours.len(), 148);
        for (key, id, at, body, signature) in [
            (
                "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
                "msg_01HF7YAT00000000000000TEST",
                1_700_000_000,
                ours,
                "v1,2WGKJz4Hs0V1H5cHQ52WG1BYceN+jD8ib7aNRia0nEE=",
            ),
            (
                "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
                "msg_01HF7YAT00000000000000TEST",
                1_700_000_000,
                ours,
                "v1,jVhL7xq6maTdyoZFNxAbofaRvuJS7bgjMvrNmIMgl58=",
            ),
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
        ] {
            assert_eq!(secret(key).sign(id, at, body.as_bytes()), signature, "{key}");
        }
    }

    #[test]
    fn several_signatures_are_one_space_apart() {
        let keys =
            ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"].map(secret);
        let both = signatures(&keys, "evt_1", 1, b"{}");
        let parts: Vec<&str> = both.split(' ').collect();
        assert_eq!(parts, [keys[0].sign("evt_1", 1, b"{}"), keys[1].sign("evt_1", 1, b"{}")]);
    }

    #[test]
    fn a_secret_is_24_bytes_in_base64_without_padding() {
        let made = SigningSecret::generate().unwrap();
        let body = made.expose().strip_prefix("whsec_").unwrap();
        assert_eq!(BASE64_STANDARD.decode(body).unwrap().len(), 24);
        assert!(!body.contains('='));
    }
}
