//! Listening: one application per worker, and sockets that behave.

use std::{any::Any, io, net::SocketAddr, time::Duration};

use actix_web::{
    App, HttpServer,
    dev::{Extensions, ServerHandle},
    middleware::from_fn,
    rt::net::TcpStream,
    web,
};
use socket2::SockRef;

use super::{Parts, StartError, places::Places};
use crate::{
    http::{
        self, auth,
        middleware::{Connections, InFlight, observe},
    },
    telemetry::{Exposition, HttpMetrics},
};

/// A head that is not complete by then is answered 408.
const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// Longer than the 60 s for which the usual proxies keep a connection, so that they close it, not we.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Scrapers and probes, not a crowd; out of the reserve of files.
const OPERATORS: usize = 32;

/// When a stop no longer waits for connections. Streams have ended by then.
const WORKERS_WITHIN_SECONDS: u64 = 1;

/// What the kernel holds for one reader. Left to itself it lets a stalled reader hold megabytes.
const SEND_BUFFER: usize = 64 << 10;

/// A reader that has taken nothing for that long is gone; it can resume.
const STALLED_WITHIN: Duration = Duration::from_secs(30);

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
) -> Result<Listener, StartError> {
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
    let server = HttpServer::new(app)
        .workers(places.workers)
        .max_connections(places.per_worker())
        .client_request_timeout(HEAD_WITHIN)
        .keep_alive(KEEP_ALIVE)
        // Off by default, and then a token waits up to 40 ms for the acknowledgement of the one before it.
        .tcp_nodelay(true)
        // A reader that left is noticed at once, not after 30 seconds.
        .h1_allow_half_closed(false)
        .on_connect(move |connection: &dyn Any, data: &mut Extensions| {
            if let Some(stream) = connection.downcast_ref::<TcpStream>() {
                tune(stream);
            }
            data.insert(connections.enter());
        })
        .shutdown_timeout(WORKERS_WITHIN_SECONDS)
        .disable_signals();
    let asked = parts.config.server.listen;
    let bound = server.bind(asked).map_err(refused(asked))?;
    let addresses = bound.addrs();
    Ok(launch(bound.run(), &addresses, asked))
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
    let addresses = bound.addrs();
    Ok(launch(bound.run(), &addresses, address))
}

/// A server future does nothing by itself, and its handle's commands wait for it.
fn launch(server: actix_web::dev::Server, addresses: &[SocketAddr], asked: SocketAddr) -> Listener {
    let handle = server.handle();
    actix::spawn(server);
    Listener { address: addresses.first().copied().unwrap_or(asked), handle }
}

fn refused(address: SocketAddr) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Listen { address, source }
}

fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let tuned =
        socket.set_send_buffer_size(SEND_BUFFER).and(socket.set_tcp_user_timeout(Some(STALLED_WITHIN)));
    if let Err(error) = tuned {
        // The peer may be gone already.
        tracing::debug!(%error, "a connection was not tuned");
    }
}
