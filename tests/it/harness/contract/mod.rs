//! Every answer that a test gets, held to the document that the server publishes.
//!
//! It stands at the wire, so no test can go around it. What is not HTTP cannot be judged; what asks for no documented
//! operation must be refused; everything else must be as the operation says: status, headers, body, each event.

mod document;
mod operations;
mod requests;
mod said;

use serde_json::Value;

use self::document::{DOCUMENT, Document};
pub(crate) use self::operations::{hold_examples, operations, scopes};
pub(super) use self::said::{Said, Saying};

/// Headers of the connection, of CORS and of tracing: they belong to no operation.
const OF_EVERY_ANSWER: [&str; 13] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "connection",
    "content-length",
    "content-type",
    "date",
    "traceparent",
    "transfer-encoding",
    "vary",
];

/// Holds an answer to the document. `body` is `None` where none is read: of HEAD, and of streams.
#[track_caller]
pub(super) fn hold(said: &Said, status: u16, headers: &[(String, String)], body: Option<&[u8]>) {
    if let Err(wrong) = judge(&DOCUMENT, said, status, headers, body) {
        let body = String::from_utf8_lossy(body.unwrap_or_default());
        panic!("{said} → {status} is not as documented: {wrong}\n{headers:?}\n{body}");
    }
}

/// Holds an event of a stream to the document: its data is one of those that the operation's stream may have.
#[track_caller]
pub(super) fn hold_event(said: &Said, kind: &str, data: &Value) {
    let Some(operation) = DOCUMENT.operation(said) else { return };
    let schema = operation.at(&["responses", "200", "content", "text/event-stream", "schema"]);
    let judged = DOCUMENT.is_valid(&schema, data).and_then(|()| match data["type"].as_str() {
        Some(named) if kind != "message" && named != kind => Err(format!("the event is called {kind}")),
        _ => Ok(()),
    });
    if let Err(wrong) = judged {
        panic!("an event of {said} is not as documented: {wrong}\n{data}");
    }
}

/// Holds a WebSocket's frame to the document.
#[track_caller]
pub(crate) fn hold_frame(frame: &Value) {
    if let Err(wrong) = DOCUMENT.is_valid("/components/schemas/SocketFrame", frame) {
        panic!("a frame of a WebSocket is not as documented: {wrong}\n{frame}");
    }
}

/// Holds what a receiver of webhooks was sent to the document.
#[track_caller]
pub(super) fn hold_webhook(body: &Value) {
    // Somebody who tries a webhook out chooses what it is called.
    let is_test = body["data"]["test"] == true;
    let kind = if is_test { "webhook.test" } else { body["type"].as_str().unwrap_or_default() };
    let schema = document::pointer(&[
        "webhooks",
        kind,
        "post",
        "requestBody",
        "content",
        "application/json",
        "schema",
    ]);
    if let Err(wrong) = DOCUMENT.is_valid(&schema, body) {
        panic!("a webhook of {kind:?} is not as documented: {wrong}\n{body}");
    }
}

