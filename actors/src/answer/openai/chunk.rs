//! What an upstream says, in JSON: a piece of a stream, a whole completion, or an error.
//!
//! Read leniently: what is missing, `null` or of another kind than OpenAI documents is as if it were not there. Only
//! what is no JSON at all is refused.

use serde_json::Value;

use crate::{answer::Usage, upstream::Kind};

/// A thousand times what the largest models take.
const MOST_TOKENS: u64 = 1_000_000_000;

/// How the model ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// Whole, or as much as the model may say: either way there is nothing more to come. Tools were never offered, so
    /// a call of one is an end like any other.
    Whole,
    /// The upstream's filter ended it.
    Filtered,
}

/// What one object said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) finish: Option<Finish>,
    pub(super) usage: Option<Usage>,
}

/// Reads one object: of a stream, where what one does not know is passed over.
pub(super) fn piece(json: &str) -> Result<Piece, Kind> {
    let object: Value = serde_json::from_str(json).map_err(|_| Kind::Broken)?;
    if let Some(error) = object.get("error").filter(|error| !error.is_null()) {
        return Err(kind_of(error));
    }
    let choice = object.get("choices").and_then(|choices| choices.get(0));
    // A whole completion has a message where a stream has a delta.
    let said = choice.and_then(|choice| choice.get("delta").or(choice.get("message")));
    let text = said.map(|said| text(&said["content"]) + &text(&said["refusal"])).unwrap_or_default();
    let finish =
        choice.and_then(|choice| choice["finish_reason"].as_str()).filter(|reason| !reason.is_empty());
    let finish = finish.map(|reason| match reason {
        "content_filter" => Finish::Filtered,
        _ => Finish::Whole,
    });
    Ok(Piece { text, finish, usage: usage(&object["usage"]) })
}

/// Reads a whole completion, which some proxies send although a stream was asked for.
pub(super) fn completion(json: &[u8]) -> Result<Piece, Kind> {
    let json = String::from_utf8_lossy(json);
    let piece = piece(&json)?;
    // Without a reason to end it is something else, or was cut off.
    if piece.finish.is_none() && piece.text.is_empty() { Err(Kind::Broken) } else { Ok(piece) }
}

/// A string, or the text parts of a list.
fn text(content: &Value) -> String {
    match content {
        // PostgreSQL stores no NUL, and nobody can read one.
        Value::String(text) => text.replace('\0', "\u{FFFD}"),
        Value::Array(parts) => parts.iter().map(|part| text(&part["text"])).collect(),
        _ => String::new(),
    }
}

/// Counts that no model has are no counts.
fn usage(usage: &Value) -> Option<Usage> {
    let count = |name: &str| usage.get(name)?.as_u64().filter(|count| *count <= MOST_TOKENS);
    Some(Usage { prompt_tokens: count("prompt_tokens")?, completion_tokens: count("completion_tokens")? })
}

/// An error inside a 200: by its number, else by its name.
fn kind_of(error: &Value) -> Kind {
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let status = [&error["code"], &error["status"]].into_iter().find_map(number);
    if let Some(status) = status.and_then(|status| u16::try_from(status).ok()).filter(|status| *status >= 400)
    {
        return Kind::of_status(status);
    }
    let names = [error["code"].as_str(), error["type"].as_str()];
    let names: Vec<_> = names.into_iter().flatten().collect();
    let says = |word: &str| names.iter().any(|name| name.contains(word));
    match () {
        () if says("rate_limit") || says("quota") => Kind::RateLimited,
        () if says("auth") || says("api_key") || says("permission") || says("not_found") => Kind::Refused,
        () if says("invalid_request") || says("context_length") => Kind::Rejected,
        () => Kind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_read_whatever_stands_around_it() {
        let said = |json: &str| piece(json).unwrap();
        assert_eq!(said(r#"{"choices":[{"delta":{"role":"assistant","content":"Hi"}}]}"#).text, "Hi");
        assert_eq!(said(r#"{"choices":[{"delta":{"content":[{"type":"text","text":"Hi"}]}}]}"#).text, "Hi");
        assert_eq!(said(r#"{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}"#).text, "Hi");
        assert_eq!(said(r#"{"choices":[{"delta":{"content":"a\u0000b"}}]}"#).text, "a\u{FFFD}b");
        for nothing in [
            r#"{}"#,
            r#"[]"#,
            r#""text""#,
            r#"{"choices":[],"usage":null}"#,
            r#"{"choices":null}"#,
            r#"{"choices":[{"delta":{"role":"assistant"}}]}"#,
            r#"{"choices":[{"delta":{"content":null},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{"content":7,"tool_calls":[{}]}}],"error":null}"#,
            r#"{"choices":[{"delta":null}],"usage":{"prompt_tokens":"many"}}"#,
            r#"{"usage":{"prompt_tokens":18446744073709551615,"completion_tokens":1}}"#,
            r#"{"usage":{"prompt_tokens":-1,"completion_tokens":1}}"#,
        ] {
            assert_eq!(said(nothing), Piece::default(), "{nothing}");
        }
        let last = said(r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"extra":1}}"#);
        assert_eq!(last.usage, Some(Usage { prompt_tokens: 7, completion_tokens: 2 }));
        for (reason, finish) in
            [("stop", Finish::Whole), ("length", Finish::Whole), ("content_filter", Finish::Filtered)]
        {
            let json = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{reason}"}}]}}"#);
            assert_eq!(said(&json).finish, Some(finish));
        }
    }

    #[test]
    fn an_error_is_known_by_its_number_or_its_name() {
        for (error, kind) in [
            (r#"{"code":429}"#, Kind::RateLimited),
            (r#"{"code":"429","message":"x"}"#, Kind::RateLimited),
            (r#"{"type":"rate_limit_exceeded"}"#, Kind::RateLimited),
            (r#"{"code":"invalid_api_key"}"#, Kind::Refused),
            (r#"{"type":"invalid_request_error"}"#, Kind::Rejected),
            (r#""it broke""#, Kind::Failed),
            (r#"{"code":500}"#, Kind::Failed),
        ] {
            assert_eq!(piece(&format!(r#"{{"error":{error}}}"#)), Err(kind), "{error}");
        }
        assert_eq!(piece("{"), Err(Kind::Broken));
        assert_eq!(completion(br#"{"detail":"no"}"#), Err(Kind::Broken));
    }
}
