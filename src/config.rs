//! What can be set, each with its unit, its safe default and the reason for it.
//!
//! One TOML file, over it the environment (`OPENCLAW__SECTION__KEY`), over that the flags. An unknown key is an error
//! wherever it stands. Lists are JSON or comma-separated in the environment.

mod knowledge;
mod layers;
mod openai;
mod tls;
mod webhooks;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use openclaw_actors::{answer::synthetic::Synthetic, webhook::address::Cidr};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use subtle::ConstantTimeEq;

pub use self::{
    knowledge::{EmbeddingsConfig, KnowledgeConfig},
    layers::{Layers, Origin},
    openai::OpenAiModel,
    tls::{Tls, TlsFiles},
    webhooks::Webhooks,
};

/// The configuration is of no use; says which key and why.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key that does not exist, or a value of the wrong kind.
    #[error("{0}")]
    Unreadable(#[from] config::ConfigError),
    /// A value out of its range, or two that contradict each other.
    #[error("{key}: {reason}")]
    Senseless {
        /// `section.key`
        key: &'static str,
        /// What to do instead.
        reason: String,
    },
}

/// Everything that can be set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Listening, and who may look in.
    pub server: Server,
    /// Where everything is kept.
    pub store: StoreConfig,
    /// How much is allowed.
    pub limits: Limits,
    /// What answers.
    pub model: Model,
    /// How articles are searched.
    pub knowledge: KnowledgeConfig,
    /// The life of a conversation.
    pub conversations: Conversations,
    /// What customers' endpoints are told.
    pub webhooks: Webhooks,
    /// What is written to standard error.
    pub log: Log,
}

/// `[server]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where to listen. Loopback unless told otherwise: elsewhere it needs TLS, here (`tls`) or in front
    /// (`behind_proxy`).
    pub listen: SocketAddr,
    /// TLS that ends here.
    pub tls: Tls,
    /// A proxy that ends TLS stands in front, so that listening in the clear is not reckless.
    pub behind_proxy: bool,
    /// Proxies that are believed when they say for whom they ask (`Forwarded`, `X-Forwarded-For`, `X-Forwarded-Host`):
    /// `10.0.0.0/8`. Anyone else could say anything.
    #[serde(deserialize_with = "list")]
    pub trusted_proxies: Vec<Cidr>,
    /// Opens `POST /v1/organizations`. Without one, organizations are made by the command line.
    pub admin_token: Option<Secret>,
    /// The address that people use, for links in what we send.
    pub public_url: Option<String>,
    /// A listener of its own for health and metrics, which the main one then does not show.
    pub ops_listen: Option<SocketAddr>,
    /// Asked for by `/metrics` as a bearer token, from this machine too.
    pub metrics_token: Option<Secret>,
    /// Threads that serve HTTP; 0 is one per core.
    pub workers: usize,
    /// Connections served at once; those beyond get a 503. 0 is what the process's file limit allows.
    pub max_connections: usize,
    /// How often a WebSocket's client is asked whether it is there. Proxies cut what is silent for a minute, some for
    /// half of one.
    pub websocket_ping_seconds: NonZeroU32,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: Tls::default(),
            behind_proxy: false,
            trusted_proxies: Vec::new(),
            admin_token: None,
            public_url: None,
            ops_listen: None,
            metrics_token: None,
            workers: 0,
            max_connections: 0,
            websocket_ping_seconds: whole(15),
        }
    }
}

impl Server {
    /// As a duration.
    #[must_use]
    pub fn websocket_ping_every(&self) -> Duration {
        Duration::from_secs(u64::from(self.websocket_ping_seconds.get()))
    }

    /// Is it a proxy that is believed?
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }
}

/// `[store]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// The data directory: the embedded database, the pepper of key hashes, the name of this node.
    pub data: PathBuf,
    /// PostgreSQL instead of the embedded database: `postgres://…`. May hold a password.
    pub database_url: Option<Secret>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { data: PathBuf::from("data"), database_url: None }
    }
}

/// `[limits]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests of one key in any 60 seconds, unless the key has a number of its own.
    pub requests_per_minute: NonZeroU32,
    /// Streams that one key may hold open.
    pub streams_per_key: NonZeroU32,
    /// Conversations that one address may start in any 60 seconds with a publishable key.
    pub starts_per_address: NonZeroU32,
    /// Turns that may be answered at once; past it 503. Each holds up to 64 KiB of text and one upstream call.
    pub running_turns: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_minute: whole(100),
            starts_per_address: whole(10),
            streams_per_key: whole(1_000),
            running_turns: whole(10_000),
        }
    }
}

const fn whole(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

/// `[model]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Model {
    /// What answers: the first, and if it fails the next.
    #[serde(deserialize_with = "list")]
    pub providers: Vec<Provider>,
    /// The `openai` provider.
    pub openai: OpenAiModel,
    /// The `synthetic` provider.
    pub synthetic: SyntheticModel,
}

impl Default for Model {
    fn default() -> Self {
        let (openai, synthetic) = (OpenAiModel::default(), SyntheticModel::default());
        Self { providers: vec![Provider::Builtin], openai, synthetic }
    }
}

