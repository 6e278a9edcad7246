//! What the product counts and times. Names are promises to dashboards; no id is ever a label.
//!
//! One set per process: an actor counts where something happens, without being handed a counter.

use std::{sync::LazyLock, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Of this process.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);

/// Waits of people, in seconds; the promise of a first word within 0.8 s is an edge.
const ANSWER_BUCKETS: [f64; 13] = [0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 30.0, 120.0];

/// Gaps between tokens: what a reader sees as a stutter begins near 0.1 s.
const GAP_BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Commits: an SSD's fsync, a disk's, and trouble.
const COMMIT_BUCKETS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// From a committed article to one that is found: with edges at the promises of half, of all but the slowest, and of all.
const INDEX_BUCKETS: [f64; 11] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 30.0];
/// Deliveries: at once, after the first wait, and after the last, an hour later.
const DELIVERY_BUCKETS: [f64; 12] =
    [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 5_400.0];

/// Why something is refused that was asked for rightly.
const REASONS: [&str; 5] =
    ["idempotency_waiting", "overloaded", "too_many_connections", "turn_queue_full", "unavailable"];

/// The actors that are brought back.
const ACTORS: [&str; 7] = [
    "analytics_aggregator",
    "conversation",
    "log_follower",
    "usage_writer",
    "webhook",
    "webhook_dispatcher",
    "webhook_replays",
];

/// The model that answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByModel {
    /// Its name.
    pub model: String,
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByStatus {
    /// `completed`, `stopped` or `failed`.
    pub status: &'static str,
}

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByReason {
    /// One of `REASONS`.
    pub reason: &'static str,
}

/// What came of an attempt to deliver.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByOutcome {
    /// `delivered`, `failed` (and will be tried again), `exhausted` or `cancelled`.
    pub outcome: &'static str,
}

/// What was to be embedded, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByEmbedding {
    /// `question` or `passages`.
    pub purpose: &'static str,
    /// `ok`, `late`, `failed`, or `suspended`: not asked for at all, because too much failed.
    pub outcome: &'static str,
}

/// Which kind of actor.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByActor {
    /// One of `ACTORS`.
    pub actor: &'static str,
}

type Timed<Label> = Family<Label, Histogram, fn() -> Histogram>;

/// All of them.
#[derive(Debug)]
pub struct Metrics {
    /// From a request's last byte to its answer's first.
    pub time_to_first_token: Timed<ByModel>,
    /// From a request's last byte to its answer's last.
    pub time_to_completion: Timed<ByModel>,
    /// Between two pieces of one answer.
    pub inter_token: Histogram,
    /// Open streams and WebSockets.
    pub streams_active: Gauge,
    /// Conversations whose actor is in memory.
    pub conversations_active: Gauge,
    /// Turns that ended.
    pub turns: Family<ByStatus, Counter>,
    /// Requests refused by a key's limit.
    pub rate_limited: Counter,
    /// Requests refused because something was full or away.
    pub refusals: Family<ByReason, Counter>,
    /// Groups of writes, from the first statement to the end of COMMIT.
    pub commit: Histogram,
    /// Articles, from their commit until they are found.
    pub index_lag: Histogram,
    /// Attempts to deliver webhooks.
    pub webhook_deliveries: Family<ByOutcome, Counter>,
    /// From an event to the answer of an endpoint that took it.
    pub webhook_delivery: Histogram,
    /// Requests for embeddings.
    pub embeddings: Family<ByEmbedding, Counter>,
    /// Articles without vectors, as far as is known.
    pub embeddings_pending: Gauge,
    /// Actors brought back after a panic.
    pub actor_restarts: Family<ByActor, Counter>,
}

fn answer_histogram() -> Histogram {
    Histogram::new(ANSWER_BUCKETS)
}

