//! The text of a key, which its owner keeps and we do not.
//!
//! `oc_live_<id>_<secret><checksum>`: the id finds the row by its primary key, the secret is 256 bits that prove the
//! rest, and the checksum lets garbage be refused without the store and scanners know a key when they see one.

use std::fmt;

use crate::ids::KeyId;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// 62^43 is just over 2^256.
const SECRET_LEN: usize = 43;

/// 62^6 is just over 2^32.
const CHECKSUM_LEN: usize = 6;

/// The largest multiple of 62 in a byte: above it, some letters would be likelier than others.
const FAIR_BELOW: u8 = 248;

/// How much of the end is shown in a list, so that an owner can tell two keys apart. It lies within the checksum,
/// so it tells nothing about the secret that its holder could use.
const SHOWN_LEN: usize = 4;

/// Which of the two texts it is: one belongs on servers, the other in browsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `oc_live_`
    Secret,
    /// `oc_pub_`
    Publishable,
}

impl Family {
    /// What the text begins with.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Secret => "oc_live_",
            Self::Publishable => "oc_pub_",
        }
    }
}

/// Not the text of any key: a typo, a cut, or something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the text of a key")]
pub struct MalformedKey;

/// A key's whole text. Never shown by `Debug`; [`expose`](Self::expose) is called where it is handed to its owner.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText {
    text: String,
    id: KeyId,
}

impl KeyText {
    /// A new secret for the key.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn generate(family: Family, id: KeyId) -> Result<Self, getrandom::Error> {
        let mut text = format!("{}{}_", family.prefix(), body(id));
        let end = text.len() + SECRET_LEN;
        let mut random = [0; 64];
        while text.len() < end {
            getrandom::fill(&mut random)?;
            let fair = random.iter().filter(|&&byte| byte < FAIR_BELOW);
            let letters = fair.map(|&byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
            text.extend(letters.take(end - text.len()));
        }
        text.push_str(&checksum(text.as_bytes()));
        Ok(Self { text, id })
    }

    /// Reads what a client presented. Touches nothing but the text.
    ///
    /// # Errors
    /// It is not made as we make them.
    pub fn parse(text: &str) -> Result<Self, MalformedKey> {
        let rest = [Family::Secret, Family::Publishable]
            .iter()
            .find_map(|family| text.strip_prefix(family.prefix()))
            .ok_or(MalformedKey)?;
        let (body, secret) = rest.split_once('_').ok_or(MalformedKey)?;
        let base62 = |byte: u8| byte.is_ascii_alphanumeric();
        if secret.len() != SECRET_LEN + CHECKSUM_LEN || !secret.bytes().all(base62) {
            return Err(MalformedKey);
        }
        let (checked, expected) = text.split_at(text.len() - CHECKSUM_LEN);
        if checksum(checked.as_bytes()) != expected {
            return Err(MalformedKey);
        }
        let id = format!("{}{body}", KeyId::PREFIX).parse().map_err(|_| MalformedKey)?;
        Ok(Self { text: text.to_owned(), id })
    }

    /// Which key it claims to be.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What may be shown of it: the public id, and the end.
    #[must_use]
    pub fn masked(&self) -> String {
        let public = self.text.len() - SECRET_LEN - CHECKSUM_LEN;
        format!("{}…{}", &self.text[..public], &self.text[self.text.len() - SHOWN_LEN..])
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyText({})", self.id)
    }
}

fn body(id: KeyId) -> String {
    id.to_string().split_off(KeyId::PREFIX.len())
}

fn checksum(text: &[u8]) -> String {
    let mut rest = crc32fast::hash(text) as usize;
    let mut letters = [ALPHABET[0]; CHECKSUM_LEN];
    for letter in letters.iter_mut().rev() {
        *letter = ALPHABET[rest % ALPHABET.len()];
        rest /= ALPHABET.len();
    }
    letters.iter().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn some_key() -> KeyText {
        KeyText::generate(Family::Secret, KeyId::generate()).unwrap()
    }

    #[test]
    fn a_key_reads_back_as_itself() {
        for family in [Family::Secret, Family::Publishable] {
            let key = KeyText::generate(family, KeyId::generate()).unwrap();
            assert_eq!(KeyText::parse(key.expose()), Ok(key.clone()));
            assert!(key.expose().starts_with(family.prefix()));
        }
    }

    #[test]
    fn no_two_secrets_are_alike_and_every_letter_occurs() {
        let keys: Vec<_> = (0..200).map(|_| some_key().expose().to_owned()).collect();
        let secret = |key: &String| key.rsplit_once('_').unwrap().1[..SECRET_LEN].to_owned();
        let secrets: HashSet<_> = keys.iter().map(secret).collect();
        assert_eq!(secrets.len(), 200);
        let letters: HashSet<_> = secrets.iter().flat_map(|secret| secret.bytes()).collect();
        assert_eq!(letters.len(), ALPHABET.len());
    }

    #[test]
    fn neither_debug_nor_the_mask_gives_the_secret_away() {
        let key = some_key();
        let secret = &key.expose()[35..35 + SECRET_LEN];
        for shown in [format!("{key:?}"), key.masked()] {
            for window in secret.as_bytes().windows(5) {
                assert!(!shown.as_bytes().windows(5).any(|part| part == window), "{shown}");
            }
        }
        assert!(key.masked().ends_with(&key.expose()[key.expose().len() - 4..]));
    }

    proptest! {
        #[test]
        fn one_wrong_letter_anywhere_is_noticed(place in 0usize..84, letter in "[0-9A-Za-z_é ]") {
            let key = some_key();
            let mut text: Vec<_> = key.expose().chars().collect();
            let letter = letter.chars().next().unwrap();
            prop_assume!(text[place] != letter);
            text[place] = letter;
            let text: String = text.into_iter().collect();
            prop_assert_eq!(KeyText::parse(&text), Err(MalformedKey));
        }

        #[test]
        fn any_text_can_be_presented(text in "\\PC{0,120}") {
            prop_assert_eq!(KeyText::parse(&text), Err(MalformedKey));
        }
    }
}
