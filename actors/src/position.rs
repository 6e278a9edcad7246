//! A position in the log: how far it was read, writer by writer.
//!
//! Each process that writes numbers its own events, and within one writer the order of numbers is the order of commits.
//! Between two writers there is no such order: the one that began first may commit last. So a position is a number per
//! writer, and a writer that it does not name was not read at all. Nothing can appear behind a position.

use std::{collections::BTreeMap, fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// What the text form begins with before it is encoded: another form gets another one.
const FORM: &str = "1:";

/// The spelling of the beginning.
const BEGINNING: &str = "0";

/// Writers are as many as processes that ever wrote at the same time; a text that names more is not ours.
const MOST_WRITERS: usize = 4_096;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position(BTreeMap<i64, i64>);

/// The text is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position in the log")]
pub struct MalformedPosition;

impl Position {
    /// Of the last event read of that writer; 0 is none.
    #[must_use]
    pub fn of(&self, writer: i64) -> i64 {
        self.0.get(&writer).copied().unwrap_or(0)
    }

    /// That writer's events were read so far.
    pub fn set(&mut self, writer: i64, position: i64) {
        if position > 0 {
            self.0.insert(writer, position);
        } else {
            self.0.remove(&writer);
        }
    }

    /// Everything before `other` was read.
    #[must_use]
    pub fn has_passed(&self, other: &Self) -> bool {
        other.0.iter().all(|(&writer, &position)| self.of(writer) >= position)
    }

    /// Writers and how far each was read.
    pub fn iter(&self) -> impl Iterator<Item = (i64, i64)> {
        self.0.iter().map(|(&writer, &position)| (writer, position))
    }

    /// The nearest position that is not past `heads`.
    #[must_use]
    pub fn within(&self, heads: &Self) -> Self {
        let mut within = Self::default();
        for (writer, position) in self.iter() {
            within.set(writer, position.min(heads.of(writer)));
        }
        within
    }
}

impl FromIterator<(i64, i64)> for Position {
    fn from_iter<I: IntoIterator<Item = (i64, i64)>>(pairs: I) -> Self {
        Self(pairs.into_iter().filter(|&(_, position)| position > 0).collect())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(BEGINNING);
        }
        let pairs: Vec<String> =
            self.0.iter().map(|(writer, position)| format!("{writer}.{position}")).collect();
        f.write_str(&URL_SAFE_NO_PAD.encode(format!("{FORM}{}", pairs.join(","))))
    }
}

impl FromStr for Position {
    type Err = MalformedPosition;

    fn from_str(text: &str) -> Result<Self, MalformedPosition> {
        if text == BEGINNING {
            return Ok(Self::default());
        }
        let read = || {
            let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
            let pairs = plain.strip_prefix(FORM)?.split(',');
            let pairs = pairs.map(|pair| {
                let (writer, position) = pair.split_once('.')?;
                Some((writer.parse().ok()?, position.parse().ok()?))
            });
            let position: Self = pairs.collect::<Option<Vec<_>>>()?.into_iter().collect();
            // One spelling each: two texts never name the same position.
            (position.0.len() <= MOST_WRITERS && position.to_string() == text).then_some(position)
        };
        read().ok_or(MalformedPosition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_one_spelling() {
        for pairs in [vec![], vec![(1, 7)], vec![(1, 7), (2, 1), (9, i64::MAX)]] {
            let position: Position = pairs.into_iter().collect();
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        let odd = |plain: &str| URL_SAFE_NO_PAD.encode(plain);
        for text in ["", "1", "00", "7.1", "a b", &odd("1:"), &odd("1:1.0"), &odd("1:01.5"), &odd("2:1.5")] {
            assert_eq!(text.parse::<Position>(), Err(MalformedPosition), "{text:?}");
        }
    }

    #[test]
    fn a_writer_that_is_not_named_was_not_read() {
        let read: Position = [(1, 5)].into_iter().collect();
        assert!(read.has_passed(&Position::default()));
        assert!(read.has_passed(&[(1, 5)].into_iter().collect()));
        assert!(!read.has_passed(&[(1, 5), (2, 1)].into_iter().collect()));
        let heads: Position = [(1, 3)].into_iter().collect();
        assert_eq!([(1, 5), (2, 9)].into_iter().collect::<Position>().within(&heads), heads);
    }
}
