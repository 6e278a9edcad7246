//! A chat completion: in chunks, or whole.

use bytes::{BufMut, BytesMut};
use openclaw_actors::{
    answer::{Citation, Usage},
    clock::Timestamp,
    ids::{ConversationId, MessageId, TurnId},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::cut::{Cut, Meter, Reason};
use crate::http::{
    dialects::{
        body::{Flow, Speaker},
        lost, not_answered,
        told::{End, OfTurn, Telling, Told},
    },
    error::ApiError,
};

/// What changes when answers may change for another reason than the model's.
const FINGERPRINT: &str = concat!("openclaw-", env!("CARGO_PKG_VERSION"));

/// The code of a turn whose model's service let nothing through. OpenAI has a reason to finish for that.
pub(super) const FILTERED: &str = "model_filtered";

const DONE: &[u8] = b"data: [DONE]\n\n";

/// What every piece of a completion says of it.
#[derive(Debug)]
pub(super) struct About {
    /// Of the turn; of an actor that stores nothing, only a number.
    pub(super) turn: TurnId,
    /// The one that was asked for, or is asked when none is.
    pub(super) model: String,
    pub(super) conversation: Option<ConversationId>,
    /// The customer's, once stored.
    pub(super) message: Option<MessageId>,
    pub(super) with_usage: bool,
    pub(super) meter: Meter,
    /// Of everything said before, for an answer whose own count never comes.
    pub(super) prompt_tokens: u64,
}

/// A completion in the making.
pub(super) struct Completion {
    about: About,
    created: i64,
    cut: Cut,
    reply: Option<MessageId>,
    citations: Vec<Citation>,
}

/// How a completion ended.
struct Finish {
    reason: &'static str,
    usage: Usage,
    model: Option<String>,
    answered: bool,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    system_fingerprint: &'static str,
    choices: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    openclaw: Option<Value>,
}

impl Completion {
    pub(super) fn new(about: About, cut: Cut) -> Self {
        let (reply, citations) = (None, Vec::new());
        Self { about, created: Timestamp::now().0 / 1_000, cut, reply, citations }
    }

    fn id(&self) -> String {
        let turn = self.about.turn.to_string();
        format!("chatcmpl-{}", turn.strip_prefix(TurnId::PREFIX).unwrap_or(&turn))
    }

    /// What of the text is to be shown.
    fn hear(&mut self, text: &str) -> String {
        self.cut.push(text)
    }

    fn has_enough(&self) -> bool {
        self.cut.reason().is_some()
    }

    fn note_reply(&mut self, id: Option<MessageId>, citations: Vec<Citation>) {
        self.reply = id;
        self.citations = citations;
    }

    /// How it ended; an error if there is nothing that could be called an answer.
    fn finish(&self, end: End) -> Result<Finish, (String, String)> {
        let counted = Usage { prompt_tokens: self.about.prompt_tokens, completion_tokens: self.cut.tokens() };
        let finish = |reason| Finish { reason, usage: counted, model: None, answered: true };
        let cut = self.cut.reason().map(|reason| match reason {
            Reason::Stop => "stop",
            Reason::Length => "length",
        });
        Ok(match (cut, end) {
            (Some(reason), _) => finish(reason),
            (None, End::Completed { is_full: true, model, .. }) => Finish { model, ..finish("length") },
            (None, End::Completed { model, usage, .. }) => {
                Finish { model, usage: usage.unwrap_or(counted), ..finish("stop") }
            }
            (None, End::Stopped) => finish("stop"),
            (None, End::NoTurn) => Finish { usage: Usage::default(), answered: false, ..finish("stop") },
            // Not a failure of ours: the model's service said so, and has a word for it.
            (None, End::Failed { code, .. }) if code == FILTERED => finish("content_filter"),
            (None, End::Failed { code, message }) => return Err((code, message)),
        })
    }

    /// What the dialect has no field for.
    fn extra(&self, answered: bool) -> Value {
        json!({
            "conversation_id": self.about.conversation,
            "message_id": self.about.message,
            "turn_id": self.about.conversation.and(answered.then_some(self.about.turn)),
            "reply_id": self.reply,
            "citations": self.shown_citations().collect::<Vec<_>>(),
        })
    }

    /// What stands in the part that is shown.
    fn shown_citations(&self) -> impl Iterator<Item = &Citation> {
        let shown = self.cut.characters();
        self.citations.iter().filter(move |citation| citation.end <= shown)
    }

    /// The citations that are links, as OpenAI's own.
    fn annotations(&self) -> Vec<Value> {
        let links = self.shown_citations().filter_map(|citation| Some((citation, citation.url.as_ref()?)));
        let annotation = |(citation, url): (&Citation, &String)| {
            let (start, end) = (citation.start, citation.end);
            let link = json!({"start_index": start, "end_index": end, "url": url, "title": citation.title});
            json!({"type": "url_citation", "url_citation": link})
        };
        links.map(annotation).collect()
    }

    /// The whole of it, once `telling` is over.
    pub(super) async fn whole(
        mut self,
        telling: &mut Telling,
        turn: Option<&OfTurn>,
    ) -> Result<Value, ApiError> {
        let mut content = String::new();
        let end = loop {
            match telling.next().await {
                Some(Told::Text(text)) => {
                    let had_enough = self.has_enough();
                    content.push_str(&self.hear(&text));
                    if self.has_enough() && !had_enough {
                        telling.stop(turn);
                    }
                }
                Some(Told::Restarted) => {
                    content.clear();
                    self.cut.restart();
                }
                Some(Told::Reply(id, citations)) => self.note_reply(id, citations),
                Some(Told::Ended(end)) => break end,
                Some(Told::Lost(why)) => return Err(lost(why, self.about.conversation.is_some())),
                None => return Err(ApiError::internal("an answer without an end")),
            }
        };
        content.push_str(&self.cut.finish());
        let finish = self.finish(end).map_err(|(code, message)| not_answered(&code, message))?;
        Ok(self.shown(&content, &finish))
    }

    fn shown(&self, content: &str, finish: &Finish) -> Value {
        let message = json!({
            "role": "assistant",
            "content": content,
            "refusal": null,
            "annotations": self.annotations(),
        });
        json!({
            "id": self.id(),
            "object": "chat.completion",
            "created": self.created,
            "model": finish.model.as_deref().unwrap_or(&self.about.model),
            "system_fingerprint": FINGERPRINT,
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish.reason}],
            "usage": shown_usage(finish.usage),
            "openclaw": self.extra(finish.answered),
        })
    }

    fn write(&self, out: &mut BytesMut, choices: Vec<Value>, usage: Option<Usage>, extra: Option<Value>) {
        let id = self.id();
        // Where it is asked for, it stands in every chunk.
        let usage = self.about.with_usage.then(|| usage.map_or(Value::Null, shown_usage));
        let chunk = Chunk {
            id: &id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.about.model,
            system_fingerprint: FINGERPRINT,
            choices,
            usage,
            openclaw: extra,
        };
        write_data(out, &chunk);
    }

    fn write_text(&self, out: &mut BytesMut, text: &str) {
        if !text.is_empty() {
            self.write(out, vec![choice(json!({"content": text}), None)], None, None);
        }
    }

    fn write_end(&mut self, out: &mut BytesMut, end: End) {
        let rest = self.cut.finish();
        match self.finish(end) {
            Ok(finish) => {
                self.write_text(out, &rest);
                let annotations = self.annotations();
                let delta =
                    if annotations.is_empty() { json!({}) } else { json!({"annotations": annotations}) };
                let last = choice(delta, Some(finish.reason));
                self.write(out, vec![last], None, Some(self.extra(finish.answered)));
                if self.about.with_usage {
                    self.write(out, Vec::new(), Some(finish.usage), None);
                }
                out.extend_from_slice(DONE);
            }
            Err((code, message)) => write_error(out, &code, message),
        }
    }
}