impl Default for Metrics {
    fn default() -> Self {
        let turns = Family::default();
        // Shown as 0 before the first: a dashboard can tell "none" from "not measured".
        for status in ["completed", "stopped", "failed"] {
            drop(turns.get_or_create(&ByStatus { status }));
        }
        let webhook_deliveries = Family::default();
        for outcome in ["delivered", "failed", "exhausted", "cancelled"] {
            drop(webhook_deliveries.get_or_create(&ByOutcome { outcome }));
        }
        let refusals = Family::default();
        for reason in REASONS {
            drop(refusals.get_or_create(&ByReason { reason }));
        }
        let actor_restarts = Family::default();
        for actor in ACTORS {
            drop(actor_restarts.get_or_create(&ByActor { actor }));
        }
        Self {
            time_to_first_token: Family::new_with_constructor(answer_histogram),
            time_to_completion: Family::new_with_constructor(answer_histogram),
            inter_token: Histogram::new(GAP_BUCKETS),
            streams_active: Gauge::default(),
            conversations_active: Gauge::default(),
            turns,
            rate_limited: Counter::default(),
            refusals,
            commit: Histogram::new(COMMIT_BUCKETS),
            index_lag: Histogram::new(INDEX_BUCKETS),
            webhook_deliveries,
            webhook_delivery: Histogram::new(DELIVERY_BUCKETS),
            embeddings: Family::default(),
            embeddings_pending: Gauge::default(),
            actor_restarts,
        }
    }
}

impl Metrics {
    /// Counts a refusal.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&ByReason { reason }).inc();
    }

    /// Counts an actor that was brought back.
    pub fn restarted(&self, actor: &'static str) {
        self.actor_restarts.get_or_create(&ByActor { actor }).inc();
    }

    /// Counts what came of an attempt to deliver.
    pub fn webhook(&self, outcome: &'static str) {
        self.webhook_deliveries.get_or_create(&ByOutcome { outcome }).inc();
    }

    /// Counts a request for embeddings.
    pub fn embedded(&self, purpose: &'static str, outcome: &'static str) {
        self.embeddings.get_or_create(&ByEmbedding { purpose, outcome }).inc();
    }

    /// Times a delivery, from its event on.
    pub fn webhook_delivered(&self, took: Duration) {
        self.webhook_delivery.observe(took.as_secs_f64());
    }

    /// Times a group of writes.
    pub fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }

    /// Times how long an article that was committed could not be found yet.
    pub fn indexed(&self, took: Duration) {
        self.index_lag.observe(took.as_secs_f64());
    }

    /// Puts all of them, under their names, into what is shown.
    pub fn register(&self, registry: &mut Registry) {
        let seconds = || Unit::Seconds;
        registry.register_with_unit(
            "time_to_first_token",
            "From a request's last byte to its answer's first",
            seconds(),
            self.time_to_first_token.clone(),
        );
        registry.register_with_unit(
            "time_to_completion",
            "From a request's last byte to its answer's last",
            seconds(),
            self.time_to_completion.clone(),
        );
        registry.register_with_unit(
            "inter_token",
            "Between two pieces of one answer",
            seconds(),
            self.inter_token.clone(),
        );
        registry.register("streams_active", "Open streams and WebSockets", self.streams_active.clone());
        registry.register(
            "conversations_active",
            "Conversations whose actor is in memory",
            self.conversations_active.clone(),
        );
        registry.register("turns", "Turns that ended", self.turns.clone());
        registry.register("rate_limited", "Requests refused by a key's limit", self.rate_limited.clone());
        registry.register(
            "refusals",
            "Requests refused because something was full or away",
            self.refusals.clone(),
        );
        registry.register_with_unit("commit", "Groups of writes", seconds(), self.commit.clone());
        registry.register_with_unit(
            "index_lag",
            "From an article's commit until it is found",
            seconds(),
            self.index_lag.clone(),
        );
        registry.register(
            "webhook_deliveries",
            "Attempts to deliver webhooks",
            self.webhook_deliveries.clone(),
        );
        registry.register_with_unit(
            "webhook_delivery",
            "From an event to an endpoint that took it",
            seconds(),
            self.webhook_delivery.clone(),
        );
        registry.register("embeddings", "Requests for embeddings", self.embeddings.clone());
        registry.register(
            "embeddings_pending",
            "Articles without vectors, where there is an endpoint for them",
            self.embeddings_pending.clone(),
        );
        registry.register("actor_restarts", "Actors brought back after a panic", self.actor_restarts.clone());
    }
}
