//! What customers' pages never see, taken out of the JSON that everybody else gets.
//!
//! One rule for all answers, streams and sockets, applied where they leave: a handler cannot forget it. The text is
//! copied as it is; only the hidden values become `null`.

/// Never seen, wherever they stand.
const HIDDEN: [&[u8]; 6] =
    [b"metadata", b"note", b"summary", b"accept_url", b"conversation_url", b"console_url"];

/// Never seen of a handover.
const HIDDEN_OF_HANDOVER: &[u8] = b"confidence";

/// People who act for the organization: their ids are not seen, their names are.
const PEOPLE: [&[u8]; 2] = [b"author", b"agent"];

/// Copies JSON without what a customer may not see. `whole` is the name of what the text as a whole is: a handover, if
/// that is what was asked for. Text that is not JSON is copied up to where it ceases to be.
pub(super) fn for_customers(whole: &str, json: &[u8]) -> Vec<u8> {
    let mut copy = Copy { json, at: 0, out: Vec::with_capacity(json.len()) };
    copy.value(whole.as_bytes());
    copy.out
}

struct Copy<'j> {
    json: &'j [u8],
    at: usize,
    out: Vec<u8>,
}

impl<'j> Copy<'j> {
    /// A value that stands under this name; what a list holds stands under the list's.
    fn value(&mut self, name: &[u8]) {
        match self.json.get(self.at) {
            Some(b'{') => self.object(name),
            Some(b'[') => self.list(name),
            Some(b'"') => {
                let text = self.text();
                self.out.extend_from_slice(text);
            }
            _ => {
                let bare = self.bare();
                self.out.extend_from_slice(bare);
            }
        }
    }

    fn object(&mut self, name: &[u8]) {
        self.byte();
        loop {
            self.between(b", \n\r\t");
            match self.json.get(self.at) {
                Some(b'}') => return self.byte(),
                Some(b'"') => {
                    let key = self.text();
                    self.out.extend_from_slice(key);
                    self.between(b": \n\r\t");
                    let key = key.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\"")).unwrap_or(key);
                    let kept = self.out.len();
                    self.value(key);
                    if is_hidden(name, key) {
                        self.out.truncate(kept);
                        self.out.extend_from_slice(b"null");
                    }
                }
                _ => return self.give_up(),
            }
        }
    }

    fn list(&mut self, name: &[u8]) {
        self.byte();
        loop {
            self.between(b", \n\r\t");
            let before = self.at;
            match self.json.get(self.at) {
                Some(b']') => return self.byte(),
                Some(_) => self.value(name),
                None => return,
            }
            if self.at == before {
                return self.give_up();
            }
        }
    }

    /// It is no JSON: what is not understood is not shown.
    fn give_up(&mut self) {
        self.at = self.json.len();
    }

    fn byte(&mut self) {
        self.out.extend_from_slice(&self.json[self.at..=self.at]);
        self.at += 1;
    }

    fn between(&mut self, separators: &[u8]) {
        while self.json.get(self.at).is_some_and(|byte| separators.contains(byte)) {
            self.byte();
        }
    }

    /// A string with its quotes.
    fn text(&mut self) -> &'j [u8] {
        let start = self.at;
        self.at += 1;
        while let Some(&byte) = self.json.get(self.at) {
            self.at += 1 + usize::from(byte == b'\\');
            if byte == b'"' {
                break;
            }
        }
        self.at = self.at.min(self.json.len());
        &self.json[start.min(self.at)..self.at]
    }

    /// A number, `true`, `false` or `null`.
    fn bare(&mut self) -> &'j [u8] {
        let rest = &self.json[self.at..];
        let end = rest.iter().position(|byte| b",]} \n\r\t".contains(byte)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }
}

fn is_hidden(within: &[u8], key: &[u8]) -> bool {
    HIDDEN.contains(&key)
        || (within == b"handover" && key == HIDDEN_OF_HANDOVER)
        || (PEOPLE.contains(&within) && key == b"id")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    /// The same, slow and obvious.
    fn hidden(whole: &str, value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(|item| hidden(whole, item)).collect(),
            Value::Object(fields) => {
                let shown = |(key, value): (&String, &Value)| {
                    let hide =
                        ["metadata", "note", "summary", "accept_url", "conversation_url", "console_url"]
                            .contains(&key.as_str())
                            || (whole == "handover" && key == "confidence")
                            || (["author", "agent"].contains(&whole) && key == "id");
                    (key.clone(), if hide { Value::Null } else { hidden(key, value) })
                };
                Value::Object(fields.iter().map(shown).collect())
            }
            other => other.clone(),
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let names =
            ["metadata", "note", "author", "agent", "id", "handover", "confidence", "content", "\"\\é"];
        let text =
            prop::sample::select(vec!["", "a", "\"", "\\", "\\\"}", "{\"note\":1}", "é\n", "metadata"]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9f64).prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 60, 6, move |inner| {
            let field = (prop::sample::select(names.to_vec()), inner.clone());
            prop_oneof![
                prop::collection::vec(inner, 0..5).prop_map(Value::from),
                prop::collection::vec(field, 0..6).prop_map(|fields| {
                    Value::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<_, _>>())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn hides_what_is_hidden_and_changes_nothing_else(value in any_json(), pretty: bool) {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            // As it is read: numbers may lose digits on the way.
            let value: Value = serde_json::from_str(&text).unwrap();
            for whole in ["", "handover", "agent"] {
                let shown: Value = serde_json::from_slice(&for_customers(whole, text.as_bytes())).unwrap();
                prop_assert_eq!(shown, hidden(whole, &value));
            }
        }

        #[test]
        fn what_is_no_json_ends(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(for_customers("", &bytes).len() <= 4 * bytes.len() + 4);
        }
    }

    #[test]
    fn order_and_spelling_stay() {
        let text =
            r#"{"z":1,"metadata":{"a":"b"},"a":1.50,"author":{"id":"a-1","name":"Ada"},"text":"\u00e9"}"#;
        let shown = r#"{"z":1,"metadata":null,"a":1.50,"author":{"id":null,"name":"Ada"},"text":"\u00e9"}"#;
        assert_eq!(String::from_utf8(for_customers("", text.as_bytes())).unwrap(), shown);
        assert_eq!(json!(null).to_string().into_bytes(), for_customers("", b"null"));
    }
}
