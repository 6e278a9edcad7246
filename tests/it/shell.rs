//! The process: it starts, says so, and stops, and is careful about where it listens.

use std::time::Instant;

use crate::harness::Server;

#[test]
fn a_stop_takes_less_than_five_seconds_and_ends_with_status_0() {
    let mut server = Server::start();
    // An idle connection must not hold the process.
    let mut idle = server.connect();
    idle.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    idle.reply().status(200);
    let asked = Instant::now();
    let status = server.stop();
    assert!(asked.elapsed().as_secs() < 5, "{:?}", asked.elapsed());
    assert_eq!(status.code(), Some(0));
}
