//! What a JSON merge patch says about a field, and what is said when a field cannot be so.

use serde::{Deserialize, Deserializer};

/// What is to become of a field: absent is `Keep`, `null` is `Reset`, anything else is `Set`.
///
/// Belongs in a struct with `#[serde(default)]`, so that an absent field keeps its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It goes back to its default.
    Reset,
    /// It becomes this.
    Set(T),
}

impl<T> Change<T> {
    /// The field after the change.
    pub fn apply(self, present: T, default: T) -> T {
        match self {
            Self::Keep => present,
            Self::Reset => default,
            Self::Set(value) => value,
        }
    }

    /// The same change of a parsed value.
    ///
    /// # Errors
    /// Those of `parse`.
    pub fn try_map<U, E>(self, parse: impl FnOnce(T) -> Result<U, E>) -> Result<Change<U>, E> {
        Ok(match self {
            Self::Keep => Change::Keep,
            Self::Reset => Change::Reset,
            Self::Set(value) => Change::Set(parse(value)?),
        })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Reset, Self::Set))
    }
}

/// A field whose value is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{param} {reason}")]
pub struct InvalidField {
    /// The field's path in the request.
    pub param: &'static str,
    /// For a person: what it must be.
    pub reason: String,
}

impl InvalidField {
    /// `param` must be otherwise.
    pub fn new(param: &'static str, reason: impl Into<String>) -> Self {
        Self { param, reason: reason.into() }
    }
}

/// A text of at most `longest` characters that a database can hold.
///
/// # Errors
/// It is longer, or holds a NUL.
pub fn text(param: &'static str, text: &str, longest: usize) -> Result<(), InvalidField> {
    if text.contains('\0') {
        return Err(InvalidField::new(param, "must not contain NUL"));
    }
    if text.chars().count() > longest {
        return Err(InvalidField::new(param, format!("must be at most {longest} characters")));
    }
    Ok(())
}
