//! What must ask for a person, and what must not.

use super::*;

const ASKS: [(Language, &[&str]); 4] = [
    (
        Language::English,
        &[
            "I want to talk to a human",
            "I'd like to speak with a real person please",
            "Can I talk to someone about my refund?",
            "Could I please speak to a representative?",
            "let me talk to an agent",
            "Connect me with a human.",
            "Put me through to customer service",
            "put me through!",
            "Please transfer me to a live agent",
            "I need a human",
            "Give me a person, please",
            "human please",
            "Real person!",
            "agent",
            "Is there someone I can talk to?",
            "Can someone call me back?",
            "Could a colleague help me?",
            "This is useless. I want to speak to your manager",
            "No, I want a human",
            "Why can't I talk to a human?",
            "How do I get through to a person?",
            "I would rather talk to a person",
            "escalate this please",
            "Hi, may I speak to a member of staff about order 88?",
            "SPEAK TO AN AGENT",
        ],
    ),
    (
        Language::Dutch,
        &[
            "kan ik iemand spreken",
            "Ik wil een medewerker spreken",
            "Ik wil graag met een mens praten",
            "Kan ik met iemand praten over mijn bestelling?",
            "Mag ik een medewerker?",
            "verbind me door",
            "Verbind mij door met een collega alstublieft",
            "Kunt u mij doorverbinden?",
            "Ik wil een echt mens",
            "medewerker graag",
            "echte persoon aub",
            "Kan iemand mij bellen?",
            "Nee, ik wil een medewerker",
            "Waarom kan ik niet met een mens praten?",
            "Is er iemand met wie ik kan praten?",
            "Zou ik even iemand van de klantenservice kunnen spreken?",
            "Ik wil contact met een medewerker",
            "Hoe kan ik een medewerker bereiken?",
        ],
    ),
    (
        Language::German,
        &[
            "Ich möchte mit einem Menschen sprechen",
            "Kann ich bitte mit jemandem reden?",
            "Kann ich einen Mitarbeiter sprechen?",
            "Verbinden Sie mich bitte mit einem Mitarbeiter",
            "Bitte verbinden Sie mich weiter",
            "Können Sie mich durchstellen?",
            "Ich will einen echten Menschen",
            "Mitarbeiter bitte",
            "Kann mich jemand anrufen?",
            "Geben Sie mir einen Kundenberater",
            "Nein, ich möchte mit einem Berater sprechen",
            "Warum kann ich nicht mit einem Menschen sprechen?",
            "Gibt es jemanden, mit dem ich sprechen kann? Ich würde gerne mit jemandem sprechen",
        ],
    ),
    (
        Language::French,
        &[
            "Je voudrais parler à un conseiller",
            "Puis-je parler à quelqu'un ?",
            "J'aimerais parler avec une vraie personne",
            "Est-il possible de parler à un humain ?",
            "Passez-moi un conseiller",
            "Mettez-moi en relation avec un agent s'il vous plaît",
            "Je veux un humain",
            "conseiller svp",
            "Un vrai humain s'il vous plaît",
            "Quelqu'un peut-il m'appeler ?",
            "Non, je veux parler à un agent",
            "Pourquoi je ne peux pas parler à un humain ?",
            "Transférez-moi vers le service client",
        ],
    ),
];

