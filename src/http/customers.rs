//! Customers, who are known by the ids that other systems gave them.

use actix_web::{HttpResponse, web::Data};
use openclaw_actors::{
    audit::{Action, Entry, Target},
    conversation::messages::Refusal,
};
use tracing::Instrument;

use super::{
    auth::{Caller, DeleteConversations},
    error::ApiError,
    query::PathId,
};
use crate::server::Parts;

/// `DELETE /v1/customers/{customer_id}`: erases all of a customer's conversations.
///
/// # Errors
/// There is no such customer, or the store is away: then what was begun is finished later.
pub async fn erase(
    caller: Caller<DeleteConversations>,
    id: PathId<String>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let (org, customer) = (caller.org, id.0);
    // No customer has such an id, and PostgreSQL takes no such text.
    if customer.contains('\0') {
        return Err(ApiError::not_found());
    }
    let target = Target::Customer(parts.audit.customer(org, &customer));
    let noted = Entry::new(org, caller.by(), Action::CustomerErased, target);
    let directory = parts.directory.clone();
    // On a task of its own: a client that hangs up leaves nothing half erased.
    let erasing = async move { directory.erase_customer(org, &customer, noted).await };
    match actix::spawn(erasing.in_current_span()).await {
        Ok(Ok(())) => Ok(HttpResponse::NoContent().finish()),
        Ok(Err(Refusal::NotFound)) => Err(ApiError::not_found()),
        Ok(Err(Refusal::Overloaded)) => Err(ApiError::overloaded()),
        Ok(Err(_)) => Err(ApiError::unavailable()),
        Err(panic) => Err(ApiError::internal(panic)),
    }
}
