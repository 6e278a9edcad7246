//! The audit log: who did what to keys, webhooks, handovers and erased conversations.

use actix_web::{HttpResponse, web::Data};
use openclaw_actors::{
    audit::{ActionFilter, AuditFilter},
    ids::AuditId,
};
use serde::Deserialize;

use super::{
    auth::{Caller, ReadOrganization},
    error::ApiError,
    page::{Filters, List, Order, Page},
};
use crate::server::Parts;

/// What the log may be asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WhichEntries {
    /// An action, or a family: `key.*`.
    action: Option<String>,
    /// The id of what it was done to.
    target: Option<String>,
    /// The customer it was done to, by the id that is not in the log.
    customer_id: Option<String>,
}

impl Filters for WhichEntries {}

/// `GET /v1/audit`
///
/// # Errors
/// A filter names no action, the cursor is not one of this list, or the store is away.
pub async fn list(
    caller: Caller<ReadOrganization>,
    list: List<WhichEntries>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let List { page, filters } = list;
    let after: Option<AuditId> = page.after()?;
    let action = filters.action.as_deref().map(str::parse::<ActionFilter>).transpose();
    let action = action.map_err(|unknown| ApiError::invalid_field("action", unknown.to_string()))?;
    let target = match (filters.target, filters.customer_id) {
        (target, None) => target,
        (None, Some(customer)) => Some(parts.audit.customer(caller.org, &customer)),
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid_field("customer_id", "it must not stand beside target"));
        }
    };
    let slice = (after, page.order == Order::Desc);
    let found = parts.audit.list(caller.org, &AuditFilter { action, target }, slice, page.rows()).await?;
    Ok(HttpResponse::Ok().json(Page::new(found, &page, |entry| entry.id)))
}
