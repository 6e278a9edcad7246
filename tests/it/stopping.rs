//! What becomes of the requests that are under way when the server is told to stop.

use std::{
    sync::Barrier,
    thread::{self, ScopedJoinHandle},
};

use serde_json::json;

use crate::{
    harness::{Server, times},
    talk::Talk,
};

/// As many at once as a busy shop has, each asking again as soon as it is answered.
const CLIENTS: usize = 96;

/// Answers that each client has had before the stop, so that all of them are in mid-flow. Odd: what is under way then
/// waits for its reply.
const WARM_UP: usize = 3;

#[test]
fn a_stop_leaves_nobody_unanswered_whose_message_was_stored() {
    let mut server = Server::start();
    let org = server.organization().unlimited(&server);
    for round in 0..times(2, 20) {
        let begun = Barrier::new(CLIENTS + 1);
        let lost: Vec<(Talk, String)> = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (org, begun) = (&org, &begun);
                    scope.spawn(move || until_unanswered(&Talk::start(org), round * CLIENTS + client, begun))
                })
                .collect();
            begun.wait();
            server.terminate();
            clients.into_iter().map(ScopedJoinHandle::join).map(Result::unwrap).collect()
        });
        assert!(server.ended().success(), "{}", server.log());
        assert!(!server.log().contains("requests unanswered"), "{}", server.log());
        server.start_again();
        for (talk, unanswered) in lost {
            let stored = talk.messages();
            let found = stored.iter().find(|message| message["client_message_id"] == unanswered.as_str());
            assert_eq!(found, None, "it was stored, and whoever sent it was told nothing");
        }
    }
}

/// Sends messages, waiting for the reply to every second one, until no answer comes; gives the one without.
fn until_unanswered(talk: &Talk, client: usize, begun: &Barrier) -> (Talk, String) {
    for n in 0.. {
        if n == WARM_UP {
            begun.wait();
        }
        let id = format!("{client}-{n}");
        let patience = if n % 2 == 0 { 0 } else { 5 };
        let body = json!({"content": "hi", "client_message_id": id, "wait_seconds": patience});
        if talk.request("POST", "/messages").json(&body).try_send().is_err() {
            return (talk.clone(), id);
        }
    }
    unreachable!("the server answers for ever")
}