/// What is said of such an answer to such a request: for the test of this judge.
pub(crate) fn judged(
    request: &str,
    status: u16,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<(), String> {
    let mut saying = Saying::default();
    saying.add(request.as_bytes());
    let said = saying.next().expect("a request");
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    judge(&DOCUMENT, &said, status, &headers, Some(body))
}

fn judge(
    document: &Document,
    said: &Said,
    status: u16,
    headers: &[(String, String)],
    body: Option<&[u8]>,
) -> Result<(), String> {
    let json: Option<Value> = body.and_then(|body| serde_json::from_slice(body).ok());
    let code = json.as_ref().and_then(|json| json["error"]["code"].as_str());
    let Some(operation) = document.operation(said) else {
        return no_operation(document, said, status, headers, json.as_ref());
    };
    // Listeners for operators have few of the routes.
    if (status, code) == (404, Some("unknown_route")) {
        return document.is_valid("/components/schemas/Error", json.as_ref().unwrap_or(&Value::Null));
    }
    let response = operation.at(&["responses", &status.to_string()]);
    let (place, response) = document.resolved(&response).ok_or("the operation has no such status")?;
    judge_headers(document, &place, response, headers)?;
    match status {
        200..300 => requests::judge_taken(document, &operation, said)?,
        400 => requests::judge_refused(
            document,
            &operation,
            said,
            json.as_ref().map_or(&Value::Null, |json| &json["error"]),
        )?,
        _ => {}
    }
    judge_body(document, &place, response, headers, body, said)
}

/// What asks for nothing that is documented is refused, or is the question of a browser.
fn no_operation(
    document: &Document,
    said: &Said,
    status: u16,
    headers: &[(String, String)],
    json: Option<&Value>,
) -> Result<(), String> {
    if said.method == "OPTIONS" && status == 204 {
        return Ok(());
    }
    if status < 400 {
        return Err("it is answered, and no operation is documented there".to_owned());
    }
    let methods = document.methods(said.path());
    if status == 405 {
        let allowed = header(headers, "allow").unwrap_or_default();
        let allowed: Vec<_> = allowed.split(", ").filter(|method| *method != "HEAD").collect();
        if allowed != methods {
            return Err(format!("`Allow` should name {methods:?}"));
        }
    }
    match json {
        Some(json) => document.is_valid("/components/schemas/Error", json),
        // An answer to HEAD.
        None if said.method == "HEAD" => Ok(()),
        None => Err("a refusal has the shape of errors".to_owned()),
    }
}

fn judge_headers(
    document: &Document,
    place: &str,
    response: &Value,
    headers: &[(String, String)],
) -> Result<(), String> {
    let documented: Vec<&str> =
        response["headers"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    for (name, _) in headers {
        let is_known = OF_EVERY_ANSWER.contains(&name.as_str())
            || documented.iter().any(|known| known.eq_ignore_ascii_case(name));
        if !is_known {
            return Err(format!("the header `{name}` is not documented"));
        }
    }
    for name in documented {
        let at = format!("{place}/headers/{}", document::escaped(name));
        let (at, described) = document.resolved(&at).ok_or("a header refers to nothing")?;
        match header(headers, name) {
            Some(value) => {
                // A number of a header is written as text.
                let is_number = described["schema"]["type"] == "integer";
                let value = match value.parse::<i64>() {
                    Ok(number) if is_number => Value::from(number),
                    _ => Value::from(value),
                };
                document
                    .is_valid(&format!("{at}/schema"), &value)
                    .map_err(|wrong| format!("`{name}`: {wrong}"))?;
            }
            None if described["required"] == true => return Err(format!("the header `{name}` is missing")),
            None => {}
        }
    }
    Ok(())
}

fn judge_body(
    document: &Document,
    place: &str,
    response: &Value,
    headers: &[(String, String)],
    body: Option<&[u8]>,
    said: &Said,
) -> Result<(), String> {
    let kind = header(headers, "content-type");
    let Some(content) = response["content"].as_object() else {
        // After an upgrade nothing follows that could have a type.
        let is_empty = (kind.is_none() || place.ends_with("/101")) && body.is_none_or(<[u8]>::is_empty);
        return if is_empty { Ok(()) } else { Err("it has a body".to_owned()) };
    };
    let kind = kind.unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or(kind).trim();
    let Some(described) = content.get(kind) else {
        return Err(format!("a body of the type `{kind}` is not documented"));
    };
    let (Some(_), Some(body)) = (described.get("schema"), body) else { return Ok(()) };
    let schema = format!("{place}/content/{}/schema", document::escaped(kind));
    match kind {
        "application/json" => {
            let json = serde_json::from_slice(body).map_err(|error| format!("it is no JSON: {error}"))?;
            document.is_valid(&schema, &json)
        }
        "application/x-ndjson" => {
            for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let json =
                    serde_json::from_slice(line).map_err(|error| format!("a line is no JSON: {error}"))?;
                document.is_valid(&schema, &json)?;
            }
            Ok(())
        }
        "text/event-stream" => {
            for (kind, data) in super::events::read_all(body) {
                hold_event(said, &kind, &data);
            }
            Ok(())
        }
        _ => document.is_valid(&schema, &String::from_utf8_lossy(body).into()),
    }
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let found = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}
