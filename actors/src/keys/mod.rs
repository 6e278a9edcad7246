//! Keys: who may use the server, and for what.
//!
//! [`KeyRing`] knows every key. It tells who presents a text, and makes, rotates, changes and revokes keys under the
//! granting rules; an organization begins with its two keys and ends with all that is its.

mod actor;
mod client;
mod commands;
mod customers;
mod grant;
mod key;
mod origin;
mod pepper;
mod ring;
mod scope;
mod secret;
mod sql;
mod tenancy;
#[cfg(test)]
mod tests;
mod usage;

pub use self::{
    actor::UsageWriter,
    client::{CLIENT_TOKEN_PREFIX, Client, OriginMark, TICKET_PREFIX, Ticket},
    commands::KeyError,
    grant::{Denied, Granter},
    key::{IssuedKey, Key, KeyKind, KeyPatch, NewKey, RateLimit, Secret},
    origin::{MalformedOrigin, Origin},
    pepper::{Pepper, PepperError},
    ring::{AuthError, KeyRing, Principal, RingError},
    scope::{Scope, ScopeSet},
    secret::{Family, KeyText, MalformedKey},
    tenancy::NewOrganization,
};
