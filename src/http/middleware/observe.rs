//! Names a request, follows its trace, catches its panics, gives its errors our shape, and counts it.

use std::{error::Error as StdError, fmt, panic::AssertUnwindSafe, rc::Rc, time::Instant};

use actix_web::{
    Error, HttpMessage, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
    middleware::Next,
    web,
};
use futures_util::FutureExt;
use openclaw_actors::{ids::RequestId, metrics::METRICS};
use tracing::{Instrument, Span, error, field, info_span, warn};

use super::{InFlight, REQUEST_ID, RequestName, Surplus, TraceContext, headers};
use crate::{
    http::{cors, error::ApiError},
    telemetry::HttpMetrics,
};

const LONGEST_REQUEST_ID: usize = 128;

/// The outermost layer of every application.
///
/// # Errors
/// Only what the panic of a handler leaves, already in our shape.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let in_flight = request.app_data::<web::Data<InFlight>>().cloned();
    let metrics = request.app_data::<web::Data<HttpMetrics>>().cloned();
    let entered = in_flight.as_ref().map(|in_flight| in_flight.enter());
    let method = request.method().clone();
    let name = request_name(request.headers());
    let trace = TraceContext::of(request.headers());
    // No parent: whatever else this thread is in the middle of is a stranger's.
    let span = info_span!(parent: None, "request", request.id = %name, http.method = %method,
        http.route = field::Empty, trace.id = field::Empty);
    if let Some(trace) = trace {
        span.record("trace.id", format_args!("{:032x}", trace.trace_id));
        request.extensions_mut().insert(trace);
    }
    request.extensions_mut().insert(RequestName(Rc::clone(&name)));

    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = match refused(&request) {
        None if *request.method() == Method::OPTIONS => {
            let answer = cors::preflight(request.headers());
            request.into_response(answer)
        }
        Some(refusal) => ServiceResponse::from_err(refusal, request.into_parts().0),
        None => match call(request, next).instrument(span.clone()).await {
            Ok(response) => response,
            Err(error) => {
                // The request went down with its handler: nothing of it is left to look at.
                count(metrics.as_ref(), "unmatched", &method, error.status_code(), started);
                log(&span, &error);
                return Err(error.named(&name).into());
            }
        },
    };
    drop(entered);

    let route = response.request().match_pattern();
    let route = route.as_deref().unwrap_or("unmatched");
    span.record("http.route", route);
    count(metrics.as_ref(), route, &method, response.status(), started);
    response = shape(response, &name, &span);
    let answer = response.headers_mut();
    if let Ok(name) = HeaderValue::from_str(&name) {
        answer.insert(REQUEST_ID, name);
    }
    cors::allow(origin.as_ref(), answer);
    if let Some(trace) = trace.and_then(|trace| HeaderValue::from_str(&trace.to_string()).ok()) {
        answer.insert(header::HeaderName::from_static("traceparent"), trace);
    }
    if in_flight.is_some_and(|in_flight| in_flight.is_stopping()) {
        response.response_mut().head_mut().set_connection_type(actix_http::ConnectionType::Close);
    }
    Ok(response)
}

/// What is refused before any route is looked at.
fn refused(request: &ServiceRequest) -> Option<ApiError> {
    if request.conn_data::<Surplus>().is_some() {
        METRICS.refused("too_many_connections");
        return Some(ApiError::overloaded().closing());
    }
    headers::check(request.headers()).err()
}

async fn call(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, ApiError> {
    // A handler owns nothing that outlives it but actors and the store, which have their own ways to survive.
    match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(Ok(response)) => Ok(response.map_into_boxed_body()),
        Ok(Err(error)) => {
            Err(ApiError::of_status(error.error_response().status()).caused_by(error.to_string()))
        }
        Err(_) => Err(ApiError::internal("the handler panicked")),
    }
}

/// The client's own id if it is fit for logs and headers, else a new one.
fn request_name(headers: &HeaderMap) -> Rc<str> {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    let mut sent = headers.get_all(REQUEST_ID);
    match (sent.next().map(HeaderValue::as_bytes), sent.next()) {
        (Some(own), None)
            if (1..=LONGEST_REQUEST_ID).contains(&own.len()) && own.iter().copied().all(fit) =>
        {
            String::from_utf8_lossy(own).into()
        }
        _ => RequestId::generate().to_string().into(),
    }
}

