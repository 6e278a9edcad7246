//! `/docs`: the reference, in which every operation can be tried with a key of one's own.
//!
//! Swagger UI comes with the program; its page and what starts it are ours. The page asks nothing of another host, and
//! its policy lets it ask nothing.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use bytes::Bytes;
use utoipa_swagger_ui::Config;

use super::Served;
use crate::http::{error::ApiError, query::AnyParameters};

const PAGE: &str = include_str!("docs/index.html");
const START: &str = include_str!("docs/start.js");

/// What the page names, as the browser is to take it. Of Swagger UI's files these are all that are needed.
const FILES: [(&str, &str); 5] = [
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("start.js", "text/javascript; charset=utf-8"),
    ("swagger-ui.css", "text/css; charset=utf-8"),
    ("index.css", "text/css; charset=utf-8"),
    ("favicon-32x32.png", "image/png"),
];

/// Everything from here and nothing from elsewhere; Swagger UI's style sheet holds its pictures as `data:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /docs`
pub(in crate::http) async fn page(request: HttpRequest, _: AnyParameters) -> HttpResponse {
    static SERVED: LazyLock<Served> = LazyLock::new(|| Served::new(Bytes::from_static(PAGE.as_bytes())));
    guarded(SERVED.answer(request.headers(), "text/html; charset=utf-8"))
}

/// `GET /docs/{file}`
pub(in crate::http) async fn file(
    request: HttpRequest,
    name: web::Path<String>,
    _: AnyParameters,
) -> Result<HttpResponse, ApiError> {
    static SERVED: LazyLock<HashMap<&str, (Served, &str)>> = LazyLock::new(|| {
        let each =
            FILES.into_iter().filter_map(|(name, kind)| Some((name, (Served::new(content(name)?), kind))));
        each.collect()
    });
    let (file, kind) = SERVED.get(name.as_str()).ok_or_else(ApiError::not_found)?;
    Ok(guarded(file.answer(request.headers(), *kind)))
}

fn content(name: &str) -> Option<Bytes> {
    if name == "start.js" {
        return Some(Bytes::from_static(START.as_bytes()));
    }
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::from(super::PATH))).ok()??;
    Some(match file.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    })
}

/// No other page may frame it, and it may load nothing from elsewhere.
fn guarded(mut answer: HttpResponse) -> HttpResponse {
    let guards = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in guards {
        answer.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    answer
}
