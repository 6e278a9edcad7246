//! The phrases by which customers ask for a person, per language.

use crate::answer::Language;

/// Of one language. An apostrophe parts words: `can't` is `can t`.
#[derive(Debug)]
pub(super) struct Source {
    /// Named sets of words.
    pub(super) classes: &'static [(&'static str, &'static str)],
    /// The classes of which every phrase has a word.
    pub(super) telling: &'static [&'static str],
    pub(super) phrases: &'static [&'static str],
    /// Words that turn a request into its opposite.
    pub(super) denials: &'static str,
    /// Rows of words in which they do not.
    pub(super) asking: &'static [&'static str],
}

pub(super) fn source(language: Language) -> &'static Source {
    match language {
        Language::English => &ENGLISH,
        Language::Dutch => &DUTCH,
        Language::German => &GERMAN,
        Language::French => &FRENCH,
    }
}

static ENGLISH: Source = Source {
    classes: &[
        // Whoever is meant by it alone, and whoever is only with a verb that says so.
        (
            "human",
            "human humans person agent agents representative rep operator advisor adviser employee colleague \
                   humanbeing",
        ),
        (
            "someone",
            "human humans person people agent agents representative rep operator advisor adviser employee \
                     colleague someone somebody staff specialist manager supervisor support service team being",
        ),
        (
            "the",
            "a an the some your any real actual live living human physical customer service support sales member \
                 of other another proper care one help desk staff",
        ),
        ("me", "me us"),
        ("polite", "please now instead asap immediately thanks thank you here right away today kindly"),
        ("way", "through transfer connect escalate"),
    ],
    telling: &["someone", "way"],
    phrases: &[
        // "I would like to talk to a human"
        "i|we|d|ll|id want|wanna|need|like|love|prefer|wish|demand|have|rather|must *3 talk|speak|chat to|with {the}*5 {someone} !s|who|fee",
        "i|we would|d|really|rather|just|need|to|will *3 talk|speak|chat to|with {the}*5 {someone} !s",
        "can|could|may|might|cannot t? i|we *4 talk|speak|chat to|with {the}*5 {someone} !s",
        "i|we can|could|may *3 talk|speak|chat to|with {the}*5 {someone} !s",
        "let {me} *2 talk|speak|chat to|with {the}*5 {someone} !s",
        "how do|can|could|to i? *2 talk|speak|chat|get to|with|through to? {the}*5 {someone} !s",
        "how do|can|could i *2 reach|contact {the}*5 {human} !s",
        "rather|prefer|like|love talking|speaking|chatting to|with {the}*5 {someone} !s",
        "^ please? talk|speak|chat to|with {the}*5 {someone} !s",
        // "Is there someone I can talk to?"
        "is|are there {the}*5 someone|somebody|anyone|anybody|person|human|agent *3 i|we can|could *2 talk|speak|chat to|with",
        "is|are there {the}*5 someone|somebody|anyone|anybody|person|human|agent to talk|speak|chat to|with",
        // "Put me through to an agent", "connect me with someone"
        "connect|transfer|forward|pass|switch|redirect|refer|route|link|hand|put|get|bring {me} *3 to|with|through {the}*5 {someone} !s",
        "put|patch|get {me} through $",
        "put|patch|get {me} through {polite}*4 $",
        "transfer|connect {me} {polite}*4 $",
        "escalate *3 to {the}*5 {someone} !s",
        "^ please? escalate this|it|my? case|ticket|conversation? {polite}*4 $",
        // "Give me a human", "I want a real person"
        "give|get|find|send {me} {the}*5 {human} !s|number|name|id|code|discount|price|for",
        "i|we|id d|would|really|just|only|do|still|urgently*4 want|need|wanna|prefer|demand|like|require to? have|get|see? {the}*5 {human} {polite}*5 $",
        "i|we|id d|would|really|just|only|do|still|urgently*4 want|need|wanna|prefer|demand|like|require {the}*5 {human} to talk|speak|help|call|assist|answer|look|take",
        "i|we|id d|would|really|just|only|do|still|urgently*4 want|need|wanna|prefer|demand|like|require someone|somebody real|human",
        "can|could|may i|we have|get {the}*5 {human} {polite}*5 $",
        "^ {polite}*2 {the}*5 human|agent|representative|operator|employee|humanbeing {polite}*5 $",
        "^ {polite}*2 real|live|actual person|people|human|being {polite}*5 $",
        // "Can someone call me?"
        "can|could|would|will|may {the}*5 {someone} *2 call|phone|ring|contact {me} !a|an|the",
        "can|could|would|will|may {the}*5 human|person|agent|representative|employee|colleague *2 help|assist|answer|join|take me|us|over|this|it",
    ],
    denials: "not don doesn didn never without no nobody won shouldn needn",
    asking: &[
        "can t i",
        "can i not",
        "why can",
        "don t you have",
        "don t know how",
        "is there no",
        "not a bot",
    ],
};

