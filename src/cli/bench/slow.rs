//! Readers that read a little at a time, or not at all, while others are measured.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{client::Target, options::Model};

/// Such an answer does not fit into what the kernel holds for a connection, so that the server itself must wait.
const LONG_ANSWER: Model = Model { tokens: 8_000, tokens_per_second: 0.0, first_token_ms: 0 };

/// What such a reader's own kernel holds at most.
const RECEIVE_BUFFER: u32 = 4 << 10;

/// One that reads takes so much at a time, and then rests.
const BITE: usize = 512;
const REST: Duration = Duration::from_millis(100);

/// After that it hangs up and comes again with another question.
const STAYS: Duration = Duration::from_secs(20);

/// Begins that many of them. They end when what is returned is dropped.
pub(super) fn crowd(target: &Rc<Target>, readers: usize) -> JoinSet<()> {
    let mut crowd = JoinSet::new();
    for number in 0..readers {
        let target = Rc::clone(target);
        // Every other one does not read at all.
        let reads = number % 2 == 0;
        crowd.spawn_local(async move {
            loop {
                let visit = visit(target.address.socket, question(&target), reads);
                // However it ended, the next one is like it.
                drop(timeout(STAYS, visit).await);
                sleep(REST).await;
            }
        });
    }
    crowd
}

fn question(target: &Target) -> Vec<u8> {
    let mut message = target.message();
    let fields = LONG_ANSWER.fields();
    if target.words.is_some() {
        (message["model"], message["synthetic"]) = (fields["model"].clone(), fields["synthetic"].clone());
    }
    target.post("/v1/conversations", &json!({ "channel": "bench", "message": message, "stream": true }))
}

async fn visit(address: SocketAddr, question: Vec<u8>, reads: bool) -> std::io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    let mut connection = socket.connect(address).await?;
    connection.write_all(&question).await?;
    let mut bite = [0; BITE];
    while reads && connection.read(&mut bite).await? > 0 {
        sleep(REST).await;
    }
    // Held open, unread, until the visit is over.
    std::future::pending().await
}
