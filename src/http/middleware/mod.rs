//! What happens around every request, in one place: [`observe`].

mod connections;
mod headers;
mod in_flight;
mod observe;
mod trace;

use std::rc::Rc;

use actix_web::{HttpMessage, HttpRequest, http::header::HeaderName};

pub use self::{
    connections::{Connections, Place, Surplus},
    in_flight::InFlight,
    observe::observe,
    trace::TraceContext,
};

/// Names a request in its answer, in our logs and, if the client chose it, in the client's own.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The name of the request being answered.
#[derive(Debug, Clone)]
struct RequestName(Rc<str>);

/// The id of this request: the client's own, or ours.
#[must_use]
pub fn request_id(request: &HttpRequest) -> Rc<str> {
    request.extensions().get::<RequestName>().map_or_else(|| Rc::from(""), |name| Rc::clone(&name.0))
}

/// The trace that this request belongs to, to be sent on with calls made for it.
#[must_use]
pub fn trace_context(request: &HttpRequest) -> Option<TraceContext> {
    request.extensions().get::<TraceContext>().copied()
}
