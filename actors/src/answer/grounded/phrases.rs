//! What the builtin answerer says in its own words.

use crate::knowledge::language::Language;

/// The sentences of one language.
#[derive(Debug)]
pub(super) struct Phrases {
    pub(super) may_help: &'static str,
    pub(super) do_not_know: &'static str,
    pub(super) offer_person: &'static str,
    pub(super) greeting: &'static str,
    pub(super) welcome: &'static str,
    pub(super) goodbye: &'static str,
}

impl Phrases {
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::Dutch => &DUTCH,
            Language::English => &ENGLISH,
            Language::French => &FRENCH,
            Language::German => &GERMAN,
        }
    }
}

static ENGLISH: Phrases = Phrases {
    may_help: "I am not sure, but I may have found this:",
    do_not_know: "I'm sorry, I don't know the answer to that.",
    offer_person: "Shall I ask a colleague to help you?",
    greeting: "Hello! How can I help you?",
    welcome: "You're welcome! Is there anything else I can help you with?",
    goodbye: "Goodbye, and have a nice day!",
};

static DUTCH: Phrases = Phrases {
    may_help: "Ik weet het niet zeker, maar misschien helpt dit:",
    do_not_know: "Sorry, daar weet ik het antwoord niet op.",
    offer_person: "Zal ik een collega vragen om je te helpen?",
    greeting: "Hallo! Waar kan ik je mee helpen?",
    welcome: "Graag gedaan! Kan ik je nog ergens anders mee helpen?",
    goodbye: "Tot ziens, en een fijne dag!",
};

static FRENCH: Phrases = Phrases {
    may_help: "Je n'en suis pas sûr, mais ceci peut vous aider :",
    do_not_know: "Je suis désolé, je ne connais pas la réponse à cette question.",
    offer_person: "Voulez-vous que je demande à un collègue de vous aider ?",
    greeting: "Bonjour ! Comment puis-je vous aider ?",
    welcome: "Avec plaisir ! Puis-je vous aider pour autre chose ?",
    goodbye: "Au revoir et bonne journée !",
};

static GERMAN: Phrases = Phrases {
    may_help: "Ich bin nicht sicher, aber vielleicht hilft Ihnen das:",
    do_not_know: "Das weiß ich leider nicht.",
    offer_person: "Soll ich eine Kollegin oder einen Kollegen bitten, Ihnen zu helfen?",
    greeting: "Hallo! Wie kann ich Ihnen helfen?",
    welcome: "Gern geschehen! Kann ich Ihnen sonst noch helfen?",
    goodbye: "Auf Wiedersehen und einen schönen Tag!",
};
