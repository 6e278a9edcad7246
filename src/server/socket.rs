//! Sockets that behave: what connections may take, and how they are listened for. The baseline of `bench` has the same.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_web::rt::net::TcpStream;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// A head that is not complete by then is answered 408.
pub(crate) const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// Longer than the 60 s for which the usual proxies keep a connection, so that they close it, not we.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long a connection that ends may take for it.
pub(crate) const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// Connections that wait to be accepted: a burst of reconnecting clients.
const BACKLOG: i32 = 1_024;

/// What the kernel holds for one reader. Left to itself it lets a stalled reader hold megabytes.
const SEND_BUFFER: usize = 64 << 10;

/// A reader that has taken nothing for that long is gone. Twice what a stream bears before it says so: the connection
/// must still be there for the reader to be told.
const STALLED_WITHIN: Duration = Duration::from_secs(60);

/// As the standard library binds, but with room for a burst.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Makes a connection's tokens go out at once, and its stalled reader cheap.
pub(crate) fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let tuned = socket
        // With the delay, a token waits up to 40 ms for the acknowledgement of the one before it.
        .set_tcp_nodelay(true)
        .and(socket.set_send_buffer_size(SEND_BUFFER))
        .and(socket.set_tcp_user_timeout(Some(STALLED_WITHIN)));
    if let Err(error) = tuned {
        // The peer may be gone already.
        tracing::debug!(%error, "a connection was not tuned");
    }
}
