//! A webhook: where it is, what it is told, and what it must look like.

use std::fmt;

use awc::http::{
    Uri,
    header::{HeaderName, HeaderValue},
};
use serde::Serialize;

use super::{address::NotAllowed, sign::SigningSecret};
use crate::{
    clock::Timestamp,
    ids::{OrgId, WebhookId},
    outbox::{EventPattern, Filters, Subscription},
    patch::{self, Change, InvalidField},
    store::StoreError,
    writer::WriteError,
};

/// Longer addresses are some mistake.
const LONGEST_URL: usize = 2_000;

/// A line for people.
const LONGEST_DESCRIPTION: usize = 500;

/// Entries of a filter: each is compared with every event.
const MOST_FILTERS: usize = 50;

/// A channel's or topic's name, as conversations have them.
const LONGEST_NAME: usize = 64;

const MOST_HEADERS: usize = 8;
const LONGEST_HEADER: usize = 1_000;

/// What only we say: who is spoken to, how the body is framed, and what is signed.
const OUR_HEADERS: [&str; 16] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Where events are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    text: String,
    /// With TLS.
    pub(super) is_https: bool,
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// As it stands in the address: what `Host` says.
    pub(super) authority: String,
    /// For awc, which is told of TCP alone: `http://host:443/path`.
    pub(super) on_the_wire: String,
}

impl EndpointUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// It is none that events can be sent to.
    pub fn parse(text: &str) -> Result<Self, InvalidField> {
        let wrong = |reason: &str| Err(InvalidField::new("url", reason));
        if text.len() > LONGEST_URL {
            return Err(InvalidField::new("url", format!("must be at most {LONGEST_URL} bytes")));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong("must be visible ASCII: write names of hosts in punycode, and encode the rest");
        }
        if text.contains(['#', '\\']) {
            return wrong("must not have a fragment or a backslash");
        }
        let Ok(uri) = text.parse::<Uri>() else {
            return wrong("must be an address such as https://example.com/hooks");
        };
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return wrong("must begin with https://"),
        };
        let (Some(authority), Some(host)) = (uri.authority(), uri.host().filter(|host| !host.is_empty()))
        else {
            return wrong("must name a host");
        };
        if authority.as_str().contains('@') {
            return wrong("must not hold a name or a password: use headers");
        }
        let has_port = authority.as_str().len() > host.len();
        let port = match uri.port_u16() {
            Some(port) if port > 0 => port,
            None if !has_port => {
                if is_https {
                    443
                } else {
                    80
                }
            }
            _ => return wrong("must have a port from 1 to 65535, or none"),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            on_the_wire: format!("http://{host}:{port}{path}"),
            host: host.trim_matches(['[', ']']).to_owned(),
            authority: authority.as_str().to_owned(),
            text: text.to_owned(),
            is_https,
            port,
        })
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Static headers, which nobody is shown again.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl Headers {
    /// Those of these names and values.
    ///
    /// # Errors
    /// There are too many, one is no header, or one is ours.
    pub fn new(headers: Vec<(String, String)>) -> Result<Self, InvalidField> {
        if headers.len() > MOST_HEADERS {
            return Err(InvalidField::new("headers", format!("must be at most {MOST_HEADERS}")));
        }
        for (name, value) in &headers {
            let is_header =
                HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok();
            if !is_header || name.len() + value.len() > LONGEST_HEADER || !value.is_ascii() {
                let reason =
                    format!("must be names and values of headers, of at most {LONGEST_HEADER} characters");
                return Err(InvalidField::new("headers", reason));
            }
            let lower = name.to_ascii_lowercase();
            if OUR_HEADERS.contains(&&*lower) || lower.starts_with("webhook-") {
                return Err(InvalidField::new(
                    "headers",
                    format!("must not set {lower}: that one is the server's"),
                ));
            }
        }
        let mut names: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(InvalidField::new("headers", "must not name a header twice"));
        }
        Ok(Self(headers))
    }

    /// What was stored, which was checked then.
    pub(super) fn stored(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self)
    }

    /// For the store, which seals it; `None` where there are none.
    pub(super) fn document(&self) -> Option<String> {
        // Text always serializes.
        (!self.0.is_empty()).then(|| serde_json::to_string(&self.0).unwrap_or_default())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_with_a_host_and_nothing_hidden_in_it() {
        let url = EndpointUrl::parse("https://example.com/hooks?a=b").unwrap();
        assert_eq!((url.is_https, &*url.host, url.port), (true, "example.com", 443));
        assert_eq!(url.on_the_wire, "http://example.com:443/hooks?a=b");
        let url = EndpointUrl::parse("http://[::1]:8080").unwrap();
        assert_eq!((&*url.host, url.port, &*url.authority), ("::1", 8080, "[::1]:8080"));
        for bad in [
            "",
            "example.com",
            "/hooks",
            "ftp://example.com",
            "https://",
            "https://:443/",
            "https://me:pw@example.com/",
            "https://example.com/#top",
            "https://example.com:0/",
            "https://example.com:99999/",
            "https://exa mple.com/",
            "https://exämple.com/",
            "https://example.com:/",
            "https:\\\\example.com",
            "javascript:alert(1)",
        ] {
            assert!(EndpointUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn static_headers_cannot_be_ours() {
        let one = |name: &str, value: &str| Headers::new(vec![(name.to_owned(), value.to_owned())]);
        assert!(one("Authorization", "Bearer x").is_ok() && one("X-Token", "").is_ok());
        for name in [
            "Host",
            "content-type",
            "Content-Length",
            "Webhook-Id",
            "webhook-signature",
            "a b",
            "",
            "Connection",
        ] {
            assert!(one(name, "x").is_err(), "{name}");
        }
        assert!(one("X-A", "a\r\nX-B: c").is_err());
        let shown = format!("{:?}", one("Authorization", "Bearer secret").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
