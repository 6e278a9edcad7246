//! A reader that holds the stream of a conversation open, over restarts of the server too.

use std::time::Duration;

use tokio::time::sleep;

use super::{Client, resuming::passes};
use crate::cli::bench::{
    answer::{Fault, Seen},
    tally::Failure,
};

/// Between two tries to find a server that is away.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(100);

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
        loop {
            let position = match self.answer.cursor() {
                "" => sequence.to_string(),
                cursor => cursor.to_owned(),
            };
            let request = self.target.get(&path, &format!("Last-Event-ID: {position}\r\n"));
            match self.follow(&request, held).await {
                Ok(()) => {}
                Err(Failure::Error { kind, .. }) if passes(&kind) => {}
                Err(failure) => return held.failed(failure),
            }
            self.connection = None;
            sleep(TRY_AGAIN_AFTER).await;
        }
    }

    async fn follow(&mut self, request: &[u8], held: &impl Held) -> Result<(), Failure> {
        match self.ask(request).await? {
            200 => held.opened(),
            status => return Err(self.refused(status).await),
        }
        let followed = self.follow_open(held).await;
        held.lost();
        followed
    }

    async fn follow_open(&mut self, held: &impl Held) -> Result<(), Failure> {
        self.blocks.clear();
        let mut said_goodbye = false;
        while self.read_piece().await? {
            while let Some(block) = self.blocks.next().map_err(Fault::from)? {
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
