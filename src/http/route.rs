//! A line of the route table: a path with the methods that it has, and a 405 that names them for all others.

use actix_web::{
    FromRequest, Handler, Resource, Responder, Route, guard,
    http::{Method, header::HeaderValue},
    web,
};

use super::{error::ApiError, query::Strict};

/// A method of a route and what handles it.
pub(super) struct Verb {
    names: &'static str,
    route: Route,
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $verb:ident = $names:literal, $guard:expr;)*) => {$(
        $(#[$doc])*
        #[allow(dead_code, reason = "the table's vocabulary is whole, whichever of it is in use")]
        pub(super) fn $verb<F, Args>(handler: F) -> Verb
        where
            F: Handler<Args>,
            Args: FromRequest + 'static,
            F::Output: Responder + 'static,
        {
            Verb { names: $names, route: web::route().guard($guard).to(Strict(handler)) }
        }
    )*};
}

verbs! {
    /// GET, and HEAD, for which actix leaves the body out.
    get = "GET, HEAD", guard::Any(guard::Get()).or(guard::Head());
    /// GET for an answer that does not end by itself: there is no HEAD of it.
    stream = "GET", guard::Get();
    post = "POST", guard::Post();
    put = "PUT", guard::Put();
    patch = "PATCH", guard::Method(Method::PATCH);
    delete = "DELETE", guard::Delete();
}

/// The resource at `path`.
pub(super) fn on(path: &str, verbs: impl IntoIterator<Item = Verb>) -> Resource {
    let mut resource = web::resource(path);
    let mut allowed = Vec::new();
    for verb in verbs {
        allowed.push(verb.names);
        resource = resource.route(verb.route);
    }
    let allowed = allowed.join(", ");
    resource.default_service(web::to(move || {
        // Made of our own constants.
        let allowed = HeaderValue::from_str(&allowed).unwrap_or(HeaderValue::from_static(""));
        async move { ApiError::method_not_allowed(allowed) }
    }))
}
