//! What a client may say of a conversation: parsed once, here, into values that cannot be wrong.

use std::{collections::BTreeMap, sync::Arc};

use openclaw_actors::conversation::record::{Author, Metadata};
use serde::Deserialize;

use crate::http::error::ApiError;

/// A model's window holds a few of these; a longer text is a document, not a message.
const CONTENT_LONGEST: usize = 32_000;

/// Enough for any client's own ids: UUIDs, ULIDs, URNs.
const CLIENT_MESSAGE_ID_LONGEST: usize = 128;

/// Ids of customers and agents in other systems; e-mail addresses are used as such.
const FOREIGN_ID_LONGEST: usize = 255;

/// The longest names on record are shorter.
const NAME_LONGEST: usize = 200;

/// RFC 5321 allows no longer address.
const EMAIL_LONGEST: usize = 254;

/// A word or a path of words that reports are grouped by.
const TOPIC_LONGEST: usize = 100;

/// RFC 5646 asks for no more: `zh-Hant-CN-x-private1-private2`.
const LANGUAGE_LONGEST: usize = 35;

/// A name for where a conversation takes place.
const CHANNEL_LONGEST: usize = 32;

/// A paragraph or two of judgement.
const COMMENT_LONGEST: usize = 2_000;

/// A paragraph or two for a colleague.
const NOTE_LONGEST: usize = 2_000;

const METADATA_PAIRS: usize = 16;
const METADATA_KEY_LONGEST: usize = 64;
const METADATA_VALUE_LONGEST: usize = 512;

/// Text of at least one character and at most `longest`. NUL was refused with the body.
fn text(param: &str, text: String, longest: usize) -> Result<String, ApiError> {
    // Bytes first: a character is at most four of them, and most texts are short.
    let fits = text.len() <= longest || text.chars().nth(longest).is_none();
    if text.is_empty() || !fits {
        return Err(ApiError::invalid_field(param, format!("it must have 1 to {longest} characters")));
    }
    Ok(text)
}

pub(in crate::http) fn content(param: &str, content: String) -> Result<Arc<str>, ApiError> {
    text(param, content, CONTENT_LONGEST).map(Arc::from)
}

pub(super) fn client_message_id(param: &str, id: String) -> Result<String, ApiError> {
    text(param, id, CLIENT_MESSAGE_ID_LONGEST)
}

pub(in crate::http) fn foreign_id(param: &str, id: String) -> Result<String, ApiError> {
    text(param, id, FOREIGN_ID_LONGEST)
}

pub(in crate::http) fn name(param: &str, name: String) -> Result<String, ApiError> {
    text(param, name, NAME_LONGEST)
}

pub(super) fn topic(param: &str, topic: String) -> Result<String, ApiError> {
    text(param, topic, TOPIC_LONGEST)
}

/// What one person leaves for another.
pub(in crate::http) fn note(param: &str, note: String) -> Result<String, ApiError> {
    text(param, note, NOTE_LONGEST)
}

/// A team, a queue or a person, in the organization's own words.
pub(in crate::http) fn target(param: &str, target: String) -> Result<String, ApiError> {
    text(param, target, NAME_LONGEST)
}

pub(super) fn comment(param: &str, comment: String) -> Result<String, ApiError> {
    text(param, comment, COMMENT_LONGEST)
}

/// Whether mail arrives there only mail can tell; this keeps out what is no address at all.
pub(super) fn email(param: &str, email: String) -> Result<String, ApiError> {
    let email = text(param, email, EMAIL_LONGEST)?;
    let is_address = email
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if !is_address || email.contains(|character: char| character.is_whitespace() || character.is_control()) {
        return Err(ApiError::invalid_field(param, "it must be an e-mail address"));
    }
    Ok(email)
}

