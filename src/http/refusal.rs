//! What serde refuses, in the words of our errors: a code and the path of the field at fault.

use super::error::ApiError;

/// A value that is quoted back to its sender is cut here.
const LONGEST_MESSAGE: usize = 200;

/// `path` is where serde stood, `message` what it said.
pub(super) fn refusal(path: &str, message: &str) -> ApiError {
    let message = message.split(" at line ").next().unwrap_or(message);
    if let Some(field) = quoted_after(message, "unknown field ") {
        return ApiError::unknown_field(inside(path, field));
    }
    if let Some(field) = quoted_after(message, "missing field ") {
        return ApiError::invalid_field(inside(path, field), format!("`{field}` is required"));
    }
    if let Some(field) = quoted_after(message, "duplicate field ") {
        return ApiError::bad_request("duplicate_field", format!("`{field}` is given twice"))
            .param(inside(path, field));
    }
    let words = plain(message);
    if path == "." {
        return ApiError::bad_request("invalid_field", words);
    }
    ApiError::invalid_field(path, words)
}

fn quoted_after<'m>(message: &'m str, before: &str) -> Option<&'m str> {
    message.strip_prefix(before)?.strip_prefix('`')?.split('`').next()
}

/// serde stands at the field itself or at the object around it, by the kind of error.
fn inside(path: &str, field: &str) -> String {
    let around = path.strip_suffix(field).map_or(path, |around| around.trim_end_matches('.'));
    if around.is_empty() || around == "." { field.to_owned() } else { format!("{around}.{field}") }
}

/// Without the names of our own types.
fn plain(message: &str) -> String {
    if message.contains("did not match any variant") {
        return "it has none of the forms that are allowed here".to_owned();
    }
    let mut words: Vec<&str> = Vec::new();
    let mut rest = message.split(' ');
    while let Some(word) = rest.next() {
        if word == "struct" {
            rest.next();
            words.push("an object");
        } else {
            words.push(word);
        }
    }
    words.join(" ").chars().take(LONGEST_MESSAGE).collect()
}
