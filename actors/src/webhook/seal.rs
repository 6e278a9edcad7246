//! How secrets are kept: encrypted under a key that is not in the database.

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit,
    aead::{Aead, Payload},
};

use crate::ids::WebhookId;

const NONCE_BYTES: usize = 12;

/// Keys by the version of the pepper that they were made of. Cheap to clone.
#[derive(Clone)]
pub struct SealingKeys {
    keys: Arc<BTreeMap<i64, [u8; 32]>>,
    current: i64,
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKeys({:?})", self.keys.keys())
    }
}

impl SealingKeys {
    /// What keys are derived for.
    pub const PURPOSE: &'static str = "webhook secrets";

    /// Those of these versions; new secrets are sealed under the last.
    #[must_use]
    pub fn new(keys: BTreeMap<i64, [u8; 32]>) -> Self {
        let current = keys.keys().next_back().copied().unwrap_or_default();
        Self { keys: Arc::new(keys), current }
    }

    /// `<version>:<nonce and ciphertext in base64>`, which opens for that webhook alone.
    ///
    /// # Errors
    /// There is no randomness.
    pub(super) fn seal(&self, webhook: WebhookId, text: &str) -> Result<String, getrandom::Error> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce)?;
        let id = webhook.to_string();
        let payload = Payload { msg: text.as_bytes(), aad: id.as_bytes() };
        // It fails on texts of gigabytes alone.
        let sealed = self.cipher(self.current).and_then(|cipher| cipher.encrypt(&nonce.into(), payload).ok());
        let bytes = [&nonce[..], &sealed.unwrap_or_default()].concat();
        Ok(format!("{}:{}", self.current, BASE64_STANDARD.encode(bytes)))
    }

    /// The text; `None` if it was sealed elsewhere, for another webhook, or is damaged.
    pub(super) fn open(&self, webhook: WebhookId, sealed: &str) -> Option<String> {
        let (version, bytes) = sealed.split_once(':')?;
        let bytes = BASE64_STANDARD.decode(bytes).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let id = webhook.to_string();
        let payload = Payload { msg: sealed, aad: id.as_bytes() };
        let opened = self.cipher(version.parse().ok()?)?.decrypt(&nonce.into(), payload).ok()?;
        String::from_utf8(opened).ok()
    }

    fn cipher(&self, version: i64) -> Option<ChaCha20Poly1305> {
        self.keys.get(&version).map(|key| ChaCha20Poly1305::new(&(*key).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_webhook_under_its_key_alone() {
        let keys = |byte| SealingKeys::new([(1, [byte; 32])].into());
        let (one, other) = (WebhookId::generate(), WebhookId::generate());
        let sealed = keys(7).seal(one, "whsec_x").unwrap();
        assert!(!sealed.contains("whsec"));
        assert_eq!(keys(7).open(one, &sealed).as_deref(), Some("whsec_x"));
        assert_eq!(keys(7).open(other, &sealed), None);
        assert_eq!(keys(8).open(one, &sealed), None);
        assert_eq!(keys(7).open(one, "1:AAAA"), None);
        assert_ne!(sealed, keys(7).seal(one, "whsec_x").unwrap());
    }
}
