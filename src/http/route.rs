//! A line of the route table: a path with the methods that it has, and a 405 that names them for all others.
//!
//! The table is data before it is actix's, so that the published document can be held to it.

use actix_web::{
    FromRequest, Handler, Resource, Responder, Route, guard,
    http::{Method, header::HeaderValue},
    web,
};

use super::{body::BodyLimit, error::ApiError, query::Strict};

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

/// A path with its methods.
pub(super) struct Line {
    pub(super) path: String,
    verbs: Vec<Verb>,
    body_limit: Option<BodyLimit>,
}

/// The line of `path`.
pub(super) fn on(path: &str, verbs: impl IntoIterator<Item = Verb>) -> Line {
    Line { path: path.to_owned(), verbs: verbs.into_iter().collect(), body_limit: None }
}

impl Line {
    /// Takes bodies of another size than most.
    pub(super) fn sized(self, limit: BodyLimit) -> Self {
        Self { body_limit: Some(limit), ..self }
    }

    /// What `Allow` says.
    pub(super) fn allowed(&self) -> String {
        self.verbs.iter().map(|verb| verb.names).collect::<Vec<_>>().join(", ")
    }

    /// As actix serves it.
    pub(super) fn into_resource(self) -> Resource {
        let allowed = self.allowed();
        let resource = web::resource(&self.path);
        let resource = match self.body_limit {
            Some(limit) => resource.app_data(limit),
            None => resource,
        };
        let resource = self.verbs.into_iter().fold(resource, |resource, verb| resource.route(verb.route));
        resource.default_service(web::to(move || {
            // Made of our own constants.
            let allowed = HeaderValue::from_str(&allowed).unwrap_or(HeaderValue::from_static(""));
            async move { ApiError::method_not_allowed(allowed) }
        }))
    }
}
