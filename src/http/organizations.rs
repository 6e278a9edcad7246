//! Organizations: made and erased by operators, read and changed by their own keys.

use actix_web::{HttpResponse, http::header, web::Data};
use openclaw_actors::{
    idempotency::{Effect, Stamp},
    ids::OrgId,
    keys::NewOrganization,
    organization::{Organization, OrganizationError, OrganizationPatch},
};
use serde::Serialize;
use tracing::info;

use super::{
    auth::{Caller, Operator, ReadOrganization, WriteOrganization},
    error::ApiError,
    idempotency::{Once, Repeatable, of_another_kind, replayed},
    json::Json,
    query::PathId,
};
use crate::server::Parts;

/// `POST /v1/organizations`
///
/// # Errors
/// A field cannot be so, or the store is away.
pub async fn create(
    operator: Operator,
    repeatable: Repeatable,
    body: Json<OrganizationPatch>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let Json { value, raw } = body;
    let shared = parts.clone();
    let act = move |stamp: Option<Stamp>| async move {
        let row = |made: &NewOrganization| stamp.map(|stamp| stamp.row(&effect(made)));
        let made = shared.keys.create_organization(value, row).await?;
        let effect = effect(&made);
        Ok((made, effect))
    };
    match repeatable.once(&parts, operator.credential(), &raw, act).await? {
        Once::First(made) => Ok(made_answer(&NewOrganizationView::of(&made))),
        Once::Repeat(Effect::Organization { organization, .. }) => {
            let organization = parts.organizations.get(organization).await?;
            let view =
                NewOrganizationView { organization: &organization, primary_key: None, secondary_key: None };
            Ok(replayed(made_answer(&view)))
        }
        Once::Repeat(other) => Err(of_another_kind(&other)),
    }
}

fn effect(made: &NewOrganization) -> Effect {
    Effect::Organization {
        organization: made.organization.id,
        primary: made.primary.key.id,
        secondary: made.secondary.key.id,
    }
}

fn made_answer(view: &NewOrganizationView<'_>) -> HttpResponse {
    HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/v1/organizations/{}", view.organization.id)))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(view)
}

/// `DELETE /v1/organizations/{id}`
///
/// # Errors
/// There is no such organization, or the store is away.
pub async fn delete(_: Operator, id: PathId<OrgId>, parts: Data<Parts>) -> Result<HttpResponse, ApiError> {
    parts.keys.end_access(*id).await?;
    parts.directory.erase_live(*id).await;
    parts.keys.erase_organization(*id).await?;
    // Its audit log is erased with it, so this stands where the operator reads.
    info!(org.id = %*id, "an organization was erased by the operator");
    Ok(HttpResponse::NoContent().finish())
}

/// `GET /v1/organization`
///
/// # Errors
/// The store is away.
pub async fn get(caller: Caller<ReadOrganization>, parts: Data<Parts>) -> Result<HttpResponse, ApiError> {
    let organization = parts.organizations.get(caller.org).await?;
    Ok(HttpResponse::Ok().json(organization))
}

/// `PATCH /v1/organization`
///
/// # Errors
/// See [`OrganizationError`].
pub async fn change(
    caller: Caller<WriteOrganization>,
    body: Json<OrganizationPatch>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let organization = parts.organizations.change(caller.org, body.value).await?;
    Ok(HttpResponse::Ok().json(organization))
}

/// An organization with its keys, which are shown once; null when the answer is a repeat.
#[derive(Debug, Serialize)]
pub struct NewOrganizationView<'a> {
    /// As it is stored.
    pub organization: &'a Organization,
    /// The whole text of the first key.
    pub primary_key: Option<&'a str>,
    /// The whole text of the second.
    pub secondary_key: Option<&'a str>,
}

impl<'a> NewOrganizationView<'a> {
    /// As it was made.
    #[must_use]
    pub fn of(made: &'a NewOrganization) -> Self {
        Self {
            organization: &made.organization,
            primary_key: Some(made.primary.secret.expose()),
            secondary_key: Some(made.secondary.secret.expose()),
        }
    }
}

impl From<OrganizationError> for ApiError {
    fn from(error: OrganizationError) -> Self {
        match error {
            OrganizationError::NotFound => Self::not_found(),
            OrganizationError::Invalid(field) => field.into(),
            OrganizationError::Store(error) => error.into(),
            OrganizationError::Write(error) => error.into(),
        }
    }
}
