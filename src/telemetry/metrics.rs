//! Counting requests, and showing everything that is counted.

use std::{sync::Arc, time::Duration};

use actix_web::http::{Method, StatusCode};
use openclaw_actors::metrics::METRICS;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{
    format::{Format, plain},
    process::Process,
};

/// Handling, in seconds, up to the answer's head: streams are timed apart.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handled {
    route: String,
    method: &'static str,
}

/// Requests by the template of their route. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<Answered, Counter>,
    durations: Family<Handled, Histogram, fn() -> Histogram>,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        }
    }
}

impl HttpMetrics {
    /// Counts an answer. `route` is a template, never a path.
    pub(crate) fn answered(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        let method = name_of(method);
        let answered = Answered { route: route.to_owned(), method, status: status.as_u16() };
        self.requests.get_or_create_owned(&answered).inc();
        let handled = Handled { route: answered.route, method };
        self.durations.get_or_create_owned(&handled).observe(took.as_secs_f64());
    }
}

/// A client can make up methods; each would be a new series.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Everything that is counted, as text. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exposition(Arc<Registry>);

impl Exposition {
    /// Of this server's requests, and of the process.
    #[must_use]
    pub fn new(http: &HttpMetrics) -> Self {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("openclaw");
        own.register("http_requests", "Requests answered", http.requests.clone());
        own.register_with_unit(
            "http_request_duration",
            "Handling of requests, up to the answer's head",
            Unit::Seconds,
            http.durations.clone(),
        );
        METRICS.register(own);
        registry.register_collector(Box::new(Process::new()));
        Self(Arc::new(registry))
    }

    /// As it is now.
    ///
    /// # Errors
    /// Never with the metrics we have: writing to a string does not fail.
    pub fn text(&self, format: Format) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0)?;
        Ok(match format {
            Format::OpenMetrics => text,
            Format::Plain => plain(&text),
        })
    }
}