static DUTCH: Source = Source {
    classes: &[
        (
            "human",
            "medewerker medewerkster mens persoon collega agent adviseur operator klantenservicemedewerker \
                   servicemedewerker vertegenwoordiger",
        ),
        (
            "someone",
            "medewerker medewerkster mens persoon collega agent adviseur operator klantenservicemedewerker \
                     servicemedewerker vertegenwoordiger iemand klantenservice helpdesk mensen",
        ),
        (
            "the",
            "een n de het jullie uw je jouw echte echt levende menselijke van vlees en bloed andere klantenservice \
                 service der van live fysieke",
        ),
        ("me", "me mij ons"),
        (
            "just",
            "graag even liever nu toch gewoon echt nog weer heel alleen misschien een keer maar eens wel direct ook \
                  alstublieft alsjeblieft aub a u b svp snel meteen heel erg",
        ),
        ("way", "door doorverbinden doorverbonden doorverbind"),
    ],
    telling: &["someone", "way"],
    phrases: &[
        // "Ik wil graag met een medewerker praten", "kan ik iemand spreken"
        "ik|we|wij wil|wilde|wou|zou|moet|kan|mag|willen|zouden|kunnen|mogen|moeten {just}*5 met|aan? {the}*5 {someone} *5 praten|spreken|chatten|bellen|overleggen|bereiken",
        "kan|kunnen|mag|mogen|zou|zouden|wil|kon ik|we|wij|u|je|men {just}*5 niet? {just}*3 met|aan? {the}*5 {someone} *5 praten|spreken|chatten|bellen|overleggen|bereiken",
        "hoe kan|kom ik *3 met|bij|aan? {the}*5 {someone} *3 praten|spreken|bereiken|contact",
        "hoe bereik|spreek ik *3 {the}*5 {someone}",
        "kan|mag|zou ik *3 praten|spreken|chatten met {the}*5 {someone}",
        "ik|we|wij wil|zou|willen *3 contact met {the}*5 {someone}",
        // "Verbind me door"
        "verbind {me} *2 door",
        "verbind {me} *3 met {the}*5 {someone}",
        "{me} *5 doorverbinden",
        "doorverbonden worden",
        "^ {just}*2 doorverbinden {just}*5 $",
        "doorverbinden met|naar {the}*5 {someone}",
        // "Ik wil een mens", "mag ik een medewerker"
        "ik|we|wij wil|wilde|willen|zou|verwacht {just}*5 {the}*5 {human} {just}*5 hebben|zien|krijgen? {just}*5 $",
        "mag|kan|krijg ik|we {just}*4 {the}*5 {human} {just}*5 hebben|krijgen? {just}*5 $",
        "geef|stuur|haal {me} {just}*3 {the}*5 {human}",
        "^ {just}*3 {the}*5 mens|medewerker|medewerkster|collega|agent|klantenservicemedewerker {just}*5 $",
        "^ {just}*3 echte|echt|menselijke persoon|mens|medewerker {just}*5 $",
        "^ {just}*3 {the}*5 {someone} {just}*3 spreken {just}*3 $",
        "^ {just}*3 praten|spreken|chatten met {the}*5 {someone}",
        "^ {just}*3 met {the}*5 {someone} {just}*3 praten|spreken|chatten",
        // "Kan iemand mij bellen?"
        "kan|kunnen|wil|zou er? {the}*5 {someone} *3 {me} *3 bellen|terugbellen|opbellen|contacteren",
        "kan|kunnen|wil|zou er? {the}*5 {human} *3 helpen|meekijken|overnemen|antwoorden|reageren",
        "is|zijn er {the}*5 {someone} *4 praten|spreken|chatten",
        "is|zijn er {the}*5 {someone} *3 waarmee|wie ik",
    ],
    denials: "niet geen nooit zonder hoef hoeft niemand",
    asking: &["kan ik niet", "mag ik niet", "kunnen we niet", "waarom kan ik", "is er niet", "is er geen"],
};