/// Gives an error the body that names its request, whoever made it, and logs what lies behind it.
fn shape(mut response: ServiceResponse<BoxBody>, name: &str, span: &Span) -> ServiceResponse<BoxBody> {
    let Some(error) = response.response().error() else { return response };
    let body = match error.as_error::<ApiError>() {
        Some(error) => {
            log(span, error);
            error.body(Some(name))
        }
        None => ApiError::of_status(response.status()).body(Some(name)),
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.map_body(|_, _| BoxBody::new(body))
}

fn log(span: &Span, refused: &ApiError) {
    let Some(cause) = refused.cause() else { return };
    let status = refused.status_code();
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        error!(parent: span, error = %Chain(cause), "a request failed");
    } else {
        warn!(parent: span, error = %Chain(cause), http.status = status.as_u16(), "a request was refused");
    }
}

/// An error with everything that it came from.
struct Chain<'e>(&'e (dyn StdError + Send + Sync));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

fn count(
    metrics: Option<&web::Data<HttpMetrics>>,
    route: &str,
    method: &Method,
    status: StatusCode,
    started: Instant,
) {
    if let Some(metrics) = metrics {
        metrics.answered(route, method, status, started.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{App, middleware::from_fn, test};
    use serde_json::Value;

    use super::*;

    async fn fails() -> Result<&'static str, Error> {
        Err(actix_web::error::ErrorBadRequest("SELECT secret FROM keys"))
    }

    async fn panics() -> &'static str {
        panic!("a handler that panics")
    }

    async fn answer(request: test::TestRequest) -> (u16, Option<String>, Value) {
        let app = App::new()
            .wrap(from_fn(observe))
            .route("/panics", web::get().to(panics))
            .route("/fails", web::get().to(fails))
            .route("/works", web::get().to(async || "{}"));
        let app = test::init_service(app).await;
        let response = match test::try_call_service(&app, request.to_request()).await {
            Ok(response) => response.map_into_boxed_body().into_parts().1,
            // What actix itself does with an error that reaches the outside.
            Err(error) => error.error_response(),
        };
        let status = response.status().as_u16();
        let id = response.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
        (status, id, serde_json::from_slice(&body).unwrap())
    }

    #[actix::test]
    async fn a_panic_is_a_500_in_our_shape() {
        let (status, id, body) = answer(test::TestRequest::get().uri("/panics")).await;
        assert_eq!((status, body["error"]["code"].as_str()), (500, Some("internal")));
        assert_eq!(body["error"]["request_id"].as_str(), id.as_deref());
        assert!(id.is_some());
    }

    #[actix::test]
    async fn an_error_of_someone_elses_making_gets_our_shape_and_none_of_its_words() {
        let (status, id, body) = answer(test::TestRequest::get().uri("/fails")).await;
        assert_eq!((status, body["error"]["type"].as_str()), (400, Some("invalid_request")));
        assert_eq!(body["error"]["request_id"].as_str(), id.as_deref());
        assert!(!body.to_string().contains("SELECT"), "{body}");
    }

    #[actix::test]
    async fn a_fit_request_id_is_kept_and_any_other_replaced() {
        let with =
            |name: &'static str| test::TestRequest::get().uri("/works").append_header((REQUEST_ID, name));
        assert_eq!(answer(with("a.b_c:d-1")).await.1.as_deref(), Some("a.b_c:d-1"));
        for unfit in ["", "a b", "a/b", "naïve", "{}"] {
            assert!(answer(with(unfit)).await.1.is_some_and(|id| id.starts_with("req_")), "{unfit}");
        }
        let long = with("").insert_header((REQUEST_ID, "x".repeat(LONGEST_REQUEST_ID + 1)));
        assert!(answer(long).await.1.is_some_and(|id| id.starts_with("req_")));
        let twice = with("a").append_header((REQUEST_ID, "b"));
        assert!(answer(twice).await.1.is_some_and(|id| id.starts_with("req_")));
    }
}