const DOES_NOT: [(Language, &[&str]); 4] = [
    (
        Language::English,
        &[
            "is this product made by humans?",
            "I spoke to a person yesterday",
            "Are you a human?",
            "Am I talking to a human?",
            "I talked to an agent last week and she said it was fine",
            "I don't want to talk to a human",
            "No need to talk to an agent",
            "I'd rather not speak to someone",
            "Can I return a gift to someone else?",
            "How many people work for you?",
            "Can your phones connect to a speaker?",
            "How do I connect to the wifi?",
            "I want to become an agent",
            "Is the agent's fee included?",
            "Give me the person's name",
            "Does the desk fit one person?",
            "Is this a human hair wig?",
            "I need a present for a person who has everything",
            "My colleague needs an invoice",
            "Can I transfer my order to another address?",
            "Can someone else pick up my parcel?",
            "Where is my parcel?",
            "",
        ],
    ),
    (
        Language::Dutch,
        &[
            "Is dit product door mensen gemaakt?",
            "Ik heb gisteren iemand gesproken",
            "Ik heb met een medewerker gepraat",
            "Spreek ik met een mens?",
            "Ben je een mens?",
            "Ik wil niet met een medewerker praten",
            "Ik hoef geen medewerker te spreken",
            "Kan ik iemand toevoegen aan mijn account?",
            "Kan ik voor iemand anders bestellen?",
            "Kan iemand anders mijn pakje ophalen?",
            "Hoe verbind ik de speaker met de telefoon?",
            "Hoeveel medewerkers hebben jullie?",
            "Is de stoel geschikt voor een persoon van 120 kilo?",
            "Wat kost verzending per persoon?",
            "Waar is mijn pakje?",
        ],
    ),
    (
        Language::German,
        &[
            "Wird das von Menschen gemacht?",
            "Ich habe gestern mit einem Mitarbeiter gesprochen",
            "Spreche ich mit einem Menschen?",
            "Bist du ein Mensch?",
            "Ich will nicht mit einem Menschen sprechen",
            "Ich brauche keinen Mitarbeiter",
            "Wie kann ich mich mit dem WLAN verbinden?",
            "Kann jemand anderes mein Paket annehmen?",
            "Wie viele Mitarbeiter haben Sie?",
            "Kann ich für eine andere Person bestellen?",
            "Wo ist mein Paket?",
        ],
    ),
    (
        Language::French,
        &[
            "Est-ce que c'est fabriqué par des humains ?",
            "J'ai parlé à quelqu'un hier",
            "Est-ce que je parle à un humain ?",
            "Êtes-vous un humain ?",
            "Je ne veux pas parler à un conseiller",
            "Je ne veux parler à personne",
            "Combien de personnes travaillent chez vous ?",
            "Puis-je commander pour une autre personne ?",
            "Quelqu'un d'autre peut-il récupérer mon colis ?",
            "Le prix est-il par personne ?",
            "Où est mon colis ?",
        ],
    ),
];

#[test]
fn what_asks_for_a_person_is_understood_in_each_language() {
    let mut missed: Vec<&str> = Vec::new();
    for (language, messages) in ASKS {
        missed.extend(
            messages.iter().copied().filter(|message| asks_for_a_person(message, &[language]).is_none()),
        );
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn what_is_about_persons_only_asks_for_nobody_in_any_language() {
    let mut found: Vec<&str> = Vec::new();
    for (_, messages) in DOES_NOT {
        found.extend(
            messages.iter().copied().filter(|message| asks_for_a_person(message, &Language::ALL).is_some()),
        );
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn only_the_languages_that_are_listened_to_count() {
    let asked = |message, languages: &[Language]| asks_for_a_person(message, languages);
    assert_eq!(asked("Ik wil een medewerker spreken", &[Language::English, Language::French]), None);
    assert_eq!(asked("I want to talk to a human", &[]), None);
    assert_eq!(asked("I want to talk to a human", &Language::ALL), Some(Language::English));
    assert_eq!(
        asked("agent", &[Language::French, Language::English]),
        Some(Language::French),
        "in their order"
    );
}

#[test]
fn a_request_at_either_end_of_a_long_text_is_found_and_the_middle_costs_little() {
    let long = "The parcel was brought to the wrong house again and nobody rang. ".repeat(400);
    let asks = "I want to talk to a human.";
    assert!(asks_for_a_person(&format!("{asks} {long}"), &Language::ALL).is_some());
    assert!(asks_for_a_person(&format!("{long} {asks}"), &Language::ALL).is_some());
    assert_eq!(asks_for_a_person(&long, &Language::ALL), None);
}

/// A mistyped piece would silently match nothing.
#[test]
fn every_phrase_is_written_in_the_language_of_phrases() {
    for language in Language::ALL {
        let source = source(language);
        for piece in source.phrases.iter().flat_map(|phrase| phrase.split(' ')) {
            assert!(!piece.is_empty(), "two blanks in a row");
            if let Some(name) = piece.strip_prefix('{').and_then(|piece| piece.split('}').next()) {
                assert!(source.classes.iter().any(|(known, _)| *known == name), "{piece}");
            }
        }
    }
}
