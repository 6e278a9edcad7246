//! One event on its way to one endpoint, as it is shown.

use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::{
    clock::Timestamp,
    ids::{DeliveryId, EventId, WebhookId},
};

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Something is to be done yet.
    Pending,
    /// The same, once its endpoint is enabled.
    Held,
    /// The endpoint took it.
    Delivered,
    /// It did not, however often it was tried.
    Exhausted,
    /// What was to be sent was erased.
    Cancelled,
}

impl DeliveryState {
    /// As it is shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Delivered => "delivered",
            Self::Exhausted => "exhausted",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A delivery.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Delivery {
    pub id: DeliveryId,
    pub webhook_id: WebhookId,
    pub event_id: EventId,
    pub event_type: String,
    /// Empty for what belongs to no conversation.
    pub conversation_id: String,
    pub sequence: i64,
    /// `event`, `redelivery` or `replay`.
    pub origin: String,
    pub state: String,
    pub under_way: i64,
    pub attempt_count: i64,
    pub next_at: Timestamp,
    pub created_at: Timestamp,
    pub settled_at: Option<Timestamp>,
}

impl Delivery {
    /// When the next attempt may be made, if one is to be.
    #[must_use]
    pub fn next_attempt_at(&self) -> Option<Timestamp> {
        (self.state == "pending" && self.under_way == 0).then_some(self.next_at)
    }
}

/// An attempt.
#[derive(Debug, Clone, FromRow, Serialize)]
pub struct Attempt {
    /// Written before anything was sent.
    pub started_at: Timestamp,
    /// What the endpoint answered, if it did.
    pub status: Option<i64>,
    /// From the first look at its name to the end of its answer.
    pub duration_ms: Option<i64>,
    /// Why it was none that counts: `timed_out`, `unsuccessful_status`, …
    pub error: Option<String>,
    /// The beginning of the answer.
    pub response_body: Option<String>,
}

/// Which deliveries.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Standing there.
    pub state: Option<DeliveryState>,
    /// Of events of that type; `%` at the end stands for the rest.
    pub kind: Option<String>,
    /// Of that event.
    pub event: Option<String>,
}
