//! Answers whose streams are cut: by the client, by a herd of them at once, or by the end of the server.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{ANSWERED_WITHIN, BROKEN, Client, Stop, UNREACHABLE, too_slow};
use crate::cli::bench::{
    answer::Fault,
    tally::{Failure, Took},
};

/// Between two tries to find a server that is away: a restart takes tens of milliseconds.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What cuts streams.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli::bench) struct Storm<'a> {
    /// After so many bytes of the answer, the first time.
    pub(in crate::cli::bench) cut_after: Option<usize>,
    /// All at once, whenever that is told.
    pub(in crate::cli::bench) herd: &'a Notify,
    /// A server that is away is expected back.
    pub(in crate::cli::bench) waits_for_server: bool,
}

/// How one connection of several ended.
enum Part {
    /// The stream is over.
    Whole,
    /// There may be more.
    Cut,
}

impl Client {
    /// Starts a conversation and reads its answer over as many connections as it takes. `name` tells the server that
    /// a request sent again is the same.
    pub(in crate::cli::bench) async fn start_and_resume(
        &mut self,
        name: &str,
        storm: Storm<'_>,
        since: Instant,
    ) -> Result<Took, Failure> {
        self.answer.begin(0);
        self.waits.begin(since);
        let whole = timeout(ANSWERED_WITHIN, self.resume_to_the_end(name, storm)).await;
        self.settle(whole.unwrap_or_else(|_| Err(too_slow())))
    }

    async fn resume_to_the_end(&mut self, name: &str, mut storm: Storm<'_>) -> Result<Took, Failure> {
        let mut is_first = true;
        loop {
            let asked = (!is_first).then(Instant::now);
            match self.one_part(&self.request(name), asked, storm).await {
                Ok(Part::Whole) => return self.whole(),
                Ok(Part::Cut) => {}
                Err(Failure::Error { kind, .. }) if storm.waits_for_server && passes(&kind) => {
                    sleep(TRY_AGAIN_AFTER).await;
                }
                Err(failure) => return Err(failure),
            }
            // What came of an event that was cut is forgotten, as every reader of streams does.
            self.connection = None;
            storm.cut_after = None;
            is_first = false;
        }
    }

    /// The request for what has not come yet: the message again, until an event told where its answer is.
    fn request(&self, name: &str) -> Vec<u8> {
        let cursor = self.answer.cursor();
        if self.answer.turn().is_empty() {
            let body = json!({ "channel": "bench", "message": self.target.message(), "stream": true });
            let headers = match cursor {
                "" => format!("Idempotency-Key: {name}\r\n"),
                cursor => format!("Idempotency-Key: {name}\r\nLast-Event-ID: {cursor}\r\n"),
            };
            return self.target.post_with("/v1/conversations", &headers, &body);
        }
        let (conversation, turn) = (self.answer.conversation(), self.answer.turn());
        let path = format!("/v1/conversations/{conversation}/turns/{turn}/stream");
        self.target.get(&path, &format!("Last-Event-ID: {cursor}\r\n"))
    }

    async fn one_part(
        &mut self,
        request: &[u8],
        asked: Option<Instant>,
        storm: Storm<'_>,
    ) -> Result<Part, Failure> {
        match self.ask(request).await? {
            200 => {}
            // Nothing follows the position.
            204 => return Ok(Part::Whole),
            status => return Err(self.refused(status).await),
        }
        self.blocks.clear();
        let (mut read, mut asked, mut stop) = (0, asked, Stop::Ended);
        loop {
            let more = tokio::select! {
                more = self.read_piece() => more?,
                () = storm.herd.notified() => return Ok(Part::Cut),
            };
            if !more {
                break;
            }
            if let Some(asked) = asked.take() {
                self.waits.resumes.push(asked.elapsed());
            }
            read += self.blocks.unread();
            if storm.cut_after.is_some_and(|cut| read >= cut) && self.answer.end().is_none() {
                return Ok(Part::Cut);
            }
            stop = self.take_events()?.unwrap_or(stop);
        }
        match (stop, self.answer.end()) {
            (Stop::SaidGoodbye, None) => Ok(Part::Cut),
            (Stop::Ended, None) => Err(Fault::NoEnd.into()),
            (_, Some(_)) => Ok(Part::Whole),
        }
    }
}

/// The server is away, or about to be.
pub(super) fn passes(kind: &str) -> bool {
    matches!(kind, UNREACHABLE | BROKEN) || kind.starts_with("503")
}
