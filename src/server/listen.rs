//! Listening: one application per worker.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use actix_http::{HttpService, error::DispatchError};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::{
    App, HttpServer,
    dev::{AppConfig, Extensions, Server, ServerHandle, fn_service},
    middleware::from_fn,
    rt::net::TcpStream,
    web,
};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::{
    Parts, StartError,
    places::Places,
    plain_spoken::PlainSpoken,
    socket::{GOODBYE_WITHIN, HEAD_WITHIN, KEEP_ALIVE, bind, tune},
    stream::Stream,
    tls::Certificates,
};
use crate::{
    http::{
        self, auth,
        middleware::{Connections, InFlight, Place, Surplus, observe},
    },
    telemetry::{Exposition, HttpMetrics},
};

/// A connection for which there is no place keeps others from being told so.
const SURPLUS_ASKS_WITHIN: Duration = Duration::from_millis(500);

/// Scrapers and probes, not a crowd; out of the reserve of files.
const OPERATORS: usize = 32;

/// When a stop no longer waits for connections. Streams have ended by then.
const WORKERS_WITHIN_SECONDS: u64 = 1;

/// A listener and the way to stop it.
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) handle: ServerHandle,
}

/// Starts to serve.
pub(super) fn listen(
    parts: &web::Data<Parts>,
    in_flight: &InFlight,
    metrics: &HttpMetrics,
    exposition: &Exposition,
    places: Places,
    certificates: Option<&Arc<Certificates>>,
) -> Result<Listener, StartError> {
    let asked = parts.config.server.listen;
    let tls = certificates.map(Certificates::acceptor).transpose().map_err(refused(asked))?;
    let connections = Connections::new(places.served);
    let (in_flight, metrics) = (web::Data::new(in_flight.clone()), web::Data::new(metrics.clone()));
    let exposition = web::Data::new(exposition.clone());
    let state = parts.clone();
    let app = move || {
        state.homes.join();
        App::new()
            .app_data(state.clone())
            .app_data(in_flight.clone())
            .app_data(metrics.clone())
            .app_data(exposition.clone())
            .wrap(from_fn(auth::admit))
            .wrap(from_fn(observe))
            .configure(http::routes)
    };
    let stopping = parts.stopping.clone();
    let http = move || {
        let (connections, stopping) = (connections.clone(), stopping.clone());
        let http = HttpService::build()
            .client_request_timeout(HEAD_WITHIN)
            .client_disconnect_timeout(GOODBYE_WITHIN)
            .keep_alive(KEEP_ALIVE)
            // A reader that left is noticed at once, not after 30 seconds.
            .h1_allow_half_closed(false)
            // Idle connections end with the server, not with its patience.
            .graceful_shutdown_signal(move || stopping.clone().announced())
            .on_connect_ext(|connection: &PlainSpoken, data: &mut Extensions| {
                if connection.is_surplus() {
                    data.insert(Surplus);
                }
            })
            .h1(map_config(app().into_factory().map_err(|error| error.error_response()), |()| {
                AppConfig::default()
            }));
        let tls = tls.clone();
        let accept = fn_service(move |socket: TcpStream| accept(socket, connections.enter(), tls.clone()));
        accept.and_then(http)
    };
    let listener = bind(asked).map_err(refused(asked))?;
    let address = listener.local_addr().map_err(refused(asked))?;
    let server = Server::build()
        .workers(places.workers)
        .max_concurrent_connections(places.per_worker())
        .shutdown_timeout(WORKERS_WITHIN_SECONDS)
        .disable_signals()
        .listen("http", listener, http)
        .map_err(refused(asked))?;
    Ok(launch(server.run(), address))
}

/// Takes a connection in, unless it is one too many and does not even ask for anything.
async fn accept(
    socket: TcpStream,
    place: Place,
    tls: Option<TlsAcceptor>,
) -> Result<(PlainSpoken, Option<SocketAddr>), DispatchError> {
    tune(&socket);
    if place.is_surplus && timeout(SURPLUS_ASKS_WITHIN, socket.readable()).await.is_err() {
        return Err(DispatchError::SlowRequestTimeout);
    }
    let peer = socket.peer_addr().ok();
    let stream = match tls {
        None => Stream::Plain(socket),
        // Whoever says nothing holds a place no longer than with a request that never ends.
        Some(tls) => match timeout(HEAD_WITHIN, tls.accept(socket)).await {
            Ok(shaken) => Stream::Tls(Box::new(shaken.map_err(DispatchError::Io)?)),
            Err(_) => return Err(DispatchError::SlowRequestTimeout),
        },
    };
    Ok((PlainSpoken::new(stream, place), peer))
}

/// Starts to serve health and metrics apart.
pub(super) fn listen_for_operators(
    address: SocketAddr,
    parts: &web::Data<Parts>,
    exposition: &Exposition,
) -> Result<Listener, StartError> {
    let (parts, exposition) = (parts.clone(), web::Data::new(exposition.clone()));
    let app = move || {
        App::new()
            .app_data(parts.clone())
            .app_data(exposition.clone())
            .wrap(from_fn(observe))
            .configure(http::ops_routes)
    };
    let server = HttpServer::new(app)
        .workers(1)
        .max_connections(OPERATORS)
        .client_request_timeout(HEAD_WITHIN)
        .shutdown_timeout(WORKERS_WITHIN_SECONDS)
        .disable_signals();
    let bound = server.bind(address).map_err(refused(address))?;
    let address = bound.addrs().first().copied().unwrap_or(address);
    Ok(launch(bound.run(), address))
}

/// A server future does nothing by itself, and its handle's commands wait for it.
fn launch(server: Server, address: SocketAddr) -> Listener {
    let handle = server.handle();
    actix::spawn(server);
    Listener { address, handle }
}

fn refused(address: SocketAddr) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Listen { address, source }
}
