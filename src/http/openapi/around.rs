//! What the layers around every route add to each operation of the document, so that no room has to say it.
//!
//! What an operation says itself stays. The table of this is in `README.md` beside the rooms.

use super::tree::Tree;

/// Whose callers have limits.
const API: &str = "/v1/";

/// On each answer.
const NAMED: [&str; 1] = ["X-Request-Id"];

/// On each answer of the API to a caller who has a limit.
const LIMITS: [&str; 5] =
    ["RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];

/// On an answer that may be the repeat of another.
const REPLAYED: [&str; 1] = ["Idempotent-Replayed"];

/// Any request may be told so.
const ANY: [(&str, &str); 4] =
    [("400", "BadRequest"), ("431", "HeaderTooLarge"), ("500", "InternalError"), ("503", "Unavailable")];

/// Whoever needs a credential.
const CREDENTIAL: [(&str, &str); 1] = [("401", "Unauthenticated")];

/// Whoever needs an organization's.
const CALLER: [(&str, &str); 2] = [("403", "Forbidden"), ("429", "TooManyRequests")];

/// Whoever sends a body.
const BODY: [(&str, &str); 3] =
    [("408", "RequestTimeout"), ("413", "TooLarge"), ("415", "UnsupportedMediaType")];

/// Whoever names a thing.
const NAMES: [(&str, &str); 1] = [("404", "NotFound")];

/// Whoever names the request.
const REPEATABLE: [(&str, &str); 1] = [("422", "IdempotencyKeyReused")];

/// What every operation is said to add to.
pub(super) const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// Completes all operations, and the answers that they share.
pub(super) fn complete(paths: &mut Tree, shared: &mut Tree) {
    for (path, item) in paths.fields_mut() {
        for (method, operation) in item.fields_mut() {
            if METHODS.contains(&method.as_str()) {
                add_statuses(path, operation);
                let is_repeatable = is_repeatable(operation);
                let responses = operation.entry("responses").map(Tree::fields_mut).unwrap_or_default();
                for (status, response) in responses {
                    let replayed = is_repeatable && status.starts_with('2');
                    add_headers(response, path.starts_with(API), replayed);
                }
            }
        }
    }
    for (_, response) in shared.fields_mut() {
        add_headers(response, true, false);
    }
}

fn add_statuses(path: &str, operation: &mut Tree) {
    let opens = || {
        let each = operation.get("security").map(Tree::items).unwrap_or_default();
        each.iter().flat_map(Tree::fields).map(|(scheme, _)| scheme.as_str())
    };
    let operators = ["adminToken", "metricsToken"];
    let needs = [
        (true, &ANY[..]),
        (opens().next().is_some(), &CREDENTIAL),
        (opens().any(|scheme| !operators.contains(&scheme)), &CALLER),
        (operation.get("requestBody").is_some(), &BODY),
        (path.contains('{'), &NAMES),
        (is_repeatable(operation), &REPEATABLE),
    ];
    let Some(responses) = operation.entry("responses") else { return };
    for (status, name) in needs.into_iter().filter(|(is_so, _)| *is_so).flat_map(|(_, added)| added) {
        responses.or_insert(status, || Tree::reference(&format!("#/components/responses/{name}")));
    }
    if let Tree::Object(each) = responses {
        each.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
}

fn is_repeatable(operation: &Tree) -> bool {
    let parameters = operation.get("parameters").map(Tree::items).unwrap_or_default();
    parameters.iter().any(|one| one.text("$ref") == Some("#/components/parameters/IdempotencyKey"))
}

fn add_headers(response: &mut Tree, is_limited: bool, is_replayed: bool) {
    // One that is shared gets its headers where it stands.
    if response.get("$ref").is_some() {
        return;
    }
    let Some(headers) = response.entry("headers") else { return };
    let added = [(true, &NAMED[..]), (is_limited, &LIMITS), (is_replayed, &REPLAYED)];
    for name in added.into_iter().filter(|(is_so, _)| *is_so).flat_map(|(_, added)| added) {
        headers.or_insert(name, || Tree::reference(&format!("#/components/headers/{name}")));
    }
}
