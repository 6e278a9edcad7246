//! What some conversations add up to: sums that can be added and taken away.

use std::fmt;

use super::histogram::Histogram;

/// How many numbers a tally has beside its histograms.
const NUMBERS: usize = 13;

/// See the module. Everything in it is a sum over conversations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) numbers: Numbers,
    /// From the acceptance of a message to the first text of its answer.
    pub(super) first_tokens: Histogram,
    /// To the end of it.
    pub(super) answers: Histogram,
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The plain numbers of a tally.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub(super) struct Numbers {
            $($(#[$doc])* pub(super) $name: i64,)*
            /// How many were rated 1 to 5.
            pub(super) ratings: [i64; 5],
        }

        impl Numbers {
            /// Adds all of another, or takes it away.
            pub(super) fn merge(&mut self, other: &Self, sign: i64) {
                $(self.$name += sign * other.$name;)*
                self.ratings.iter_mut().zip(other.ratings).for_each(|(own, other)| *own += sign * other);
            }

            fn to_array(self) -> [i64; NUMBERS] {
                let mut all = [0; NUMBERS];
                let plain = [$(self.$name,)*];
                all[..plain.len()].copy_from_slice(&plain);
                all[plain.len()..].copy_from_slice(&self.ratings);
                all
            }

            fn from_array([$($name,)* ratings @ ..]: [i64; NUMBERS]) -> Self {
                Self { $($name,)* ratings }
            }
        }
    };
}

numbers! {
    /// How many.
    conversations,
    /// Of customers, assistants and agents.
    messages,
    /// Completed now.
    completed,
    /// Of those, how many were resolved.
    resolved,
    /// Of the completed ones, from their first message to their last.
    duration_ms,
    /// Completed without an accepted handover.
    contained,
    /// With at least one handover.
    handovers,
    /// Turns without an answer.
    unanswered,
}

impl Tally {
    /// Adds all of another, or takes it away.
    pub(super) fn merge(&mut self, other: &Self, sign: i32) {
        self.numbers.merge(&other.numbers, i64::from(sign));
        self.first_tokens.merge(&other.first_tokens, sign);
        self.answers.merge(&other.answers, sign);
    }

    /// It is as if nothing had been counted.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('|');
        let mut words = parts.next()?.split(' ');
        let mut numbers = [0; NUMBERS];
        for number in &mut numbers {
            *number = words.next()?.parse().ok()?;
        }
        let tally = Self {
            numbers: Numbers::from_array(numbers),
            first_tokens: Histogram::parse(parts.next()?)?,
            answers: Histogram::parse(parts.next()?)?,
        };
        (words.next().is_none() && parts.next().is_none()).then_some(tally)
    }
}

/// The numbers, then the histograms: `1 2 0 … 0|12|40x3`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, number) in self.numbers.to_array().into_iter().enumerate() {
            let space = if place == 0 { "" } else { " " };
            write!(f, "{space}{number}")?;
        }
        write!(f, "|{}|{}", self.first_tokens, self.answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_is_read_as_it_was_written() {
        let mut tally = Tally::default();
        tally.numbers.conversations = 7;
        tally.numbers.unanswered = 2;
        tally.numbers.ratings = [1, 0, 3, 0, -5];
        tally.answers.record(900);
        assert_eq!(tally.to_string(), "7 0 0 0 0 0 0 2 1 0 3 0 -5||184");
        assert_eq!(Tally::parse(&tally.to_string()), Some(tally.clone()));
        let mut gone = tally.clone();
        gone.merge(&tally, -1);
        assert!(gone.is_empty());
        for text in ["", "1|2|3", "1 2 3 4 5 6 7 8 9 10 11 12|1|2", "7 0 0 0 0 0 0 2 1 0 3 0 0||1|"] {
            assert_eq!(Tally::parse(text), None, "{text}");
        }
    }
}
