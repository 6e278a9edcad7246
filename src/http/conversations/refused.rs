//! How each refusal of a conversation looks from outside.

use openclaw_actors::{
    conversation::messages::{ConversationKey, Refusal},
    metrics::METRICS,
};

use serde_json::json;

use super::{fields, links};
use crate::http::error::ApiError;

/// What a conversation's refusal is over HTTP.
pub(in crate::http) fn refused(key: ConversationKey, refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::NotFound => ApiError::not_found(),
        Refusal::TurnInProgress(turn) => ApiError::conflict("turn_in_progress", refusal.to_string())
            .field("turn_id", turn.to_string())
            .field("stream_url", format!("{}/stream", links::turn(key, turn))),
        Refusal::TurnQueueFull => {
            METRICS.refused("turn_queue_full");
            ApiError::conflict("turn_queue_full", refusal.to_string())
        }
        Refusal::Completed => ApiError::conflict("conversation_completed", refusal.to_string()),
        Refusal::HandoverState => ApiError::conflict("handover_state", refusal.to_string()),
        Refusal::HandoverTaken(ref winner) => {
            let winner = json!({ "id": winner.id, "name": winner.name });
            ApiError::conflict("handover_state", refusal.to_string()).field("agent", winner)
        }
        Refusal::NotRetryable => ApiError::conflict("turn_not_retryable", refusal.to_string()),
        Refusal::ClientMessageIdReused => {
            ApiError::unprocessable("client_message_id_reused", refusal.to_string())
                .param("client_message_id")
        }
        Refusal::VersionConflict => ApiError::version_conflict(),
        Refusal::TooMuchMetadata => fields::too_much_metadata("metadata"),
        Refusal::Overloaded => {
            METRICS.refused("overloaded");
            ApiError::overloaded()
        }
        Refusal::Unavailable => {
            METRICS.refused("unavailable");
            ApiError::unavailable()
        }
    }
}