pub(super) fn language(param: &str, language: String) -> Result<String, ApiError> {
    let is_tag = language.len() <= LANGUAGE_LONGEST
        && language.split('-').enumerate().all(|(place, part)| match place {
            0 => (2..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphabetic()),
            _ => (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        });
    if is_tag {
        return Ok(language);
    }
    Err(ApiError::invalid_field(param, "it must be a language tag, such as `nl` or `pt-BR`"))
}

pub(super) fn channel(param: &str, channel: String) -> Result<String, ApiError> {
    let is_name = (1..=CHANNEL_LONGEST).contains(&channel.len())
        && channel
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
    if is_name {
        return Ok(channel);
    }
    let message = format!("it must have 1 to {CHANNEL_LONGEST} characters out of a–z, 0–9, _ and -");
    Err(ApiError::invalid_field(param, message))
}

pub(super) fn metadata(param: &str, pairs: BTreeMap<String, String>) -> Result<Metadata, ApiError> {
    if pairs.len() > METADATA_PAIRS {
        return Err(too_much_metadata(param));
    }
    for (key, value) in &pairs {
        metadata_pair(param, key, Some(value))?;
    }
    Ok(pairs)
}

/// A pair to set, or a key to remove.
pub(super) fn metadata_pair(param: &str, key: &str, value: Option<&str>) -> Result<(), ApiError> {
    if key.is_empty() || key.chars().count() > METADATA_KEY_LONGEST {
        let message = format!("its keys must have 1 to {METADATA_KEY_LONGEST} characters");
        return Err(ApiError::invalid_field(param, message));
    }
    if value.is_some_and(|value| value.chars().count() > METADATA_VALUE_LONGEST) {
        let message = format!("it must have at most {METADATA_VALUE_LONGEST} characters");
        return Err(ApiError::invalid_field(format!("{param}.{key}"), message));
    }
    Ok(())
}

pub(super) fn too_much_metadata(param: &str) -> ApiError {
    ApiError::invalid_field(param, format!("it may have at most {METADATA_PAIRS} pairs"))
}

/// An agent, as a client names one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AuthorBody {
    id: String,
    name: Option<String>,
}

impl AuthorBody {
    pub(in crate::http) fn check(self, param: &str) -> Result<Author, ApiError> {
        let id = foreign_id(&format!("{param}.id"), self.id)?;
        let name = self.name.map(|given| name(&format!("{param}.name"), given)).transpose()?;
        Ok(Author { id, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_not_bytes() {
        assert!(content("content", "é".repeat(CONTENT_LONGEST)).is_ok());
        assert!(content("content", "é".repeat(CONTENT_LONGEST + 1)).is_err());
        assert!(content("content", "e".repeat(CONTENT_LONGEST + 1)).is_err());
        assert!(content("content", String::new()).is_err());
    }

    #[test]
    fn what_is_no_address_language_or_channel_is_refused() {
        for good in ["a@b", "ada.l+x@example.com", "ø@exämple.org"] {
            assert!(email("customer.email", good.into()).is_ok(), "{good}");
        }
        for bad in ["", "ada", "@b", "a@", "a b@c", "a@b@c", "a@b\n"] {
            assert!(email("customer.email", bad.into()).is_err(), "{bad}");
        }
        for good in ["nl", "pt-BR", "zh-Hant-CN", "de-1996"] {
            assert!(language("language", good.into()).is_ok(), "{good}");
        }
        for bad in ["", "n", "nl-", "-nl", "nl_NL", "12", "nl-123456789", "dutch language"] {
            assert!(language("language", bad.into()).is_err(), "{bad}");
        }
        assert!(channel("channel", "web_2-x".into()).is_ok());
        for bad in ["", "Web", "a b", "é", &"a".repeat(CHANNEL_LONGEST + 1)] {
            assert!(channel("channel", bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn metadata_has_its_limits() {
        let pairs = |count: usize| (0..count).map(|n| (n.to_string(), String::new())).collect();
        assert!(metadata("metadata", pairs(METADATA_PAIRS)).is_ok());
        assert!(metadata("metadata", pairs(METADATA_PAIRS + 1)).is_err());
        assert!(metadata_pair("metadata", &"k".repeat(METADATA_KEY_LONGEST), None).is_ok());
        assert!(metadata_pair("metadata", &"k".repeat(METADATA_KEY_LONGEST + 1), None).is_err());
        assert!(metadata_pair("metadata", "", None).is_err());
        assert!(metadata_pair("metadata", "k", Some(&"ü".repeat(METADATA_VALUE_LONGEST))).is_ok());
        assert!(metadata_pair("metadata", "k", Some(&"ü".repeat(METADATA_VALUE_LONGEST + 1))).is_err());
    }
}
