//! A webhook: where it is, what it is told, and what it must look like.

mod headers;
mod url;

use serde::Serialize;

pub use self::{headers::Headers, url::EndpointUrl};
use super::{address::NotAllowed, sign::SigningSecret};
use crate::{
    clock::Timestamp,
    ids::{OrgId, WebhookId},
    outbox::{EventPattern, Filters, Subscription},
    patch::{self, Change, InvalidField},
    store::StoreError,
    writer::WriteError,
};

/// A line for people.
const LONGEST_DESCRIPTION: usize = 500;

/// Entries of a filter: each is compared with every event.
pub const MOST_FILTERS: usize = 50;

/// A channel's or topic's name, as conversations have them.
const LONGEST_NAME: usize = 64;

/// An endpoint as it is stored.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Whose.
    pub org: OrgId,
    /// Which.
    pub id: WebhookId,
    /// Where.
    pub url: EndpointUrl,
    /// What it is told.
    pub filters: Filters,
    /// For people.
    pub description: String,
    /// It is sent to; else what it is told is held.
    pub enabled: bool,
    /// Why we disabled it, if we did.
    pub disabled_reason: Option<String>,
    /// The next event of a conversation waits for the one before it.
    pub ordered: bool,
    /// Sent with everything.
    pub headers: Headers,
    /// What is signed with.
    pub secret: SigningSecret,
    /// What is signed with too, until then.
    pub previous: Option<(SigningSecret, Timestamp)>,
    /// Grows with each change.
    pub version: i64,
    /// The first failure since the last success.
    pub failing_since: Option<Timestamp>,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl Webhook {
    /// What the outbox must know.
    pub(super) fn subscription(&self) -> Subscription {
        Subscription {
            id: self.id,
            filters: self.filters.clone(),
            enabled: self.enabled,
            version: self.version,
        }
    }

    /// The secrets that sign at that time.
    pub(super) fn secrets(&self, now: Timestamp) -> Vec<SigningSecret> {
        let previous = self.previous.as_ref().filter(|(_, ends)| *ends > now);
        [&self.secret].into_iter().chain(previous.map(|(secret, _)| secret)).cloned().collect()
    }
}

/// An endpoint as everyone sees it who may read webhooks, and as `webhook.disabled` shows it.
#[derive(Debug, Serialize)]
pub struct WebhookView<'a> {
    id: WebhookId,
    url: String,
    events: &'a [EventPattern],
    channels: &'a [String],
    topics: &'a [String],
    description: &'a str,
    enabled: bool,
    disabled_reason: Option<&'a str>,
    ordered: bool,
    /// Their names; what they say is shown to nobody.
    headers: std::collections::BTreeMap<&'a str, Option<&'a str>>,
    previous_secret_expires_at: Option<Timestamp>,
    failing_since: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> WebhookView<'a> {
    /// The webhook as it is at that time.
    #[must_use]
    pub fn of(webhook: &'a Webhook, now: Timestamp) -> Self {
        let previous = webhook.previous.as_ref().map(|(_, ends)| *ends);
        Self {
            id: webhook.id,
            url: webhook.url.to_string(),
            events: &webhook.filters.events,
            channels: &webhook.filters.channels,
            topics: &webhook.filters.topics,
            description: &webhook.description,
            enabled: webhook.enabled,
            disabled_reason: webhook.disabled_reason.as_deref(),
            ordered: webhook.ordered,
            headers: webhook.headers.names().map(|name| (name, None)).collect(),
            previous_secret_expires_at: previous.filter(|ends| *ends > now),
            failing_since: webhook.failing_since,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
        }
    }
}

/// What a webhook is to be.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Where.
    pub url: EndpointUrl,
    /// What it is told.
    pub filters: Filters,
    /// For people.
    pub description: String,
    /// It is sent to.
    pub enabled: bool,
    /// In order, per conversation.
    pub ordered: bool,
    /// Sent with everything.
    pub headers: Headers,
}

/// What is to become of a webhook's fields.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the fields are those of NewWebhook")]
pub struct WebhookPatch {
    pub url: Change<EndpointUrl>,
    pub events: Change<Vec<EventPattern>>,
    pub channels: Change<Vec<String>>,
    pub topics: Change<Vec<String>>,
    pub description: Change<String>,
    pub enabled: Change<bool>,
    pub ordered: Change<bool>,
    pub headers: Change<Headers>,
}

impl WebhookPatch {
    /// It says something of other fields than `enabled`.
    pub(super) fn has_fields(&self) -> bool {
        let Self { url, events, channels, topics, description, enabled: _, ordered, headers } = self;
        !matches!(
            (url, events, channels, topics, description, ordered, headers),
            (
                Change::Keep,
                Change::Keep,
                Change::Keep,
                Change::Keep,
                Change::Keep,
                Change::Keep,
                Change::Keep
            )
        )
    }
}

/// What every webhook must be.
pub(super) fn check(filters: &Filters, description: &str) -> Result<(), InvalidField> {
    patch::text("description", description, LONGEST_DESCRIPTION)?;
    let counts = [
        ("events", filters.events.len()),
        ("channels", filters.channels.len()),
        ("topics", filters.topics.len()),
    ];
    for (param, count) in counts {
        if count > MOST_FILTERS {
            return Err(InvalidField::new(param, format!("must be at most {MOST_FILTERS}")));
        }
    }
    for (param, names) in [("channels", &filters.channels), ("topics", &filters.topics)] {
        names.iter().try_for_each(|name| patch::text(param, name, LONGEST_NAME))?;
    }
    Ok(())
}

/// Why nothing was made, changed or sent.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// None of that id in the organization.
    #[error("no such webhook")]
    NotFound,
    /// A field cannot be so.
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    /// Its address is none that may be sent to.
    #[error("{0}")]
    NotAllowed(#[from] NotAllowed),
    /// The organization has as many as it may.
    #[error("an organization may have {0} webhooks: delete one that is not used any more")]
    TooMany(i64),
    /// What is to be sent was erased.
    #[error("what was to be sent was erased, with its conversation or for its age")]
    Erased,
    /// What is asked for would take too long to count.
    #[error(
        "a replay may queue at most {0} events: ask for a shorter time or fewer types, and for the rest later"
    )]
    ReplayTooLarge(i64),
    /// Another replay to the webhook is not at its end.
    #[error("a replay to this webhook is being queued already: ask again when it has ended")]
    Replaying,
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store could not be written. [`WriteError::Conflict`] means that the row which came with the command is
    /// there already, or that others keep changing the webhook.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// There is no randomness for a secret.
    #[error("the system gave no random bytes")]
    Random(#[from] getrandom::Error),
    /// The dispatcher is busy or gone.
    #[error("webhooks cannot be sent right now")]
    Busy,
}
