//! The documented operations, to be driven one by one.

use std::fmt;

use serde_json::{Value, json};

use super::document::{DOCUMENT, Operation, pointer};
use crate::harness::{Client, Request};

/// The digits of an id that nothing has.
const NOTHING: &str = "00000000000000000000000000";

/// One operation of the document.
#[derive(Debug, Clone)]
pub(crate) struct Driven {
    pub(crate) method: String,
    pub(crate) template: String,
    /// Of each way in which a secret key opens it, the scopes.
    pub(crate) secret_key_scopes: Vec<Vec<String>>,
    /// All kinds of credentials that open it.
    pub(crate) credentials: Vec<String>,
    /// None opens it without one.
    pub(crate) needs_credential: bool,
    /// Its answer need not end.
    pub(crate) streams: bool,
    path: String,
}

impl fmt::Display for Driven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.template)
    }
}

impl Driven {
    /// A request to it, about things that do not exist; well-formed as far as callers are looked at.
    pub(crate) fn request(&self, client: &Client) -> Request {
        self.request_about(client, None, "customer")
    }

    /// The same about a conversation, where it is about one, by an `agent` or a `customer`, where it is by somebody.
    pub(crate) fn request_about(&self, client: &Client, conversation: Option<&str>, role: &str) -> Request {
        let nothing = format!("conv_{NOTHING}");
        let path = self.path.replace(&nothing, conversation.unwrap_or(&nothing));
        let request = client.request(&self.method, &path);
        match (&*self.method, self.template.rsplit('/').next()) {
            ("POST", Some("messages")) => request.json(&json!({"content": "hello", "role": role})),
            ("POST", Some("typing")) => request.json(&json!({"role": role})),
            ("POST" | "PUT" | "PATCH", _) => request.json(&json!({})),
            _ => request,
        }
    }

    /// The status and the code of the answer to a request of its.
    pub(crate) fn answer(&self, request: &Request) -> (u16, Value) {
        if self.streams {
            let opened = request.try_stream().unwrap();
            if opened.status() == 200 {
                return (200, Value::Null);
            }
        }
        let reply = request.send();
        (reply.code(), reply["error"].clone())
    }
}

/// All of them.
pub(crate) fn operations() -> Vec<Driven> {
    let mut all = Vec::new();
    for (template, item) in DOCUMENT.json["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "patch", "delete"] {
            let operation = &item[method];
            let Some(security) = operation["security"].as_array() else { continue };
            let ways = security.iter().filter_map(|way| way.get("secretKey")?.as_array());
            let texts =
                |way: &Vec<Value>| way.iter().map(|scope| scope.as_str().unwrap().to_owned()).collect();
            let kinds = security.iter().flat_map(|way| way.as_object().unwrap().keys().cloned());
            all.push(Driven {
                method: method.to_uppercase(),
                template: template.clone(),
                secret_key_scopes: ways.map(texts).collect(),
                credentials: kinds.collect(),
                needs_credential: !security.is_empty() && !security.contains(&json!({})),
                streams: method == "get"
                    && operation["responses"]["200"]["content"].get("text/event-stream").is_some(),
                path: filled(template, &Operation { place: pointer(&["paths", template, method]) }),
            });
        }
    }
    all
}

/// All scopes that there are.
pub(crate) fn scopes() -> Vec<String> {
    let all = DOCUMENT.json["components"]["schemas"]["Scope"]["enum"].as_array().unwrap();
    all.iter().map(|scope| scope.as_str().unwrap().to_owned()).collect()
}

/// A path of that template.
fn filled(template: &str, operation: &Operation) -> String {
    let mut path = template.to_owned();
    for (_, parameter) in DOCUMENT.parameters(operation) {
        if parameter["in"] != "path" {
            continue;
        }
        let schema = match parameter["schema"]["$ref"].as_str() {
            Some(to) => DOCUMENT.json.pointer(&to[1..]).unwrap(),
            None => &parameter["schema"],
        };
        let prefix =
            schema["pattern"].as_str().and_then(|pattern| pattern.strip_prefix('^')?.split_once("_["));
        let value = match (prefix, schema["enum"][0].as_str()) {
            (Some((kind, _)), _) => format!("{kind}_{NOTHING}"),
            (None, Some(one)) => one.to_owned(),
            // Where other names are taken too.
            (None, None) => format!("conv_{NOTHING}"),
        };
        path = path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), &value);
    }
    assert!(!path.contains('{'), "{template} has a parameter that is not described");
    path
}

/// Holds every example to the schema beside which it stands. Says how many there were.
pub(crate) fn hold_examples() -> usize {
    let mut places = Vec::new();
    find_examples(DOCUMENT.json, "", &mut places);
    for (place, name) in &places {
        let at = format!("{place}/examples/{name}");
        let (_, example) = DOCUMENT.resolved(&at).unwrap_or_else(|| panic!("{at} leads nowhere"));
        if let Err(wrong) = DOCUMENT.is_valid(&format!("{place}/schema"), &example["value"]) {
            panic!("{at} is not as its schema says: {wrong}");
        }
    }
    places.len()
}

fn find_examples(value: &Value, at: &str, places: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            if let (Some(Value::Object(examples)), Some(_)) = (fields.get("examples"), fields.get("schema")) {
                places.extend(examples.keys().map(|name| (at.to_owned(), name.clone())));
            }
            for (name, value) in fields {
                find_examples(value, &format!("{at}{}", pointer(&[name])), places);
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                find_examples(item, &format!("{at}/{place}"), places);
            }
        }
        _ => {}
    }
}