/// Something that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// The articles' own words; needs no network.
    Builtin,
    /// A language model behind an endpoint that speaks OpenAI's `/chat/completions`.
    #[serde(rename = "openai")]
    OpenAi,
    /// Text of a given length at a given pace, for load tests.
    Synthetic,
}

impl FromStr for Provider {
    type Err = de::value::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::deserialize(de::value::StrDeserializer::new(text))
    }
}

/// `[model.synthetic]`
#[derive(Debug, Clone, Default, Serialize)]
pub struct SyntheticModel {
    /// A message may bring its own.
    pub per_request: bool,
    /// How it answers.
    #[serde(flatten)]
    pub answers: Synthetic,
}

// `flatten` and `deny_unknown_fields` exclude each other.
impl<'de> Deserialize<'de> for SyntheticModel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Flat {
            per_request: bool,
            first_token_ms: u64,
            tokens_per_second: f64,
            tokens: u32,
            jitter: f64,
            failure_rate: f64,
            panic_rate: f64,
            seed: u64,
        }
        impl Default for Flat {
            fn default() -> Self {
                let Synthetic {
                    first_token_ms,
                    tokens_per_second,
                    tokens,
                    jitter,
                    failure_rate,
                    panic_rate,
                    seed,
                } = Synthetic::default();
                Self {
                    per_request: false,
                    first_token_ms,
                    tokens_per_second,
                    tokens,
                    jitter,
                    failure_rate,
                    panic_rate,
                    seed,
                }
            }
        }
        let Flat {
            per_request,
            first_token_ms,
            tokens_per_second,
            tokens,
            jitter,
            failure_rate,
            panic_rate,
            seed,
        } = Flat::deserialize(deserializer)?;
        let answers =
            Synthetic { first_token_ms, tokens_per_second, tokens, jitter, failure_rate, panic_rate, seed };
        Ok(Self { per_request, answers })
    }
}

/// `[conversations]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conversations {
    /// The actor of a quiet conversation leaves memory after that; the next message brings it back.
    pub passivate_after_seconds: NonZeroU32,
    /// A conversation in which nothing was said for that long is completed; 0: never. A day: whoever comes back later
    /// has another question.
    pub idle_completion_minutes: u32,
}

impl Default for Conversations {
    fn default() -> Self {
        Self { passivate_after_seconds: whole(300), idle_completion_minutes: 1_440 }
    }
}

impl Conversations {
    /// After how long an idle conversation is completed, if ever.
    #[must_use]
    pub fn idle_completion(&self) -> Option<Duration> {
        let minutes = u64::from(self.idle_completion_minutes);
        (minutes > 0).then(|| Duration::from_secs(minutes * 60))
    }

    /// As a duration.
    #[must_use]
    pub fn passivate_after(&self) -> Duration {
        Duration::from_secs(u64::from(self.passivate_after_seconds.get()))
    }
}

/// `[log]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// For people or for programs.
    pub format: LogFormat,
    /// What is logged, as in `RUST_LOG`: `info,openclaw_actors=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Human, filter: "info".to_owned() }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One line of words.
    Human,
    /// One JSON object.
    Json,
}

/// Text that is never shown: not in logs, not by `openclaw-server config`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A header can bear it: visible ASCII characters, and at least one.
    fn is_visible(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// The same bytes? Takes the same time whatever they are.
    #[must_use]
    pub fn is(&self, guess: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(guess).into()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(set)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(set)")
    }
}

/// A list, or the text of one: JSON, or its items between commas.
fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: de::DeserializeOwned + FromStr<Err: fmt::Display>,
{
    struct ListOrText<T>(std::marker::PhantomData<T>);

    impl<'de, T> de::Visitor<'de> for ListOrText<T>
    where
        T: de::DeserializeOwned + FromStr<Err: fmt::Display>,
    {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list, or its items between commas")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            if text.trim_start().starts_with('[') {
                return serde_json::from_str(text).map_err(E::custom);
            }
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(|item| item.parse().map_err(E::custom)).collect()
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, items: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(de::value::SeqAccessDeserializer::new(items))
        }
    }

    deserializer.deserialize_any(ListOrText(std::marker::PhantomData))
}

