//! The server as a whole: store, then writer, then actors, then HTTP; and back in the opposite order.

mod chores;
mod homes;
mod listen;
mod places;
mod plain_spoken;
pub(crate) mod socket;
mod stopping;
mod stream;
mod tls;

use std::{io, net::SocketAddr, time::Duration};

use actix_web::{dev::ServerHandle, web};
use futures_util::future::join;
use openclaw_actors::{
    analytics::Analytics,
    answer::{
        Answerers, Model,
        cache::AnswerCache,
        grounded::Builtin,
        openai::{Endpoint, OpenAi},
    },
    audit::Audit,
    conversation::{
        directory::{ConversationOptions, Directory, REST_AFTER},
        sql::log,
    },
    idempotency::Idempotency,
    keys::{KeyRing, Pepper, PepperError, RingError, UsageWriter},
    knowledge::{Knowledge, messages::KnowledgeError},
    limiter::{OpenStreams, RateLimiter},
    log::Log,
    organization::Organizations,
    store::{Scrubbed, Store, StoreError},
    webhook::{SealingKeys, Webhooks},
    writer::{Health, Writer},
};
use tokio::time::timeout;
use tracing::{info, warn};

pub use self::{
    homes::Homes,
    stopping::Stopping,
    tls::{Loaded, TlsError},
};
use self::{
    listen::{listen, listen_for_operators},
    places::Places,
    stopping::Announcer,
    tls::Certificates,
};
use crate::{
    config::{Config, Provider},
    data::{DataDirectory, DataError, DataLock},
    http::{middleware::InFlight, tickets::Tickets},
    telemetry::{Exposition, HttpMetrics},
};

/// Parts of a stop, none of which takes that long unless something hangs.
const DRAIN_WITHIN: Duration = Duration::from_secs(1);
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// Reading a gigabyte takes about so long; the file of a larger database is done as far as the time goes.
const SCRUB_WITHIN: Duration = Duration::from_secs(1);

/// An endpoint that takes longer finds its event again after the next start.
const ATTEMPTS_END_WITHIN: Duration = Duration::from_secs(1);