static GERMAN: Source = Source {
    classes: &[
        (
            "human",
            "mensch menschen person mitarbeiter mitarbeiterin mitarbeitern kollege kollegen kollegin berater \
                   beraterin agent agenten kundenberater kundenberaterin sachbearbeiter kundendienstmitarbeiter",
        ),
        (
            "someone",
            "mensch menschen person mitarbeiter mitarbeiterin mitarbeitern kollege kollegen kollegin berater \
                     beraterin agent agenten kundenberater kundenberaterin sachbearbeiter kundendienstmitarbeiter \
                     jemand jemandem jemanden kundenservice kundendienst support",
        ),
        (
            "the",
            "einem einen einer eine ein dem den der die das echten echter echte echtem richtigen richtiger realen \
                 lebenden menschlichen ihrem ihren ihrer eurem euren anderen vom von aus kundenservice service team",
        ),
        ("me", "mich uns mir"),
        (
            "just",
            "bitte gerne gern mal lieber jetzt auch endlich direkt einfach kurz doch nur sofort dringend wirklich \
                  einmal danke",
        ),
        ("way", "durchstellen weiterverbinden durchgestellt weiterverbunden verbinden verbinde"),
    ],
    telling: &["someone", "way"],
    phrases: &[
        // "Ich möchte mit einem Menschen sprechen", "kann ich jemanden sprechen"
        "ich|wir möchte|möchten|will|wollen|würde|würden|muss|müssen|kann|könnte|darf|wünsche {just}*5 mit|zu? {the}*5 {someone} *5 sprechen|reden|chatten|telefonieren|schreiben|erreichen",
        "kann|könnte|könnten|können|darf|dürfte|dürfen|möchte|will ich|wir|man {just}*5 nicht? {just}*3 mit|zu? {the}*5 {someone} *5 sprechen|reden|chatten|telefonieren|schreiben|erreichen",
        "wie kann ich *3 {the}*5 {someone} *4 sprechen|reden|erreichen",
        "wie erreiche ich *3 {the}*5 {someone}",
        // "Verbinden Sie mich bitte"
        "verbinden sie {me} *3 mit {the}*5 {someone}",
        "verbinde {me} *3 mit {the}*5 {someone}",
        "verbinden sie {me} {just}*4 weiter? {just}*3 $",
        "verbinde {me} {just}*4 weiter? {just}*3 $",
        "{me} *3 mit {the}*5 {someone} {just}*2 verbinden",
        "{me} *4 durchstellen|weiterverbinden",
        "durchgestellt|weiterverbunden werden",
        // "Ich will einen Menschen"
        "ich|wir möchte|möchten|will|wollen|brauche|brauchen|hätte|verlange|wünsche {just}*5 {the}*5 {human} {just}*5 haben|sprechen? {just}*4 $",
        "geben|holen|gib|hol|schicken sie? mir|uns? {just}*3 {the}*5 {human}",
        "^ {just}*3 {the}*5 mensch|mitarbeiter|mitarbeiterin|kundenberater|berater {just}*5 $",
        "^ {just}*3 echter|echte|richtiger|menschlicher {the}*3 mensch|person|mitarbeiter|kontakt {just}*5 $",
        "^ {just}*3 mit {the}*5 {someone} {just}*3 sprechen|reden|chatten|verbinden",
        // "Kann mich jemand anrufen?"
        "kann|könnte|könnten|können {me} {just}*3 {the}*5 {someone} *3 anrufen|zurückrufen|kontaktieren",
        "kann|könnte {the}*5 {someone} {me} *3 anrufen|zurückrufen|kontaktieren",
        "kann|könnte {me}? {just}*3 {the}*5 {human} {me}? *2 helfen|übernehmen|antworten",
        "gibt es {the}*5 {someone} *2 mit dem|der|denen ich",
        "ist {the}*5 {someone} da|erreichbar *2 mit dem|der",
    ],
    denials: "nicht kein keine keinen keinem keiner nie niemals ohne niemand",
    asking: &[
        "kann ich nicht",
        "kann man nicht",
        "darf ich nicht",
        "warum kann ich",
        "gibt es keinen",
        "gibt es keine",
    ],
};

