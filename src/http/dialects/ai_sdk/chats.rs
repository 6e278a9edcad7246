//! Which conversation a chat is: named by its `conv_` id, or by the client's own.

use openclaw_actors::{
    conversation::{messages::ConversationKey, record::Details, sql::client_ids},
    ids::{ConversationId, KeyId, OrgId},
};

use crate::{
    http::{
        auth::{Caller, elsewhere},
        conversations::{fields, refused, start::DEFAULT_CHANNEL},
        error::ApiError,
    },
    server::Parts,
};

/// A chat that its caller may use.
#[derive(Debug, Clone)]
pub(super) struct Chat {
    org: OrgId,
    /// Whose own ids are meant: those of different keys never meet.
    key: KeyId,
    name: Name,
}

#[derive(Debug, Clone)]
enum Name {
    Ours(ConversationId),
    Theirs(String),
}

impl Chat {
    /// The one place that says which chats a caller may use: those of its organization, and under names of its own
    /// those of its own key. A client token stands for one conversation, and is held to that one.
    ///
    /// # Errors
    /// 404 for what can be no conversation of ours, 400 for what can be no name, 403 for another conversation.
    pub(super) fn of<P>(caller: &Caller<P>, name: &str) -> Result<Self, ApiError> {
        let name = match name.starts_with(ConversationId::PREFIX) {
            true => Name::Ours(name.parse().map_err(|_| ApiError::not_found())?),
            false => Name::Theirs(fields::foreign_id("id", name.to_owned())?),
        };
        if let Some(client) = caller.principal.client {
            match name {
                Name::Ours(id) if id == client.conversation => {}
                Name::Ours(_) | Name::Theirs(_) => return Err(elsewhere()),
            }
        }
        Ok(Self { org: caller.org, key: caller.principal.key, name })
    }

    /// The conversation; none if the name was not used yet. One of ours may not exist.
    pub(super) async fn find(&self, parts: &Parts) -> Result<Option<ConversationKey>, ApiError> {
        let id = match &self.name {
            Name::Ours(id) => Some(*id),
            Name::Theirs(name) => client_ids::find(&parts.store, self.org, self.key, name).await?,
        };
        Ok(id.map(|id| (self.org, id)))
    }

    /// The conversation, which begins now if the name was not used yet.
    pub(super) async fn get_or_create(&self, parts: &Parts) -> Result<ConversationKey, ApiError> {
        if let Some(found) = self.find(parts).await? {
            return Ok(found);
        }
        let Name::Theirs(name) = &self.name else { return Err(ApiError::not_found()) };
        let key = (self.org, ConversationId::generate());
        // The name is stored with the conversation: whoever comes second creates nothing.
        let row = client_ids::row(self.key, name, key);
        let details = Details { channel: DEFAULT_CHANNEL.to_owned(), ..Details::default() };
        match parts.directory.start(key, details, None, Some(row)).await {
            Ok(_) => Ok(key),
            Err(refusal) => self.find(parts).await?.ok_or_else(|| refused(key, refusal)),
        }
    }
}
