//! `openclaw-server chat`: talk to any server, in the terminal or through a pipe.

mod answer;
mod following;
mod input;
mod patience;
mod screen;
mod service;
mod wire;

use std::{process::ExitCode, time::Duration};

use clap::Args;
use openclaw_actors::ids::ConversationId;

use self::{
    answer::Answer,
    following::{Lost, Source},
    input::{Input, Keyboard, STOP},
    screen::Screen,
    service::{Question, Service},
};
use super::{
    Outcome,
    remote::{Remote, ServerUrl},
};

/// Talk to a server, in the terminal or through a pipe
///
/// Each line is a message. In a terminal, /stop or Ctrl-C stops the answer that is being given; Ctrl-D leaves. Through
/// a pipe, answers go to standard output, and the exit status is not 0 if one of them failed.
#[derive(Debug, Args)]
pub(super) struct Chat {
    /// Where the server is
    #[arg(long, value_name = "URL", env = "OPENCLAW_URL", default_value = "http://127.0.0.1:8080")]
    url: ServerUrl,
    /// A key with conversations:read and conversations:write
    #[arg(long, value_name = "KEY", env = "OPENCLAW_KEY", hide_env_values = true)]
    key: String,
    /// Go on with this conversation
    #[arg(long, value_name = "CONVERSATION")]
    conversation: Option<ConversationId>,
}

/// Messages shown of a conversation that goes on.
const HISTORY: usize = 10;

/// Until an answer begins. The server waits for nothing but its disk.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);

/// As a shell reports a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

impl Chat {
    pub(super) fn run(self) -> Outcome {
        actix::System::new().block_on(async {
            let greeting = format!("{}: {STOP} or Ctrl-C stops an answer, Ctrl-D leaves", self.url);
            let mut session = Session {
                service: Service::new(Remote::new(self.url, self.key, ANSWERED_WITHIN)?),
                keyboard: Keyboard::open()?,
                screen: Screen::new(),
                conversation: self.conversation,
                reached: false,
                failed: false,
            };
            session.run(&greeting).await
        })
    }
}

/// One chat.
struct Session {
    service: Service,
    keyboard: Keyboard,
    screen: Screen,
    /// Known once the first message has arrived.
    conversation: Option<ConversationId>,
    /// There is a server: if it is away, it will come back.
    reached: bool,
    /// Something was not answered.
    failed: bool,
}

impl Session {
    async fn run(&mut self, greeting: &str) -> Outcome {
        let is_typed = self.keyboard.is_terminal();
        if is_typed {
            self.screen.note(greeting)?;
        }
        if let Some(id) = self.conversation {
            self.go_on(id).await?;
        }
        loop {
            if is_typed {
                self.screen.prompt()?;
            }
            match self.keyboard.next().await {
                Input::Line(line) if line == STOP => self.screen.note("nothing is being answered")?,
                Input::Line(line) => {
                    let question = Question::new(self.conversation, &line);
                    self.show(Source::Question(question), Answer::default()).await?;
                }
                Input::Interrupt if !is_typed => return Ok(ExitCode::from(INTERRUPTED)),
                Input::Interrupt | Input::End => break,
            }
        }
        if is_typed {
            self.screen.leave_prompt()?;
            if let Some(id) = self.conversation {
                self.screen.note(&format!("to go on with this conversation: --conversation {id}"))?;
            }
        }
        Ok(if self.failed && !is_typed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Shows what was said last, and the answer that is being given now.
    async fn go_on(&mut self, id: ConversationId) -> Result<(), Lost> {
        // In this order: an answer that ends in between is among the messages.
        let running = self.service.conversation(id).await?.active_turn_id;
        let messages = self.service.last_messages(id, HISTORY).await?;
        self.reached = true;
        if self.keyboard.is_terminal() {
            for message in &messages {
                self.screen.earlier(message)?;
            }
        }
        match running.filter(|turn| !messages.iter().any(|message| message.answers(*turn))) {
            Some(turn) => self.show(Source::Turn, Answer::to(id, turn)).await,
            None => Ok(()),
        }
    }

    /// Shows an answer. A program that pipes lines can do nothing about what would go wrong with the next one too, so
    /// that ends the chat; a person can.
    async fn show(&mut self, source: Source, answer: Answer) -> Result<(), Lost> {
        match self.follow(source, answer).await {
            Err(Lost::GivenUp) => Ok(self.screen.note("not waited for any longer")?),
            Err(Lost::Call(error)) if self.keyboard.is_terminal() || error.is_of_this_request() => {
                self.failed = true;
                Ok(self.screen.note(&error.to_string())?)
            }
            ended => ended,
        }
    }
}