/// A setting that a flag overrides: `("server.listen", "127.0.0.1:0")`.
pub type Override = (&'static str, String);

impl Config {
    /// Reads the file, if one is named, then the environment, then the flags.
    ///
    /// # Errors
    /// The file is missing or not TOML, a key is unknown, or a value makes no sense.
    pub fn load(file: Option<PathBuf>, flags: &[Override]) -> Result<Self, ConfigError> {
        Layers::read(file, flags)?.config()
    }

    /// What the types alone cannot say.
    fn check(&self) -> Result<(), ConfigError> {
        let senseless = |key, reason: &str| Err(ConfigError::Senseless { key, reason: reason.to_owned() });
        self.server.tls.check()?;
        let is_protected = self.server.behind_proxy || self.server.tls.files().is_some();
        if !self.server.listen.ip().is_loopback() && !is_protected {
            return Err(ConfigError::Senseless {
                key: "server.listen",
                reason: format!(
                    "{} can be reached from other machines and would be served in the clear: listen on 127.0.0.1, \
                     or name server.tls.certificate and server.tls.key, or put a proxy with TLS in front and set \
                     server.behind_proxy = true (OPENCLAW__SERVER__BEHIND_PROXY=true)",
                    self.server.listen
                ),
            });
        }
        if self.model.providers.is_empty() {
            return senseless("model.providers", "name at least one of builtin, openai, synthetic");
        }
        self.model.openai.check(self.model.providers.contains(&Provider::OpenAi))?;
        self.knowledge.check()?;
        self.webhooks.check()?;
        if let Err(field) = self.model.synthetic.answers.check() {
            return senseless("model.synthetic", &format!("{field} is out of range"));
        }
        let tokens = [
            ("server.admin_token", &self.server.admin_token),
            ("server.metrics_token", &self.server.metrics_token),
        ];
        for (key, token) in tokens {
            if token.as_ref().is_some_and(|token| token.expose().len() < SHORTEST_TOKEN) {
                return senseless(key, "use at least 16 characters, chosen at random");
            }
        }
        Ok(())
    }
}

/// Fewer characters could be guessed over the network.
const SHORTEST_TOKEN: usize = 16;

#[cfg(test)]
mod tests {
    use config::{File, FileFormat};

    use super::*;

    fn read(toml: &str) -> Result<Config, ConfigError> {
        let source = File::from_str(toml, FileFormat::Toml);
        let config: Config = config::Config::builder().add_source(source).build()?.try_deserialize()?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn nothing_set_is_safe() {
        let config = read("").expect("the defaults make sense");
        assert!(config.server.listen.ip().is_loopback());
        assert_eq!(config.limits.requests_per_minute.get(), 100);
        assert_eq!(config.model.providers, [Provider::Builtin]);
    }

    #[test]
    fn lists_are_toml_json_or_comma_separated() {
        for toml in [
            "model.providers = ['synthetic', 'builtin']",
            "model.providers = 'synthetic, builtin'",
            r#"model.providers = '["synthetic","builtin"]'"#,
        ] {
            let config = read(toml).expect(toml);
            assert_eq!(config.model.providers, [Provider::Synthetic, Provider::Builtin], "{toml}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (toml, named) in [
            ("server.lissten = '127.0.0.1:1'", "lissten"),
            ("limits.requests_per_minute = 0", "requests_per_minute"),
            ("limits.requests_per_minute = 'many'", "requests_per_minute"),
            ("server.listen = '0.0.0.0:8080'", "behind_proxy = true"),
            ("model.providers = 'oracle'", "oracle"),
            ("model.providers = ''", "model.providers"),
            ("model.synthetic.jitter = 2", "jitter"),
            ("model.synthetic.speed = 2", "speed"),
            ("model.providers = 'openai'", "model.openai.base_url"),
            ("model = { providers = 'openai', openai.base_url = 'http://a/v1' }", "model.openai.model"),
            ("model = { providers = 'openai', openai.model = 'm' }", "model.openai.base_url"),
            ("model.openai.base_url = 'ftp://a'", "https://api.openai.com/v1"),
            ("model.openai.base_url = 'http://me:key@a/v1'", "put the key into api_key"),
            ("model.openai.model = 'builtin'", "model.openai.model"),
            ("model.openai.model = ''", "model.openai.model"),
            ("model.openai.api_key = \"a\\nb\"", "model.openai.api_key"),
            ("model.openai.first_token_timeout_ms = 0", "first_token_timeout_ms"),
            ("model.openai.total_timeout_ms = 3600001", "model.openai.total_timeout_ms"),
            ("model.openai.temperature = 1", "temperature"),
            ("webhooks.allow_cidrs = ['10.0.0.0']", "10.0.0.0/8"),
            ("webhooks.waits_ms = [1, 2, 3, 4, 5]", "webhooks.waits_ms"),
            ("webhooks.waits_ms = 'soon'", "waits_ms"),
            ("webhooks.timeout_ms = 0", "timeout_ms"),
            ("webhooks.jitter = 1.5", "webhooks.jitter"),
            ("webhooks.attempts = 3", "attempts"),
            ("server.admin_token = 'short'", "server.admin_token"),
            ("server.tls.certificate = 'a.pem'", "server.tls.key"),
            ("server.tls.key = 'a.pem'", "server.tls.certificate"),
        ] {
            let message = read(toml).expect_err(toml).to_string();
            assert!(message.contains(named), "{toml}: {message}");
        }
        read("server = { listen = '0.0.0.0:8080', behind_proxy = true }").expect("a proxy is in front");
        read("server = { listen = '0.0.0.0:8443', tls = { certificate = 'a.pem', key = 'b.pem' } }")
            .expect("TLS");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let toml = "server.admin_token = 'correct horse battery'\nmodel.openai.api_key = 'sk-horse'";
        let config = read(toml).expect("sensible");
        let shown = format!("{config:?}{}", serde_json::to_string(&config).expect("serializes"));
        assert!(!shown.contains("horse"), "{shown}");
        assert!(config.server.admin_token.is_some_and(|token| token.is(b"correct horse battery")));
    }
}
