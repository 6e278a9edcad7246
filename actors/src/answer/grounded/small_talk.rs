//! Greetings, thanks and goodbyes, which no article answers.

use super::phrases::Phrases;
use super::{Composed, Outcome};
use crate::knowledge::language::Language;

/// Longer messages say something besides.
const MAX_WORDS: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Talk {
    Greeting,
    Thanks,
    Goodbye,
}

/// The words of one kind of talk in one language: a message of nothing but these, at least one of them telling.
struct Vocabulary {
    language: Language,
    talk: Talk,
    telling: &'static str,
    beside: &'static str,
}

const fn says(language: Language, talk: Talk, telling: &'static str, beside: &'static str) -> Vocabulary {
    Vocabulary { language, talk, telling, beside }
}

static VOCABULARIES: [Vocabulary; 12] = [
    says(
        Language::English,
        Talk::Greeting,
        "hi hello hey morning afternoon evening",
        "good there you all everyone",
    ),
    says(
        Language::Dutch,
        Talk::Greeting,
        "hallo hoi hey goedemorgen goedemiddag goedenavond goedendag",
        "daar allemaal",
    ),
    says(Language::German, Talk::Greeting, "hallo hi moin servus guten grüezi", "tag morgen abend zusammen"),
    says(Language::French, Talk::Greeting, "bonjour bonsoir salut coucou", "à tous madame monsieur"),
    says(
        Language::English,
        Talk::Thanks,
        "thanks thank thx ty cheers",
        "you very much so a lot many ok okay great perfect super that's all for your help the",
    ),
    says(
        Language::Dutch,
        Talk::Thanks,
        "bedankt dank dankje dankjewel dankuwel",
        "je wel u hartelijk heel erg ok oké prima super top voor de hulp",
    ),
    says(
        Language::German,
        Talk::Thanks,
        "danke dank dankeschön",
        "vielen schön sehr ihnen dir ok okay super prima für die hilfe",
    ),
    says(Language::French, Talk::Thanks, "merci", "beaucoup bien à vous ok super parfait pour votre aide"),
    says(
        Language::English,
        Talk::Goodbye,
        "bye goodbye cya",
        "good for now see you later thanks have a nice day",
    ),
    says(Language::Dutch, Talk::Goodbye, "doei doeg dag ziens", "tot fijne nog een bedankt"),
    says(Language::German, Talk::Goodbye, "tschüss tschüs wiedersehen ciao", "auf danke schönen tag noch"),
    says(Language::French, Talk::Goodbye, "revoir ciao", "au merci bonne journée"),
];

/// The reply to a message that is small talk and nothing else, in `language` if it may be that.
pub(super) fn reply(message: &str, language: Option<Language>) -> Option<Composed> {
    let (said_in, talk) = recognise(message, language)?;
    let phrases = Phrases::of(language.unwrap_or(said_in));
    let text = match talk {
        Talk::Greeting => phrases.greeting,
        Talk::Thanks => phrases.welcome,
        Talk::Goodbye => phrases.goodbye,
    };
    Some(Composed {
        text: text.to_owned(),
        outcome: Outcome::SmallTalk,
        citations: Vec::new(),
        confidence: None,
    })
}

fn recognise(message: &str, language: Option<Language>) -> Option<(Language, Talk)> {
    let lowered = message.to_lowercase().replace('’', "'");
    let words: Vec<&str> =
        lowered.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty()).collect();
    if words.is_empty() || words.len() > MAX_WORDS {
        return None;
    }
    let fits = |vocabulary: &&Vocabulary| {
        let tells = |word: &&&str| vocabulary.telling.split(' ').any(|known| known == **word);
        let known = |word: &&str| tells(&word) || vocabulary.beside.split(' ').any(|known| known == *word);
        words.iter().any(|word| tells(&word)) && words.iter().all(known)
    };
    let fitting = || VOCABULARIES.iter().filter(fits);
    let own = fitting().find(|vocabulary| Some(vocabulary.language) == language);
    own.or_else(|| fitting().next()).map(|vocabulary| (vocabulary.language, vocabulary.talk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_talk_is_recognised_in_four_languages() {
        for (message, language, talk) in [
            ("Hi!", Language::English, Talk::Greeting),
            ("good morning", Language::English, Talk::Greeting),
            ("Goedemiddag", Language::Dutch, Talk::Greeting),
            ("Guten Tag", Language::German, Talk::Greeting),
            ("Bonjour !", Language::French, Talk::Greeting),
            ("ok, thanks a lot", Language::English, Talk::Thanks),
            ("Dank je wel", Language::Dutch, Talk::Thanks),
            ("Vielen Dank!", Language::German, Talk::Thanks),
            ("merci beaucoup", Language::French, Talk::Thanks),
            ("bye", Language::English, Talk::Goodbye),
            ("Tot ziens", Language::Dutch, Talk::Goodbye),
            ("Auf Wiedersehen", Language::German, Talk::Goodbye),
            ("au revoir", Language::French, Talk::Goodbye),
        ] {
            assert_eq!(recognise(message, None), Some((language, talk)), "{message}");
        }
        assert_eq!(recognise("hallo", Some(Language::German)), Some((Language::German, Talk::Greeting)));
    }

    #[test]
    fn a_question_with_manners_is_still_a_question() {
        for message in
            ["Hi, where is my parcel?", "thanks, and the refund?", "good", "", "?!", "see you in the shop"]
        {
            assert_eq!(recognise(message, None), None, "{message}");
        }
    }
}
