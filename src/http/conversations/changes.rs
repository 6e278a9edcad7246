//! What changes a conversation beside its messages.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderMap},
    web::Data,
};
use openclaw_actors::{
    audit::{Action, Entry, Target},
    conversation::{
        messages::{ConversationKey, Patch, Refusal},
        record::{Conversation, Rating, Resolution},
        sql::read,
    },
    idempotency::{Effect, Stamp},
    ids::ConversationId,
    patch::Change,
    writer::Row,
};
use serde::Deserialize;

use super::{fields, incoming::Sender, messages::scope_of, refused::refused, repeats, shown};
use crate::{
    http::{
        auth::{AnySecretKey, Caller, DeleteConversations, Party, WriteConversations},
        error::ApiError,
        idempotency::{Once, Repeatable, of_another_kind, replayed},
        json::{Json, OptionalJson},
        query::PathId,
    },
    server::Parts,
};

/// A JSON merge patch.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct PatchBody {
    topic: Change<String>,
    language: Change<String>,
    customer: Change<CustomerPatch>,
    metadata: Change<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CustomerPatch {
    id: Change<String>,
    name: Change<String>,
    email: Change<String>,
}

impl PatchBody {
    /// Refuses what is not a customer's to say: who they are elsewhere, and what others note about the conversation.
    fn only_what_customers_say(&self) -> Result<(), ApiError> {
        let customer = match &self.customer {
            Change::Set(customer) => !matches!(customer.id, Change::Keep),
            Change::Reset => true,
            Change::Keep => false,
        };
        let not_theirs = [
            ("topic", !matches!(self.topic, Change::Keep)),
            ("metadata", !matches!(self.metadata, Change::Keep)),
            ("customer.id", customer),
        ];
        match not_theirs.into_iter().find(|(_, says)| *says) {
            Some((param, _)) => {
                Err(ApiError::forbidden("client_token", "a client token may not change this").param(param))
            }
            None => Ok(()),
        }
    }

    fn check(self, if_version: Option<Vec<i64>>) -> Result<Patch, ApiError> {
        let customer = match self.customer {
            Change::Keep => CustomerPatch::default(),
            Change::Reset => CustomerPatch { id: Change::Reset, name: Change::Reset, email: Change::Reset },
            Change::Set(customer) => customer,
        };
        let (clear_metadata, pairs) = match self.metadata {
            Change::Keep => (false, BTreeMap::new()),
            Change::Reset => (true, BTreeMap::new()),
            Change::Set(pairs) => (false, pairs),
        };
        for (key, value) in &pairs {
            fields::metadata_pair("metadata", key, value.as_deref())?;
        }
        Ok(Patch {
            topic: field(self.topic, |topic| fields::topic("topic", topic))?,
            language: field(self.language, |language| fields::language("language", language))?,
            customer_id: field(customer.id, |id| fields::foreign_id("customer.id", id))?,
            customer_name: field(customer.name, |name| fields::name("customer.name", name))?,
            customer_email: field(customer.email, |email| fields::email("customer.email", email))?,
            clear_metadata,
            metadata: pairs.into_iter().collect(),
            if_version,
        })
    }
}

/// `None` leaves the field, `Some(None)` clears it.
fn field(
    change: Change<String>,
    check: impl FnOnce(String) -> Result<String, ApiError>,
) -> Result<Option<Option<String>>, ApiError> {
    Ok(match change.try_map(check)? {
        Change::Keep => None,
        Change::Reset => Some(None),
        Change::Set(value) => Some(Some(value)),
    })
}

