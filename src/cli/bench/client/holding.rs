//! A reader that holds the stream of a conversation open, over restarts of the server too. It comes back when the server
//! says, as a browser does.

use std::time::Duration;

use tokio::time::sleep;

use super::{Client, resuming::passes};
use crate::cli::bench::{
    answer::{Fault, Seen},
    tally::Failure,
};

/// Until a server has said when to come back: what browsers wait, about.
const COME_BACK_AFTER: Duration = Duration::from_secs(2);

/// What such a reader tells of.
pub(in crate::cli::bench) trait Held {
    /// Its stream is open, or is again.
    fn opened(&self);
    /// Its stream was lost.
    fn lost(&self);
    /// A whole answer came on it.
    fn answered(&self);
    /// Something went wrong for good.
    fn failed(&self, failure: Failure);
}

impl Client {
    /// Holds the stream of that conversation, of which everything up to `sequence` is known, for ever.
    pub(in crate::cli::bench) async fn hold(&mut self, conversation: &str, sequence: i64, held: &impl Held) {
        self.answer.begin(sequence);
        let path = format!("/v1/conversations/{conversation}/stream");
        let mut come_back = COME_BACK_AFTER;
        loop {
            let position = match self.answer.cursor() {
                "" => sequence.to_string(),
                cursor => cursor.to_owned(),
            };
            let request = self.target.get(&path, &format!("Last-Event-ID: {position}\r\n"));
            match self.follow(&request, held, &mut come_back).await {
                Ok(()) => {}
                Err(Failure::Error { kind, .. }) if passes(&kind) => {}
                Err(failure) => return held.failed(failure),
            }
            self.connection = None;
            sleep(come_back).await;
        }
    }

    async fn follow(
        &mut self,
        request: &[u8],
        held: &impl Held,
        come_back: &mut Duration,
    ) -> Result<(), Failure> {
        match self.ask(request).await? {
            200 => held.opened(),
            status => return Err(self.refused(status).await),
        }
        let followed = self.follow_open(held, come_back).await;
        held.lost();
        followed
    }

    async fn follow_open(&mut self, held: &impl Held, come_back: &mut Duration) -> Result<(), Failure> {
        self.blocks.clear();
        let mut said_goodbye = false;
        while self.read_piece().await? {
            while let Some(block) = self.blocks.next().map_err(Fault::from)? {
                if let Some(retry) = block.retry {
                    *come_back = Duration::from_millis(retry);
                }
                match self.answer.take(&block)? {
                    Seen::End => {
                        self.whole()?;
                        held.answered();
                        // The next turn may follow in the same piece.
                        self.answer.next_turn();
                    }
                    Seen::Goodbye => said_goodbye = true,
                    Seen::Text | Seen::Event => {}
                }
            }
        }
        // A stream that the server ends without a word is one that readers take for whole.
        if said_goodbye { Ok(()) } else { Err(Fault::NoEnd.into()) }
    }
}
