//! `[webhooks]`

use std::{io, net::SocketAddr, num::NonZeroU64, path::PathBuf, time::Duration};

use openclaw_actors::{
    tls::Trust,
    webhook::{
        Schedule,
        address::{AddressPolicy, Cidr},
    },
};
use serde::{Deserialize, Serialize};

use super::{ConfigError, list};

/// An exchange that takes longer is no answer to anything; and each holds a place among those that all share.
const LONGEST_TIMEOUT_MS: u64 = 30_000;

/// A week: nobody waits longer for an event.
const LONGEST_WAIT_MS: u64 = 604_800_000;

/// One before each attempt but the first.
const MOST_WAITS: usize = 4;

/// How events are sent to the endpoints of customers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// Networks that may be sent to although they are not public: `10.20.0.0/16`. None, because whoever may make
    /// webhooks could otherwise reach what stands beside this server.
    #[serde(deserialize_with = "list")]
    pub allow_cidrs: Vec<Cidr>,
    /// Addresses may begin with http://. Not otherwise, because what customers said would be read on the way.
    pub allow_http: bool,
    /// Who is asked what names stand for, each as `10.0.0.53:53`; none: as this machine does. A nameserver that knows
    /// public names alone does not tell whoever makes webhooks what stands beside this server.
    #[serde(deserialize_with = "list")]
    pub nameservers: Vec<SocketAddr>,
    /// Certificate authorities, as PEM, that are trusted beside those of this machine: for receivers of one's own.
    pub ca_file: Option<PathBuf>,
    /// For one attempt: name, connection, TLS, request and answer.
    pub timeout_ms: NonZeroU64,
    /// Before the second attempt, the third, and so on; the last for all after it.
    #[serde(deserialize_with = "list")]
    pub waits_ms: Vec<u64>,
    /// Each wait is up to that part longer or shorter, so that what failed together does not come back together.
    pub jitter: f64,
    /// Failures in a row after which an endpoint is left alone; 0: never.
    pub breaker_failures: u32,
    /// How long, before one attempt may try again.
    pub breaker_probe_ms: NonZeroU64,
}

impl Default for Webhooks {
    fn default() -> Self {
        let Schedule { timeout, waits, jitter, breaker_failures, breaker_probe } = Schedule::default();
        Self {
            allow_cidrs: Vec::new(),
            allow_http: false,
            nameservers: Vec::new(),
            ca_file: None,
            timeout_ms: milliseconds(timeout),
            waits_ms: waits.into_iter().map(|wait| milliseconds(wait).get()).collect(),
            jitter,
            breaker_failures,
            breaker_probe_ms: milliseconds(breaker_probe),
        }
    }
}

fn milliseconds(duration: Duration) -> NonZeroU64 {
    u64::try_from(duration.as_millis()).ok().and_then(NonZeroU64::new).unwrap_or(NonZeroU64::MIN)
}

impl Webhooks {
    /// When attempts are made.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        Schedule {
            timeout: Duration::from_millis(self.timeout_ms.get()),
            waits: self.waits_ms.iter().copied().map(Duration::from_millis).collect(),
            jitter: self.jitter,
            breaker_failures: self.breaker_failures,
            breaker_probe: Duration::from_millis(self.breaker_probe_ms.get()),
        }
    }

    /// Where to.
    #[must_use]
    pub fn policy(&self) -> AddressPolicy {
        AddressPolicy::new(&self.allow_cidrs, self.allow_http).with_nameservers(&self.nameservers)
    }

    /// Whom to believe that it is the endpoint.
    ///
    /// # Errors
    /// The file of authorities is none.
    pub fn trust(&self) -> io::Result<Trust> {
        self.ca_file.as_deref().map(Trust::read).transpose().map(Option::unwrap_or_default)
    }

    /// What the types alone cannot say.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let senseless = |key, reason: &str| Err(ConfigError::Senseless { key, reason: reason.to_owned() });
        if self.timeout_ms.get() > LONGEST_TIMEOUT_MS {
            return senseless("webhooks.timeout_ms", "use at most 30000, half a minute");
        }
        if self.waits_ms.is_empty() || self.waits_ms.len() > MOST_WAITS {
            return senseless("webhooks.waits_ms", "use 1 to 4 waits: there are 5 attempts");
        }
        if self.waits_ms.iter().any(|wait| *wait > LONGEST_WAIT_MS) {
            return senseless("webhooks.waits_ms", "use at most 604800000, a week");
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return senseless("webhooks.jitter", "use a part from 0 to 1");
        }
        if self.breaker_probe_ms.get() > LONGEST_WAIT_MS {
            return senseless("webhooks.breaker_probe_ms", "use at most 604800000, a week");
        }
        Ok(())
    }
}
