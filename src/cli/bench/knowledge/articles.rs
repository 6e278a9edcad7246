//! Articles that are made: each about a thing whose name nothing else has, with a number to look for.

use serde_json::{Value, json};

/// Syllables of names: four of them are 31 million names.
const CONSONANTS: &[u8; 15] = b"bdfgjklmnprstvz";
const VOWELS: &[u8; 5] = b"aeiou";
const SYLLABLES: u64 = 75;
const NAMES: u64 = SYLLABLES * SYLLABLES * SYLLABLES * SYLLABLES;

/// Without a factor in common with [`NAMES`], so that it is a permutation: neighbours get names that are not alike.
const SCATTER: u64 = 19_999_999;

const KINDS: [&str; 8] = ["kettle", "lamp", "bicycle", "printer", "heater", "camera", "tent", "blender"];
const SUBJECTS: [&str; 8] = [
    "Delivery takes two working days, and the courier sends a message an hour before.",
    "It can be returned within thirty days, in its box and with the receipt.",
    "The battery lasts about nine hours and charges in less than two.",
    "Wash it by hand with lukewarm water; never use anything that scratches.",
    "Spare parts are sold in the shop and sent without postage.",
    "A technician can look at it in most towns, by appointment.",
    "It comes in blue, green and grey, and weighs less than three kilograms.",
    "The manual is in the box, and in eleven languages on the website.",
];

/// An article, whatever its version.
#[derive(Debug, Clone)]
pub(super) struct Article {
    pub(super) external_id: String,
    pub(super) name: String,
    number: u64,
}

impl Article {
    /// `number` of the run `run`; `name` of all numbers that there are.
    pub(super) fn new(run: &str, name: u64, number: u64) -> Self {
        Self { external_id: format!("{run}/{number}"), name: named(name), number }
    }

    /// What only this version of it says.
    pub(super) fn fact(&self, version: u64) -> String {
        let mixed = (self.number * 2 + version + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        format!("{}-{}", 10_000 + (mixed >> 20) % 90_000, 10_000 + (mixed >> 42) % 90_000)
    }

    /// Asks for the fact.
    pub(super) fn question(&self) -> String {
        format!("What is the warranty number of the {}?", self.name)
    }

    /// Its fields.
    pub(super) fn body(&self, version: u64) -> Value {
        let of = |list: &[&'static str; 8], shift: u64| list[((self.number >> shift) % 8) as usize];
        let (name, kind, fact) = (&self.name, of(&KINDS, 0), self.fact(version));
        let (first, second) = (of(&SUBJECTS, 1), of(&SUBJECTS, 3));
        json!({
            "title": format!("The {name} {kind}"),
            "format": "markdown",
            "language": "en",
            "content": format!("The {name} is a {kind} for every day. {first} {second}\n\n\
                The warranty number of the {name} is {fact}. Keep it with the receipt."),
        })
    }

    /// As a line of an import.
    pub(super) fn line(&self, version: u64) -> Value {
        let mut line = self.body(version);
        line["external_id"] = self.external_id.as_str().into();
        line
    }
}

fn named(number: u64) -> String {
    let mut left = (number % NAMES) * SCATTER % NAMES;
    let mut name = String::new();
    for _ in 0..4 {
        let syllable = (left % SYLLABLES) as usize;
        left /= SYLLABLES;
        name.push(char::from(CONSONANTS[syllable / VOWELS.len()]));
        name.push(char::from(VOWELS[syllable % VOWELS.len()]));
    }
    // No ending that grammar takes off.
    name.push('x');
    name[..1].to_uppercase() + &name[1..]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_articles_have_a_name_or_a_fact_in_common() {
        let names: HashSet<String> = (0..100_000).map(named).collect();
        assert_eq!(names.len(), 100_000);
        let article = Article::new("run", 5, 5);
        assert_ne!(article.fact(0), article.fact(1));
        assert!(article.body(1)["content"].as_str().unwrap().contains(&article.fact(1)));
    }
}
