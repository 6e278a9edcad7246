//! What clients send about webhooks.

use std::collections::BTreeMap;

use openclaw_actors::{
    clock::Timestamp,
    outbox::{EventPattern, Filters},
    patch::{Change, InvalidField},
    webhook::{
        endpoint::{EndpointUrl, Headers, MOST_FILTERS, NewWebhook, WebhookPatch},
        replay::{NewReplay, Only},
    },
};
use serde::Deserialize;

/// What a test event is called unless it is told otherwise.
const TEST: &str = "webhook.test";

/// The body of `POST /v1/webhooks`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewWebhookBody {
    url: String,
    #[serde(default)]
    events: Option<Vec<String>>,
    #[serde(default)]
    channels: Option<Vec<String>>,
    #[serde(default)]
    topics: Option<Vec<String>>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    enabled: Option<bool>,
    #[serde(default)]
    ordered: Option<bool>,
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
}

impl NewWebhookBody {
    pub(super) fn read(self) -> Result<NewWebhook, InvalidField> {
        Ok(NewWebhook {
            url: EndpointUrl::parse(&self.url)?,
            filters: Filters {
                events: patterns(self.events.unwrap_or_default())?,
                channels: self.channels.unwrap_or_default(),
                topics: self.topics.unwrap_or_default(),
            },
            description: self.description.unwrap_or_default(),
            enabled: self.enabled.unwrap_or(true),
            ordered: self.ordered.unwrap_or(false),
            headers: headers(self.headers.unwrap_or_default())?,
        })
    }
}

/// The body of `PATCH /v1/webhooks/{id}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookPatchBody {
    url: Change<String>,
    events: Change<Vec<String>>,
    channels: Change<Vec<String>>,
    topics: Change<Vec<String>>,
    description: Change<String>,
    enabled: Change<bool>,
    ordered: Change<bool>,
    headers: Change<BTreeMap<String, String>>,
}

impl WebhookPatchBody {
    pub(super) fn read(self) -> Result<WebhookPatch, InvalidField> {
        Ok(WebhookPatch {
            url: self.url.try_map(|url| EndpointUrl::parse(&url))?,
            events: self.events.try_map(patterns)?,
            channels: self.channels,
            topics: self.topics,
            description: self.description,
            enabled: self.enabled,
            ordered: self.ordered,
            headers: self.headers.try_map(headers)?,
        })
    }
}

fn patterns(names: Vec<String>) -> Result<Vec<EventPattern>, InvalidField> {
    let parse = |name: &String| {
        name.parse().map_err(|unknown| InvalidField::new("events", format!("{unknown}; {name} is none")))
    };
    names.iter().map(parse).collect()
}

fn headers(headers: BTreeMap<String, String>) -> Result<Headers, InvalidField> {
    Headers::new(headers.into_iter().collect())
}

/// The body of `POST /v1/webhooks/{id}/test`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestBody {
    event: Option<String>,
}

impl TestBody {
    pub(super) fn kind(&self) -> Result<String, InvalidField> {
        match self.event.as_deref() {
            None | Some(TEST) => Ok(TEST.to_owned()),
            // A pattern names several.
            Some(kind) if !kind.contains('*') && kind.parse::<EventPattern>().is_ok() => Ok(kind.to_owned()),
            Some(_) => Err(InvalidField::new("event", "must be webhook.test or one of the types of events")),
        }
    }
}

/// The body of `POST /v1/webhooks/{id}/replay`. Without it all that was given up is sent again.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayBody {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    events: Option<Vec<String>>,
    only: Option<Only>,
}

impl ReplayBody {
    pub(super) fn read(self) -> Result<NewReplay, InvalidField> {
        let events = patterns(self.events.unwrap_or_default())?;
        if events.len() > MOST_FILTERS {
            return Err(InvalidField::new("events", format!("must be at most {MOST_FILTERS}")));
        }
        Ok(NewReplay { since: self.since, until: self.until, events, only: self.only.unwrap_or_default() })
    }
}
