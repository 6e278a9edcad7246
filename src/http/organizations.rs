//! Organizations: made and erased by operators, read and changed by their own keys.

use actix_web::{HttpResponse, http::header, web::Data};
use openclaw_actors::{
    ids::OrgId,
    keys::NewOrganization,
    organization::{Organization, OrganizationError, OrganizationPatch},
};
use serde::Serialize;

use super::{
    auth::{Caller, Operator, ReadOrganization, WriteOrganization},
    error::ApiError,
    json::Json,
    query::PathId,
};
use crate::server::Parts;

/// `POST /v1/organizations`
///
/// # Errors
/// A field cannot be so, or the store is away.
pub async fn create(
    _: Operator,
    body: Json<OrganizationPatch>,
    parts: Data<Parts>,
) -> Result<HttpResponse, ApiError> {
    let made = parts.keys.create_organization(body.value, |_| None).await?;
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, format!("/v1/organizations/{}", made.organization.id)))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(NewOrganizationView::of(&made)))
}

/// `DELETE /v1/organizations/{id}`
///
/// # Errors
/// There is no such organization, or the store is away.
pub async fn delete(_: Operator, id: PathId<OrgId>, parts: Data<Parts>) -> Result<HttpResponse, ApiError> {
    parts.keys.delete_organization(*id).await?;
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
