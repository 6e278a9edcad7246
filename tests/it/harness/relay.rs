//! A network between a client and a server: one address whatever port the server takes, and connections that break.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::server::{Address, Server};

/// Passes on what comes, until it is told to break it.
pub(crate) struct Relay {
    address: SocketAddr,
    wires: Arc<Wires>,
}

struct Wires {
    server: Address,
    open: Mutex<Vec<TcpStream>>,
    breaks_next_answer: AtomicBool,
}

impl Relay {
    pub(crate) fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let wires = Arc::new(Wires {
            server: server.shared_address(),
            open: Mutex::default(),
            breaks_next_answer: AtomicBool::new(false),
        });
        let between = Arc::clone(&wires);
        // Ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is down refuses; here the connection ends, which is as good.
                drop(between.join(client));
            }
        });
        Self { address, wires }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks every connection.
    pub(crate) fn cut(&self) {
        for wire in self.wires.open.lock().unwrap().drain(..) {
            // The other side may have ended it already.
            let _ = wire.shutdown(Shutdown::Both);
        }
    }

    /// The next request arrives, its answer does not.
    pub(crate) fn break_next_answer(&self) {
        self.wires.breaks_next_answer.store(true, Ordering::SeqCst);
    }

    /// Has an answer been broken since?
    pub(crate) fn has_broken_it(&self) -> bool {
        !self.wires.breaks_next_answer.load(Ordering::SeqCst)
    }
}

impl Wires {
    fn join(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.server.get())?;
        let ends = [client.try_clone()?, server.try_clone()?];
        self.open.lock().unwrap().extend(ends);
        let (mut requests, mut to_server) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || pass(&mut requests, &mut to_server, || false));
        let (mut answers, mut to_client, wires) = (server, client, Arc::clone(self));
        thread::spawn(move || {
            pass(&mut answers, &mut to_client, || wires.breaks_next_answer.swap(false, Ordering::SeqCst));
        });
        Ok(())
    }
}

/// Passes on what comes until either side ends or `breaks` says so; then both end.
fn pass(from: &mut TcpStream, to: &mut TcpStream, breaks: impl Fn() -> bool) {
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        if breaks() || to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
