//! Lists of conversations, and of the events of one.

use std::collections::BTreeMap;

use actix_web::web::{Data, Json as Answer};
use openclaw_actors::{
    clock::Timestamp,
    conversation::{
        record::{Conversation, Status},
        sql::lists::{self, ConversationFilter, SortBy},
    },
    ids::ConversationId,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{messages::OldestFirst, slice};
use crate::{
    http::{
        auth::{Caller, Party, ReadConversations},
        error::ApiError,
        page::{Filters, List, Page},
        query::PathId,
    },
    server::Parts,
};

/// What a list of conversations may be asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::http) struct WhichConversations {
    status: Option<Status>,
    channel: Option<String>,
    topic: Option<String>,
    customer_id: Option<String>,
    started_after: Option<Timestamp>,
    started_before: Option<Timestamp>,
    metadata: BTreeMap<String, String>,
    q: Option<String>,
    sort: Sort,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    #[default]
    StartedAt,
    LastMessageAt,
}

impl Filters for WhichConversations {
    fn sort(&self) -> &'static str {
        match self.sort {
            Sort::StartedAt => "started_at",
            Sort::LastMessageAt => "last_message_at",
        }
    }
}

impl From<Sort> for SortBy {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::StartedAt => Self::StartedAt,
            Sort::LastMessageAt => Self::LastMessageAt,
        }
    }
}

/// The conversations of the caller's organization.
pub(in crate::http) async fn conversations(
    caller: Caller<ReadConversations>,
    list: List<WhichConversations>,
    parts: Data<Parts>,
) -> Result<Answer<Page<Conversation>>, ApiError> {
    let List { page, filters } = list;
    let by = filters.sort.into();
    let filter = ConversationFilter {
        status: filters.status,
        channel: filters.channel,
        topic: filters.topic,
        customer_id: filters.customer_id,
        started_after: filters.started_after,
        started_before: filters.started_before,
        metadata: filters.metadata.into_iter().collect(),
        prefix: filters.q.filter(|prefix| !prefix.is_empty()),
    };
    let found = lists::conversations(&parts.store, caller.org, &filter, by, slice(&page)?).await?;
    Ok(Answer(Page::new(found, &page, |conversation| lists::position(conversation, by))))
}

/// The durable events of a conversation, the same objects as on its stream.
pub(in crate::http) async fn events(
    caller: Party<ReadConversations>,
    id: PathId<ConversationId>,
    list: List<OldestFirst>,
    parts: Data<Parts>,
) -> Result<Answer<Page<Box<RawValue>>>, ApiError> {
    let key = (caller.org, *id);
    let slice = slice(&list.page)?;
    super::exists(&parts, key).await?;
    let events = lists::events(&parts.store, key, slice).await?;
    let page = Page::new(events, &list.page, |event| event.sequence);
    let Page { data, has_more, next_cursor } = page;
    let data = data.iter().map(|event| serde_json::from_slice(&event.json)).collect::<Result<_, _>>();
    Ok(Answer(Page { data: data.map_err(ApiError::internal)?, has_more, next_cursor }))
}
