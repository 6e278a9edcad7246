//! What customers and agents are told of a handover, in the conversation's language.

use std::fmt::Write;

use super::HandoverReason;
use crate::{
    answer::{Citation, Language},
    conversation::record::Customer,
    organization::{NextOpening, OpensOn},
};

/// Characters of a name, an address or a title in a summary.
const DETAIL_LONGEST: usize = 100;

/// The sentences of one language.
#[derive(Debug)]
pub(in crate::conversation) struct Phrases {
    /// To a customer who asked for a person: one was asked.
    pub(in crate::conversation) asked: &'static str,
    /// The same when one had been asked before.
    pub(in crate::conversation) asked_before: &'static str,
    closed: &'static str,
    back: [&'static str; 3],
    weekdays: [&'static str; 7],
    /// Nobody came in time.
    pub(in crate::conversation) expired: &'static str,
    /// The person has gone, and the AI answers again: what stands in history between the two.
    pub(in crate::conversation) boundary: &'static str,
    reasons: [&'static str; 5],
    question: &'static str,
    tried: &'static str,
    nothing_found: &'static str,
    customer: &'static str,
}

impl Phrases {
    /// In that language.
    pub(in crate::conversation) fn of(language: Language) -> &'static Self {
        match language {
            Language::Dutch => &DUTCH,
            Language::English => &ENGLISH,
            Language::French => &FRENCH,
            Language::German => &GERMAN,
        }
    }

    /// To a customer who asked for a person when none is there.
    pub(in crate::conversation) fn closed(&self, next: Option<&NextOpening>) -> String {
        let mut text = self.closed.to_owned();
        if let Some(NextOpening { day, time }) = next {
            let (sentence, day) = match day {
                OpensOn::Today => (self.back[0], ""),
                OpensOn::Tomorrow => (self.back[1], ""),
                OpensOn::Weekday(weekday) => (self.back[2], self.weekdays[*weekday as usize]),
            };
            text.push(' ');
            text.push_str(&sentence.replace("{day}", day).replace("{time}", time));
        }
        text
    }

    /// What an agent should know first, told without a model.
    pub(super) fn summary(
        &self,
        reason: HandoverReason,
        question: Option<&str>,
        tried: &[Citation],
        customer: &Customer,
    ) -> String {
        let mut text = self.reasons[reason as usize].to_owned();
        // Writing to a string does not fail.
        if let Some(question) = question {
            let _ = write!(text, "\n{}: {question}", self.question);
        }
        let titles: Vec<_> = tried.iter().map(|citation| short(&citation.title)).collect();
        let titles = if titles.is_empty() { self.nothing_found.to_owned() } else { titles.join("; ") };
        let _ = write!(text, "\n{}: {titles}", self.tried);
        let Customer { id, name, email } = customer;
        let details: Vec<_> = [name, email, id].into_iter().flatten().map(|detail| short(detail)).collect();
        if !details.is_empty() {
            let _ = write!(text, "\n{}: {}", self.customer, details.join(", "));
        }
        text
    }
}

/// The language that the conversation names, else the one of the first of these texts that tells.
pub(in crate::conversation) fn language_of<'t>(
    named: Option<&str>,
    mut texts: impl Iterator<Item = &'t str>,
) -> Option<Language> {
    named.and_then(Language::parse).or_else(|| texts.find_map(Language::detect))
}

fn short(text: &str) -> String {
    match text.char_indices().nth(DETAIL_LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

static ENGLISH: Phrases = Phrases {
    asked: "I have asked a colleague to help you. You can go on writing here in the meantime.",
    asked_before: "A colleague has been asked already and will join as soon as possible.",
    closed: "I'm sorry, none of my colleagues is available right now.",
    back: [
        "They are back today at {time}.",
        "They are back tomorrow at {time}.",
        "They are back on {day} at {time}.",
    ],
    weekdays: ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    expired: "I'm sorry, no colleague has been able to join so far. You can leave your question here, or go on asking \
              me.",
    boundary: "The conversation with our colleague has ended. The assistant answers again.",
    reasons: [
        "The customer asked for a person.",
        "The assistant was twice not sure of its answer.",
        "The assistant's answer failed.",
        "A person was asked for by a program.",
        "A rule asked for a person.",
    ],
    question: "Question",
    tried: "Tried",
    nothing_found: "nothing that answers it was found",
    customer: "Customer",
};

static DUTCH: Phrases = Phrases {
    asked: "Ik heb een collega gevraagd om je te helpen. Je kunt hier intussen gewoon verder schrijven.",
    asked_before: "Er is al een collega gevraagd; die komt zo snel mogelijk.",
    closed: "Sorry, op dit moment is geen van mijn collega's bereikbaar.",
    back: [
        "Ze zijn er vandaag om {time} weer.",
        "Ze zijn er morgen om {time} weer.",
        "Ze zijn er {day} om {time} weer.",
    ],
    weekdays: ["maandag", "dinsdag", "woensdag", "donderdag", "vrijdag", "zaterdag", "zondag"],
    expired: "Sorry, er kon nog geen collega aansluiten. Je kunt je vraag hier achterlaten of verder met mij praten.",
    boundary: "Het gesprek met onze collega is afgelopen. De assistent antwoordt weer.",
    reasons: [
        "De klant vroeg om een medewerker.",
        "De assistent was twee keer niet zeker van het antwoord.",
        "Het antwoord van de assistent mislukte.",
        "Een programma vroeg om een medewerker.",
        "Een regel vroeg om een medewerker.",
    ],
    question: "Vraag",
    tried: "Geprobeerd",
    nothing_found: "er is niets gevonden dat antwoord geeft",
    customer: "Klant",
};

static FRENCH: Phrases = Phrases {
    asked: "J'ai demandé à un collègue de vous aider. Vous pouvez continuer à écrire ici en attendant.",
    asked_before: "Un collègue a déjà été prévenu et vous rejoindra dès que possible.",
    closed: "Je suis désolé, aucun de mes collègues n'est disponible pour le moment.",
    back: [
        "Ils seront de retour aujourd'hui à {time}.",
        "Ils seront de retour demain à {time}.",
        "Ils seront de retour {day} à {time}.",
    ],
    weekdays: ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"],
    expired: "Je suis désolé, aucun collègue n'a pu vous rejoindre jusqu'ici. Vous pouvez laisser votre question ici \
              ou continuer avec moi.",
    boundary: "La conversation avec notre collègue est terminée. L'assistant répond de nouveau.",
    reasons: [
        "Le client a demandé à parler à une personne.",
        "L'assistant n'était pas sûr de sa réponse, deux fois de suite.",
        "La réponse de l'assistant a échoué.",
        "Un programme a demandé une personne.",
        "Une règle a demandé une personne.",
    ],
    question: "Question",
    tried: "Essayé",
    nothing_found: "rien qui y réponde n'a été trouvé",
    customer: "Client",
};

static GERMAN: Phrases = Phrases {
    asked: "Ich habe eine Kollegin oder einen Kollegen gebeten, Ihnen zu helfen. Sie können hier inzwischen \
            weiterschreiben.",
    asked_before: "Es ist schon jemand aus unserem Team gefragt und kommt so bald wie möglich dazu.",
    closed: "Leider ist gerade niemand aus unserem Team erreichbar.",
    back: [
        "Heute um {time} Uhr ist wieder jemand da.",
        "Morgen um {time} Uhr ist wieder jemand da.",
        "Am {day} um {time} Uhr ist wieder jemand da.",
    ],
    weekdays: ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"],
    expired: "Leider konnte bisher niemand aus unserem Team dazukommen. Sie können Ihre Frage hier hinterlassen oder \
              weiter mit mir schreiben.",
    boundary: "Das Gespräch mit unserem Team ist beendet. Der Assistent antwortet wieder.",
    reasons: [
        "Der Kunde wünscht einen Menschen.",
        "Der Assistent war sich zweimal nacheinander nicht sicher.",
        "Die Antwort des Assistenten ist fehlgeschlagen.",
        "Ein Programm hat einen Menschen angefordert.",
        "Eine Regel hat einen Menschen angefordert.",
    ],
    question: "Frage",
    tried: "Versucht",
    nothing_found: "es wurde nichts gefunden, das sie beantwortet",
    customer: "Kunde",
};