/// How often the writer is asked whether it is broken.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory is in use or cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pepper of key hashes cannot be used.
    #[error(transparent)]
    Pepper(#[from] PepperError),
    /// The keys in the store are not those of this data directory.
    #[error(transparent)]
    Keys(#[from] RingError),
    /// The model's endpoint cannot be used from here.
    #[error("model.openai cannot be used: {0}")]
    Model(#[source] io::Error),
    /// Whom endpoints are to be vouched for by cannot be known.
    #[error("webhooks.ca_file cannot be used: {0}")]
    Trust(#[source] io::Error),
    /// The endpoint for embeddings cannot be used from here.
    #[error("knowledge.embeddings cannot be used: {0}")]
    Embeddings(#[source] io::Error),
    /// What an earlier process left undone could not be noted.
    #[error(transparent)]
    Knowledge(#[from] KnowledgeError),
    /// The certificate cannot be used.
    #[error("server.tls: {0}")]
    Tls(#[from] TlsError),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// What every handler may use.
#[derive(Debug)]
pub struct Parts {
    /// What is in force.
    pub config: Config,
    /// For reads.
    pub store: Store,
    /// For writes.
    pub writer: Writer,
    /// Who may call.
    pub keys: KeyRing,
    /// Who did what.
    pub audit: Audit,
    /// What answers are made of.
    pub knowledge: Knowledge,
    /// What organizations have chosen.
    pub organizations: Organizations,
    /// Who is told of events.
    pub webhooks: Webhooks,
    /// How often each key may call.
    pub limiter: RateLimiter,
    /// How many streams each key holds.
    pub open_streams: OpenStreams,
    /// Who sits where by a ticket.
    pub tickets: Tickets,
    /// The live conversations.
    pub directory: Directory,
    /// What happened in organizations.
    pub log: Log,
    /// What it adds up to.
    pub analytics: Analytics,
    /// Requests that may be sent twice.
    pub idempotency: Idempotency,
    /// The threads that serve HTTP, as homes for actors.
    pub homes: Homes,
    /// Tells streams and waits that the server is about to stop.
    pub stopping: Stopping,
}

/// A server that listens.
pub struct Running {
    /// Where it listens: the real port when 0 was asked for.
    pub address: SocketAddr,
    /// TLS ends here.
    pub is_tls: bool,
    /// Where operators find health and metrics, if they have a listener of their own.
    pub ops_address: Option<SocketAddr>,
    /// What its handlers use.
    pub parts: web::Data<Parts>,
    announcer: Announcer,
    in_flight: InFlight,
    listeners: Vec<ServerHandle>,
    _lock: DataLock,
}

/// Starts everything. Needs a running actix system, whose arbiters serve.
///
/// # Errors
/// See [`StartError`]; nothing is left running then but what ends with the system.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let certificates = config.server.tls.files().map(|files| Certificates::open(&files)).transpose()?;
    let data = DataDirectory::open(&config.store.data)?;
    let lock = data.lock()?;
    let store = match &config.store.database_url {
        Some(url) => Store::connect_postgres(url.expose()).await?,
        None => Store::open_sqlite(data.path()).await?,
    };
    let node = data.node()?;
    let writer = Writer::start(&store, &node).await?;
    let quota = config.limits.requests_per_minute;
    let pepper = Pepper::open(data.path())?;
    let sealing = sealing_keys(&pepper);
    let audit = audit(&pepper, &store, &writer);
    let keys = KeyRing::open(&store, &writer, pepper, quota).await?;
    UsageWriter::keep_running(keys.clone());
    let homes = Homes::default();
    let home_of = homes.clone();
    let limiter = RateLimiter::restore(&store, &node, move |key| home_of.of(&key)).await?;
    let (announcer, stopping) = stopping::channel();
    let knowledge = Knowledge::start_with(
        store.clone(),
        writer.clone(),
        config.knowledge.options().map_err(StartError::Embeddings)?,
    );
    knowledge.look_after().await?;
    let organizations = Organizations::new(&store, &writer);
    let answerers = answerers(&config, &store, &knowledge, &organizations)?;
    let directory = directory(&config, &store, &writer, answerers, organizations.clone());
    let hooks = &config.webhooks;
    let trust = hooks.trust().map_err(StartError::Trust)?;
    let webhooks = Webhooks::new(
        store.clone(),
        writer.clone(),
        sealing,
        hooks.schedule(),
        hooks.policy(),
        trust,
        log::rendered,
    );
    let parts = web::Data::new(Parts {
        directory,
        log: Log::follow(&store, &writer),
        analytics: Analytics::start(&store, &writer),
        idempotency: Idempotency::new(store.clone(), writer.clone()),
        knowledge,
        organizations,
        webhooks,
        open_streams: OpenStreams::new(config.limits.streams_per_key.get()),
        tickets: Tickets::default(),
        config,
        store,
        writer,
        keys,
        audit,
        limiter,
        homes,
        stopping,
    });

    let in_flight = InFlight::default();
    let http_metrics = HttpMetrics::default();
    let exposition = Exposition::new(&http_metrics);
    let places = Places::of(&parts.config.server, calls_at_once(&parts.config));
    let main = listen(&parts, &in_flight, &http_metrics, &exposition, places, certificates.as_ref())?;
    let mut listeners = vec![main.handle];
    let mut ops_address = None;
    if let Some(address) = parts.config.server.ops_listen {
        let ops = listen_for_operators(address, &parts, &exposition)?;
        listeners.push(ops.handle);
        ops_address = Some(ops.address);
    }
    let own = [Some(main.address), ops_address];
    own.into_iter().flatten().for_each(|address| parts.webhooks.policy().is_own(address));
    parts.webhooks.start();
    let is_tls = certificates.is_some();
    if let Some(certificates) = certificates {
        actix::spawn(certificates.keep_current());
    }
    chores::begin(&parts, places.workers);
    info!(server.address = %main.address, server.workers = places.workers,
        server.connections = places.served, "the server listens");
    Ok(Running {
        address: main.address,
        is_tls,
        ops_address,
        parts,
        announcer,
        in_flight,
        listeners,
        _lock: lock,
    })
}

/// What webhooks' secrets are kept under: made of the pepper, so that they too are lost to whoever has the database
/// alone.
fn sealing_keys(pepper: &Pepper) -> SealingKeys {
    let versions = pepper.versions();
    let key = |version| Some((version, pepper.key_for(version, SealingKeys::PURPOSE)?));
    SealingKeys::new(versions.filter_map(key).collect())
}

/// The audit log, whose hashes of customers are made of the oldest pepper: they stay the same when a newer one is added.
fn audit(pepper: &Pepper, store: &Store, writer: &Writer) -> Audit {
    let key = pepper.versions().next().and_then(|oldest| pepper.key_for(oldest, Audit::PURPOSE));
    // A pepper has a version.
    Audit::new(store.clone(), writer.clone(), key.unwrap_or_default())
}

/// What answers, in the order of the configuration.
fn answerers(
    config: &Config,
    store: &Store,
    knowledge: &Knowledge,
    organizations: &Organizations,
) -> Result<Answerers, StartError> {
    let synthetic = || Model::Synthetic(config.model.synthetic.answers.clone());
    let mut models = Vec::new();
    for provider in &config.model.providers {
        match provider {
            Provider::Synthetic => models.push(synthetic()),
            Provider::Builtin => models.push(Model::Builtin(Builtin {
                knowledge: knowledge.clone(),
                organizations: organizations.clone(),
            })),
            Provider::OpenAi => {
                // The configuration was checked: the endpoint is named.
                if let Some(settings) = config.model.openai.settings() {
                    let endpoint = Endpoint::new(settings).map_err(StartError::Model)?;
                    models.push(Model::OpenAi(OpenAi::new(
                        endpoint,
                        knowledge.clone(),
                        organizations.clone(),
                        config.model.openai.cache_answers.then(|| AnswerCache::new(store.clone())),
                    )));
                }
            }
        }
    }
    // A message that may say how it is answered must be able to name the model that listens to it.
    let by_name =
        config.model.synthetic.per_request && !config.model.providers.contains(&Provider::Synthetic);
    let others = if by_name { vec![synthetic()] } else { Vec::new() };
    Ok(Answerers::with_others(models, others))
}

/// Calls to models that leave this machine's memory, at once.
fn calls_at_once(config: &Config) -> usize {
    match config.model.providers.contains(&Provider::OpenAi) {
        true => usize::try_from(config.limits.running_turns.get()).unwrap_or(usize::MAX),
        false => 0,
    }
}

fn directory(
    config: &Config,
    store: &Store,
    writer: &Writer,
    answerers: Answerers,
    organizations: Organizations,
) -> Directory {
    let running_turns = usize::try_from(config.limits.running_turns.get()).unwrap_or(usize::MAX);
    let options = ConversationOptions {
        passivate_after: config.conversations.passivate_after(),
        rest_after: REST_AFTER,
        running_turns,
        public_url: config.server.public_url.as_deref().map(|url| url.trim_end_matches('/').into()),
    };
    Directory::new(store.clone(), writer.clone(), answerers, organizations, options)
}

impl Running {
    /// Waits until nothing can be written any more because the disk has failed under a commit, or because the writer
    /// has ended. Only a restart helps.
    pub async fn broken(&self) {
        while self.parts.writer.health() != Health::Broken {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Stops in the order that loses nothing: no new connections, streams end, handlers answer, actors leave
    /// memory, what is queued is committed, the workers go.
    pub async fn stop(self) {
        for listener in &self.listeners {
            listener.pause().await;
        }
        self.in_flight.stop();
        self.announcer.announce();
        self.parts.log.close();
        self.parts.analytics.stop();
        // Streams say goodbye and whoever waits for an answer gets what there is; what is being stored is stored.
        let attempts = self.parts.webhooks.stop(ATTEMPTS_END_WITHIN);
        join(attempts, self.parts.directory.stop_all()).await;
        let left = self.in_flight.drained(DRAIN_WITHIN).await;
        if left > 0 {
            warn!(requests = left, "the server stops with requests unanswered");
        }
        if timeout(FLUSH_WITHIN, self.save()).await.is_err() {
            warn!("the server stops without having saved its rate limits and the last use of keys");
        }
        if timeout(FLUSH_WITHIN, self.parts.writer.close()).await.is_err() {
            warn!("the server stops with writes unanswered");
        }
        for listener in &self.listeners {
            listener.stop(true).await;
        }
        // A reader that holds its connection must not hold the process.
        drop(timeout(FLUSH_WITHIN + SCRUB_WITHIN, self.close_store()).await);
        info!("the server has stopped");
    }

    /// With a log that holds nothing any more of what was erased: closing alone leaves it to others who have the
    /// database open.
    async fn close_store(&self) {
        match self.parts.store.empty_log().await {
            Ok(true) => {}
            Ok(false) => warn!("the database's log was not emptied: another process reads it"),
            Err(error) => warn!(%error, "the database's log was not emptied"),
        }
        self.parts.store.close().await;
        match self.parts.store.scrub(SCRUB_WITHIN).await {
            Ok(Scrubbed::Whole) => {}
            Ok(Scrubbed::InPart) => {
                warn!("parts of what was erased may still stand in unused space of the database")
            }
            Err(error) => warn!(%error, "unused space of the database was not zeroed"),
        }
    }

    /// What is kept in memory while the server runs, for the next start.
    async fn save(&self) {
        self.parts.keys.flush_usage().await;
        if let Err(error) = self.parts.limiter.save(&self.parts.writer).await {
            warn!(error = %error, "the rate limits were not saved");
        }
    }
}
