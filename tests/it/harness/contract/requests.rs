//! Requests, held to what is documented of them: what was taken is documented, and what was refused as unknown or of no
//! use is not.

use serde_json::Value;

use super::{
    Said,
    document::{Document, Operation},
};

/// Refusals of what a request says, where a schema can say it too.
const SAID_BY_SCHEMAS: [&str; 2] = ["unknown_field", "invalid_field"];

/// What was taken was documented: the document is no stricter than the server.
pub(super) fn judge_taken(document: &Document, operation: &Operation, said: &Said) -> Result<(), String> {
    match undocumented(document, operation, said) {
        Some(wrong) => Err(format!("it took what is not documented: {wrong}")),
        None => Ok(()),
    }
}

/// What was refused was not documented: the document is no looser than the server.
pub(super) fn judge_refused(
    document: &Document,
    operation: &Operation,
    said: &Said,
    error: &Value,
) -> Result<(), String> {
    let code = error["code"].as_str().unwrap_or_default();
    if !SAID_BY_SCHEMAS.contains(&code) || undocumented(document, operation, said).is_some() {
        return Ok(());
    }
    let message = error["message"].as_str().unwrap_or_default();
    match NO_SCHEMA_SAYS.iter().any(|rule| message.contains(rule)) {
        true => Ok(()),
        false => Err(format!("it refused what is documented: {code} {} {message:?}", error["param"])),
    }
}

/// Rules that no schema says: of more than one value, of what there is, of what time it is.
const NO_SCHEMA_SAYS: [&str; 24] = [
    "must not hold the character NUL",
    "it must be one of `GET /v1/models`",
    "at least one must be of the role `user`",
    "the last must not be the assistant's",
    "it is not the conversation that X-Conversation-Id names",
    // What several parts or messages come to.
    "it must have 1 to 32000 characters",
    "it may have at most 16 pairs",
    // Of the last of them only.
    "files are not supported",
    "must be an IANA time zone",
    // What an address is says a parser.
    "must be an address such as https://example.com/hooks",
    "must name a host",
    "must have a port from 1 to 65535",
    "must not be later than `to`",
    "it must be a date",
    "must be later than since",
    "must not lie in the future",
    "must be in the future",
    "a mirror needs the source that it is of",
    "it must be that of the path",
    "external_id must",
    "that one is the server's",
    "scopes must be empty: a publishable key",
    "scopes cannot be changed: this key has full access",
    "only publishable keys have them",
];

/// What a request says that is not documented.
fn undocumented(document: &Document, operation: &Operation, said: &Said) -> Option<String> {
    let parameters = document.parameters(operation);
    let query = said.query();
    let given = |name: &str| query.iter().filter(|(known, _)| known == name).count();
    for (_, described) in parameters.iter().filter(|(_, one)| one["in"] == "query" && one["required"] == true)
    {
        let name = described["name"].as_str().unwrap_or_default();
        if given(name) == 0 {
            return Some(format!("`{name}` is missing"));
        }
    }
    for (name, value) in query.iter().map(|(name, value)| (name.as_str(), value.as_str())) {
        // Whoever comes back says it in a header, which wins.
        if name == "after" && said.header("last-event-id").is_some() {
            continue;
        }
        let plain = name.split('[').next().unwrap_or(name);
        let known = parameters.iter().find(|(_, one)| one["in"] == "query" && one["name"] == plain);
        match known {
            Some((_, described)) if (described["style"] == "deepObject") != name.contains('[') => {
                return Some(format!("`{name}` is given in another way"));
            }
            Some((_, described)) if described["style"] == "deepObject" => {}
            Some((place, _)) => {
                if let Err(wrong) = document.takes(&format!("{place}/schema"), value, given(name)) {
                    return Some(format!("`{name}`: {wrong}"));
                }
            }
            None if parameters.iter().any(|(_, one)| takes_any(one)) => {}
            None if plain == "ticket" && document.opens_with(operation, "streamTicket") => {}
            None => return Some(format!("the query parameter `{name}`")),
        }
    }
    for (place, described) in parameters.iter().filter(|(_, one)| one["in"] == "header") {
        let name = described["name"].as_str().unwrap_or_default();
        if let Some(value) = said.header(name)
            && let Err(wrong) = document.takes(&format!("{place}/schema"), value, 1)
        {
            return Some(format!("`{name}`: {wrong}"));
        }
    }
    let json = said.json()?;
    let schema = operation.at(&["requestBody", "content", "application/json", "schema"]);
    document.is_valid(&schema, &json).err()
}

/// It stands for all names that are not documented.
fn takes_any(parameter: &Value) -> bool {
    parameter["in"] == "query" && parameter["schema"]["type"] == "object" && parameter["style"] == "form"
}