impl Speaker for Completion {
    fn begin(&mut self, out: &mut BytesMut) {
        let delta = json!({"role": "assistant", "content": "", "refusal": null});
        self.write(out, vec![choice(delta, None)], None, None);
    }

    fn say(&mut self, told: Told, out: &mut BytesMut) -> Flow {
        match told {
            Told::Text(text) => {
                let had_enough = self.has_enough();
                let shown = self.hear(&text);
                self.write_text(out, &shown);
                if self.has_enough() && !had_enough { Flow::Enough } else { Flow::GoesOn }
            }
            // What was shown is no part of the answer any more, and cannot be taken back. After a cut, nothing is
            // missing from it.
            Told::Restarted if !self.has_enough() => Flow::BreaksOff,
            Told::Restarted => Flow::GoesOn,
            Told::Reply(id, citations) => {
                self.note_reply(id, citations);
                Flow::GoesOn
            }
            Told::Ended(end) => {
                self.write_end(out, end);
                Flow::Ends
            }
            Told::Lost(_) => Flow::BreaksOff,
        }
    }
}

fn choice(delta: Value, finish_reason: Option<&str>) -> Value {
    json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason})
}

fn shown_usage(usage: Usage) -> Value {
    let Usage { prompt_tokens, completion_tokens } = usage;
    let total_tokens = prompt_tokens + completion_tokens;
    json!({"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total_tokens})
}

/// The last thing that a stream says whose answer failed in the middle: what clients raise an error for.
fn write_error(out: &mut BytesMut, code: &str, message: String) {
    let error = not_answered(code, message);
    // The shape of every error.
    let body = error.body(None);
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(&body);
    out.extend_from_slice(b"\n\n");
}

fn write_data(out: &mut BytesMut, value: &impl Serialize) {
    out.extend_from_slice(b"data: ");
    // Our own types always serialize, and memory takes all that is written.
    let _ = serde_json::to_writer(out.writer(), value);
    out.extend_from_slice(b"\n\n");
}
