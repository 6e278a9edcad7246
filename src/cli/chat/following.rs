//! Following one answer to its end: over broken connections and restarts, and with a hand on the stop.

use std::{
    io,
    pin::pin,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{
    Session,
    answer::{Answer, Ending, Step},
    patience::Patience,
    service::{Events, Question},
};
use crate::cli::remote::CallError;

/// Where an answer comes from.
pub(super) enum Source {
    /// The message that asks for it.
    Question(Question),
    /// A turn that runs already.
    Turn,
}

/// Why an answer was not followed to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// The server refuses, or is away for too long.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Whoever asked does not want to wait for it any more.
    #[error("the answer was not waited for")]
    GivenUp,
    /// What reads the answers has gone.
    #[error(transparent)]
    Screen(#[from] io::Error),
}

/// How far the wish to stop has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Unwanted,
    /// The turn to stop is not known yet.
    Wanted,
    Asked,
}

impl Stop {
    /// Who wishes it twice does not want to wait.
    fn wish(&mut self) -> Result<(), Lost> {
        match self {
            Self::Unwanted => *self = Self::Wanted,
            Self::Wanted | Self::Asked => return Err(Lost::GivenUp),
        }
        Ok(())
    }
}

/// What is known while an answer is followed.
struct Following {
    source: Source,
    answer: Answer,
    patience: Patience,
    stop: Stop,
}

impl Session {
    /// Shows an answer to its end.
    pub(super) async fn follow(&mut self, source: Source, answer: Answer) -> Result<(), Lost> {
        let mut following = Following { source, answer, patience: Patience::default(), stop: Stop::Unwanted };
        loop {
            let (error, asked) = match self.open(&mut following).await {
                Ok(Some(mut events)) => match self.read(&mut events, &mut following).await? {
                    Some(ending) => return self.end(ending),
                    None => (self.service.broke_off(), events.retry_after()),
                },
                // Nothing follows what we have: we have all of it.
                Ok(None) => return self.end(Ending::Completed),
                Err(Lost::Call(error)) if error.passes() && self.may_come_back(&error) => {
                    let asked = error.retry_after();
                    (error, asked)
                }
                Err(lost) => return Err(lost),
            };
            self.wait(&mut following, error, asked).await?;
        }
    }

    /// A server that never was there has an address with a mistake in it.
    fn may_come_back(&mut self, error: &CallError) -> bool {
        self.reached |= !matches!(error, CallError::Unreachable { .. });
        self.reached
    }

    /// Opens the stream of the answer where it was left; `None` if nothing follows.
    async fn open(&mut self, following: &mut Following) -> Result<Option<Events>, Lost> {
        let Following { source, answer, stop, .. } = following;
        let (service, cursor) = (&self.service, answer.cursor.as_deref());
        let mut opening = pin!(async {
            match (answer.conversation.zip(answer.turn), &*source) {
                (Some((conversation, turn)), _) => service.answer(conversation, turn, cursor).await,
                (None, Source::Question(question)) => service.ask(question, cursor).await.map(Some),
                (None, Source::Turn) => Ok(None),
            }
        });
        loop {
            tokio::select! {
                opened = &mut opening => return Ok(opened?),
                () = self.keyboard.stop_wished() => stop.wish()?,
            }
        }
    }

    /// Shows what comes; `None` if the stream ends before the answer does.
    async fn read(&mut self, events: &mut Events, following: &mut Following) -> Result<Option<Ending>, Lost> {
        self.reached = true;
        loop {
            self.stop_if_wanted(following).await?;
            let event = tokio::select! {
                event = events.next() => event,
                () = self.keyboard.stop_wished() => {
                    following.stop.wish()?;
                    continue;
                }
            };
            let Some(event) = event else { return Ok(None) };
            if event.id.is_some() {
                following.patience.restore();
            }
            let step = following.answer.take(&event).map_err(|error| self.service.foreign(&error))?;
            self.conversation = following.answer.conversation.or(self.conversation);
            match step {
                Step::Nothing => {}
                Step::Text(text) => self.screen.text(&text)?,
                Step::BeginsAgain => {
                    self.screen.end_text()?;
                    self.screen.note("the server was restarted: the answer begins again")?;
                }
                Step::Sources(citations) => self.screen.sources(&citations)?,
                Step::Interrupted => return Ok(None),
                Step::Ended(ending) => return Ok(Some(ending)),
            }
        }
    }

    async fn stop_if_wanted(&mut self, following: &mut Following) -> Result<(), Lost> {
        let Some((conversation, turn)) = following.answer.conversation.zip(following.answer.turn) else {
            return Ok(());
        };
        if following.stop == Stop::Wanted {
            following.stop = Stop::Asked;
            if let Err(error) = self.service.stop(conversation, turn).await {
                self.screen.note(&format!("the answer was not stopped: {error}"))?;
                following.stop = Stop::Unwanted;
            }
        }
        Ok(())
    }

    /// Waits for a server that is away.
    async fn wait(
        &mut self,
        following: &mut Following,
        error: CallError,
        asked: Option<Duration>,
    ) -> Result<(), Lost> {
        if following.patience.is_whole() {
            self.screen.note(&format!("{error}; trying again"))?;
        }
        let Some(wait) = following.patience.wait(asked, Instant::now()) else { return Err(error.into()) };
        tokio::select! {
            () = sleep(wait) => Ok(()),
            // There is nobody to be asked to stop.
            () = self.keyboard.stop_wished() => Err(Lost::GivenUp),
        }
    }

    fn end(&mut self, ending: Ending) -> Result<(), Lost> {
        self.screen.end_text()?;
        match ending {
            Ending::Completed => {}
            Ending::Stopped => self.screen.note("stopped")?,
            Ending::Failed(reason) => {
                self.failed = true;
                self.screen.note(&format!("the answer failed: {reason}"))?;
            }
            Ending::LeftToAPerson => {
                self.screen.note("your message has arrived; a person answers in this conversation")?;
            }
        }
        Ok(())
    }
}