static FRENCH: Source = Source {
    classes: &[
        (
            "human",
            "humain humaine personne conseiller conseillère conseillere agent agente employé employée collègue \
                   opérateur opératrice interlocuteur représentant",
        ),
        (
            "someone",
            "humain humaine personne conseiller conseillère conseillere agent agente employé employée collègue \
                     opérateur opératrice interlocuteur représentant un responsable clients client clientèle technicien",
        ),
        (
            "the",
            "un une le la l d de des du vrai vraie véritable réel réelle être votre vos autre service client \
                 clientèle membre équipe quelqu",
        ),
        ("me", "me m moi nous"),
        ("polite", "s il vous te plaît plait svp stp merci maintenant bitte bonjour"),
        ("way", "relation contact transférez transférer passez passer parler quelqu"),
    ],
    telling: &["someone", "way"],
    phrases: &[
        // "Je voudrais parler à un conseiller", "puis-je parler à quelqu'un"
        "veux|voudrais|voudrions|aimerais|aimerions|souhaite|souhaiterais|souhaitons|préfère|préférerais|peux|puis|pourrais|dois|faut|possible|demande|besoin|peut|pouvons *4 parler|discuter|échanger|chatter|communiquer à|a|avec|au {the}*6 {someone}",
        "comment *3 parler|joindre|contacter à|a|avec|au? {the}*6 {human}",
        "^ {polite}*5 parler|discuter à|a|avec|au {the}*6 {someone}",
        // "Passez-moi un conseiller", "mettez-moi en relation avec ..."
        "passez|passe moi|nous {the}*5 {human}",
        "passez|passe moi|nous quelqu un",
        "transférez|transfère|redirigez|dirigez moi|nous *2 à|a|vers|au|avec {the}*6 {someone}",
        "{me} transférer|passer|rediriger *1 à|a|vers|au? {the}*6 {human}",
        "mis|mise|mettre|mettez|mets *2 en relation|contact avec {the}*6 {someone}",
        // "Je veux un humain"
        "je|j|nous veux|voudrais|aimerais|souhaite|exige|demande|voulons|préfère *1 {the}*5 {human} {polite}*6 $",
        "besoin d|de {the}*4 {human} {polite}*6 $",
        "^ {polite}*6 {the}*5 humain|conseiller|conseillère|agent|opérateur {polite}*6 $",
        "^ {polite}*6 un|une? vrai|vraie|véritable personne|humain|conseiller {polite}*6 $",
        // "Quelqu'un peut-il m'appeler ?"
        "quelqu un peut|pourrait il? {me} appeler|rappeler|contacter|téléphoner",
        "un|une {the}*2 {human} peut|pourrait il|elle? {me} *1 appeler|rappeler|contacter|aider|répondre",
        "y a t il|on {the}*5 {someone} *2 qui *3 parler",
        "y a t il {the}*5 {someone} *2 qui peut|pourrait|puisse *2 parler|répondre|aider",
    ],
    denials: "ne n pas jamais sans aucun aucune",
    asking: &["puis je pas", "peut on pas", "pourquoi", "n y a t il"],
};