/// The versions that `If-Match` allows; none is any. A tag that is not ours matches nothing.
fn if_match(headers: &HeaderMap) -> Option<Vec<i64>> {
    let mut tags = headers.get_all(header::IF_MATCH).peekable();
    tags.peek()?;
    let mut versions = Vec::new();
    for tag in tags.flat_map(|tags| tags.to_str().unwrap_or_default().split(',')) {
        match tag.trim() {
            "*" => return None,
            tag => versions
                .extend(tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')?.parse::<i64>().ok())),
        }
    }
    Some(versions)
}

/// Changes fields.
pub(in crate::http) async fn patch(
    caller: Party<WriteConversations>,
    id: PathId<ConversationId>,
    request: HttpRequest,
    body: Json<PatchBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let key = (caller.org, *id);
    if caller.is_page() {
        body.value.only_what_customers_say()?;
    }
    let patch = body.value.check(if_match(request.headers()))?;
    let changed = parts.directory.patch(key, patch).await.map_err(|refusal| refused(key, refusal))?;
    Ok(shown(&changed))
}

/// Erases the conversation and everything of it.
pub(in crate::http) async fn delete(
    caller: Caller<DeleteConversations>,
    id: PathId<ConversationId>,
    request: HttpRequest,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let key = (caller.org, *id);
    let if_version = if_match(request.headers());
    let noted = Entry::new(key.0, caller.by(), Action::ConversationErased, Target::Conversation(key.1));
    let deleted = parts.directory.delete(key, if_version, Some(noted)).await;
    deleted.map_err(|refusal| refused(key, refusal))?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct CompleteBody {
    resolution: Option<Resolution>,
}

/// Completes the conversation; a running turn is stopped.
pub(in crate::http) async fn complete(
    caller: Caller<WriteConversations>,
    id: PathId<ConversationId>,
    repeatable: Repeatable,
    body: OptionalJson<CompleteBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let key = (caller.org, *id);
    let (directory, resolution, by) = (parts.directory.clone(), body.resolution, Some(caller.by()));
    let act = async move |row| directory.complete(key, resolution, by, row).await;
    changed(&caller, key, repeatable, &body.raw, &parts, act).await
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RatingBody {
    score: i64,
    comment: Option<String>,
}

/// What the customer thinks of it; the last rating counts.
pub(in crate::http) async fn rate(
    caller: Party<WriteConversations>,
    id: PathId<ConversationId>,
    repeatable: Repeatable,
    body: Json<RatingBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let key = (caller.org, *id);
    let Json { value: RatingBody { score, comment }, raw } = body;
    if !(1..=5).contains(&score) {
        return Err(ApiError::invalid_field("score", "it must be from 1 to 5"));
    }
    let comment = comment.map(|comment| fields::comment("comment", comment)).transpose()?;
    let directory = parts.directory.clone();
    let act = async move |row| directory.rate(key, Rating { score, comment }, row).await;
    changed(&caller, key, repeatable, &raw, &parts, act).await
}

/// A verb whose answer is the conversation.
async fn changed<F>(
    caller: &Caller<WriteConversations>,
    key: ConversationKey,
    repeatable: Repeatable,
    body: &[u8],
    parts: &Parts,
    act: impl FnOnce(Option<Row>) -> F + 'static,
) -> Result<HttpResponse, ApiError>
where
    F: Future<Output = Result<Conversation, Refusal>> + 'static,
{
    let effect = Effect::Conversation { conversation: key.1 };
    let act = move |stamp: Option<Stamp>| async move {
        let row = stamp.as_ref().map(|stamp| stamp.row(&effect));
        let conversation = act(row).await.map_err(|refusal| refused(key, refusal))?;
        // What held already was not stored again, and neither was its row.
        if let Some(stamp) = stamp {
            stamp.record(&effect).await;
        }
        Ok((conversation, effect))
    };
    match repeatable.once(parts, repeats::scope(caller), body, act).await? {
        Once::First(conversation) => Ok(shown(&conversation)),
        Once::Repeat(Effect::Conversation { .. }) => {
            let conversation = read::conversation(&parts.store, key).await?;
            conversation.map(|present| replayed(shown(&present))).ok_or_else(ApiError::not_found)
        }
        Once::Repeat(other) => Err(of_another_kind(&other)),
    }
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct TypingBody {
    role: Option<Sender>,
}

/// Tells the conversation's streams that somebody types. Nothing is stored, so a repeat is simply another notice.
pub(in crate::http) async fn typing(
    caller: Party<AnySecretKey>,
    id: PathId<ConversationId>,
    _: Repeatable,
    body: OptionalJson<TypingBody>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let key = (caller.org, *id);
    let sender = body.role.unwrap_or_default();
    caller.require(scope_of(sender))?;
    parts.directory.typing(key, sender.as_str()).await.map_err(|refusal| refused(key, refusal))?;
    Ok(HttpResponse::NoContent().finish())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn if_match_names_versions_or_any() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, HeaderValue::from_static(value));
            if_match(&headers)
        };
        assert_eq!(if_match(&HeaderMap::new()), None);
        assert_eq!(read("*"), None);
        assert_eq!(read("\"3\""), Some(vec![3]));
        assert_eq!(read("\"3\", \"4\""), Some(vec![3, 4]));
        // A weak tag never matches strongly, and another's tag not at all.
        assert_eq!(read("W/\"3\""), Some(vec![]));
        assert_eq!(read("\"abc\""), Some(vec![]));
    }
}
