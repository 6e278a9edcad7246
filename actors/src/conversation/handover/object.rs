//! What an agent is shown of a handover: everything needed to go on with the customer, in at most 64 KiB.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{
    Around, Handover, HandoverReason, HandoverState, Phrases, language_of, words::asks_for_a_person,
};
use crate::{
    answer::{Citation, Language},
    clock::Timestamp,
    conversation::record::{Author, Conversation, Customer, Message, Role},
    ids::{ConversationId, HandoverId, MessageId},
};

/// The last messages that are shown.
pub(in crate::conversation) const TAIL: usize = 20;

/// Characters of each message, of the last question and of a citation's passage.
const TEXT_LONGEST: usize = 1_000;

/// Words of a request for a person that says nothing besides: "I want to talk to a real person, please".
const BARE_REQUEST_LONGEST: usize = 9;

/// Citations shown: what the last answers rested on.
const CITATIONS_MOST: usize = 10;

/// Receivers take bodies up to 64 KiB. The envelope around the object has some 400 bytes.
const OBJECT_LARGEST: usize = 64 * 1024 - 1_024;

/// The part of it that citations may fill up to, so that there is room for messages.
const WITH_CITATIONS_LARGEST: usize = 40 * 1024;

/// A handover as it stands in events, in webhooks and in `GET /v1/handovers`. What it shows of the conversation is as
/// of its last event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the wire, and of Handover")]
pub struct HandoverObject {
    pub id: HandoverId,
    pub conversation_id: ConversationId,
    pub state: HandoverState,
    pub reason: HandoverReason,
    pub target: Option<String>,
    pub note: Option<String>,
    pub summary: Option<String>,
    pub messages: Vec<ShownMessage>,
    pub customer: Customer,
    pub channel: String,
    pub topic: Option<String>,
    pub language: Option<String>,
    pub last_question: Option<String>,
    pub citations: Vec<Citation>,
    pub confidence: Option<f64>,
    pub agent: Option<Author>,
    pub requested_at: Timestamp,
    pub accepted_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub accept_url: Option<String>,
    pub conversation_url: Option<String>,
    pub console_url: Option<String>,
}

/// A message as an agent sees it in a handover.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownMessage {
    /// Its id: the whole of it is in the conversation.
    pub id: MessageId,
    /// Of its event.
    pub sequence: i64,
    /// Who wrote it.
    pub role: Role,
    /// Its first 1,000 characters.
    pub content: String,
    /// There are more of them.
    pub truncated: bool,
    /// The agent.
    pub author: Option<Author>,
    /// When it was stored.
    pub created_at: Timestamp,
}

impl HandoverObject {
    /// As of now: `said` is what was said last, oldest first.
    pub(in crate::conversation) fn of(
        conversation: &Conversation,
        handover: &Handover,
        around: &Around,
        said: &[&Message],
    ) -> Self {
        let details = &conversation.details;
        let language = language_of(details.language.as_deref(), customers_words(said));
        let phrases = Phrases::of(language.unwrap_or(Language::DEFAULT));
        let question = last_question(said).map(|message| cut(&message.content).0);
        let tried = citations(said);
        let link = |path: String| around.public_url.as_deref().map(|url| format!("{url}{path}"));
        let Handover { id, state, reason, requested_at, accepted_at, ended_at, expires_at, .. } = *handover;
        let mut object = Self {
            id,
            conversation_id: conversation.id,
            state,
            reason,
            target: handover.target.clone(),
            note: handover.note.clone(),
            summary: Some(phrases.summary(reason, question.as_deref(), &tried, &details.customer)),
            messages: Vec::new(),
            customer: details.customer.clone(),
            channel: details.channel.clone(),
            topic: details.topic.clone(),
            language: details
                .language
                .clone()
                .or_else(|| language.map(|language| language.code().to_owned())),
            last_question: question,
            citations: Vec::new(),
            confidence: said.iter().rev().find_map(|message| message.confidence),
            agent: handover.agent.clone(),
            requested_at,
            accepted_at,
            ended_at,
            expires_at,
            accept_url: link(format!("/v1/handovers/{id}/accept")),
            conversation_url: link(format!("/v1/conversations/{}", conversation.id)),
            console_url: link(format!("/#/handovers/{id}")),
        };
        object.fill(tried, said);
        object
    }

    /// Adds citations, then messages from the last one back, while there is room.
    fn fill(&mut self, tried: Vec<Citation>, said: &[&Message]) {
        let mut size = size_of(self);
        for citation in tried {
            size += size_of(&citation) + 1;
            if size > WITH_CITATIONS_LARGEST {
                break;
            }
            self.citations.push(citation);
        }
        let mut size = size_of(self);
        for message in said.iter().rev().take(TAIL) {
            let shown = ShownMessage::of(message);
            size += size_of(&shown) + 1;
            if size > OBJECT_LARGEST {
                break;
            }
            self.messages.push(shown);
        }
        self.messages.reverse();
    }
}

impl ShownMessage {
    fn of(message: &Message) -> Self {
        let (content, truncated) = cut(&message.content);
        Self {
            id: message.id,
            sequence: message.sequence,
            role: message.role,
            content,
            truncated,
            author: message.author.clone(),
            created_at: message.created_at,
        }
    }
}

/// As JSON. Our own types always serialize.
fn size_of<T: Serialize>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX / 2, |json| json.len())
}

/// The first 1,000 characters, and whether there are more.
fn cut(text: &str) -> (String, bool) {
    match text.char_indices().nth(TEXT_LONGEST) {
        Some((end, _)) => (text[..end].to_owned(), true),
        None => (text.to_owned(), false),
    }
}

/// What the customer wrote, the last first.
pub(in crate::conversation) fn customers_words<'m>(said: &[&'m Message]) -> impl Iterator<Item = &'m str> {
    said.iter().rev().filter(|message| message.role == Role::Customer).map(|message| &*message.content)
}

/// The customer's last message, but for one that does nothing but ask for a person.
fn last_question<'m>(said: &[&'m Message]) -> Option<&'m Message> {
    let only_asks = |message: &Message| {
        let is_short = message.content.split_whitespace().count() <= BARE_REQUEST_LONGEST;
        is_short && asks_for_a_person(&message.content, &Language::ALL).is_some()
    };
    let from_customer = || said.iter().rev().filter(|message| message.role == Role::Customer).copied();
    from_customer().find(|message| !only_asks(message)).or_else(|| from_customer().next())
}

/// What the last answers cited, the newest first, each article once.
fn citations(said: &[&Message]) -> Vec<Citation> {
    let mut seen = HashSet::new();
    let all = said.iter().rev().flat_map(|message| message.citations.iter());
    let each = all.filter(|citation| seen.insert(citation.article_id)).take(CITATIONS_MOST);
    each.map(|citation| Citation { passage: cut(&citation.passage).0, ..citation.clone() }).collect()
}
