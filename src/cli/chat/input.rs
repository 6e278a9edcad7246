//! What the person types. Lines come from a thread of their own, so that waiting for one holds up nothing.

use std::{
    collections::VecDeque,
    io::{self, BufRead, IsTerminal},
    thread,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// Lines typed ahead of the answers. Beyond this the thread stops reading, and a pipe's writer waits.
const AHEAD: usize = 16;

/// Stops the answer that is being given.
pub(super) const STOP: &str = "/stop";

/// What came next at the prompt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A line that is not blank.
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D, or the end of the pipe.
    End,
}

/// Standard input and Ctrl-C.
pub(super) struct Keyboard {
    lines: mpsc::Receiver<String>,
    interrupts: Signal,
    /// Typed while an answer was given.
    ahead: VecDeque<String>,
    /// Ctrl-C ended an answer, and ends the program that pipes lines to us too.
    interrupted: bool,
    is_terminal: bool,
}

impl Keyboard {
    /// Starts reading.
    ///
    /// # Errors
    /// The thread or the signal handler cannot be had.
    pub(super) fn open() -> io::Result<Self> {
        let (sender, lines) = mpsc::channel(AHEAD);
        // Never joined: it ends with its input, or with the process.
        thread::Builder::new().name("input".to_owned()).spawn(move || read_lines(&sender))?;
        Ok(Self {
            lines,
            interrupts: signal(SignalKind::interrupt())?,
            ahead: VecDeque::new(),
            interrupted: false,
            is_terminal: io::stdin().is_terminal(),
        })
    }

    /// A person types, rather than a program.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Waits at the prompt.
    pub(super) async fn next(&mut self) -> Input {
        if self.interrupted {
            return Input::Interrupt;
        }
        if let Some(line) = self.ahead.pop_front() {
            return Input::Line(line);
        }
        tokio::select! {
            line = self.lines.recv() => line.map_or(Input::End, Input::Line),
            _ = self.interrupts.recv() => Input::Interrupt,
        }
    }

    /// Waits for the wish to stop what is being done; what else is typed meanwhile is kept for the prompt. Nothing is
    /// lost when this is dropped before it ends.
    pub(super) async fn stop_wished(&mut self) {
        loop {
            let has_room = self.ahead.len() < AHEAD;
            tokio::select! {
                Some(line) = self.lines.recv(), if has_room => match &*line {
                    STOP => return,
                    _ => self.ahead.push_back(line),
                },
                Some(()) = self.interrupts.recv() => {
                    self.interrupted = !self.is_terminal;
                    return;
                }
                else => std::future::pending().await,
            }
        }
    }
}

fn read_lines(sender: &mpsc::Sender<String>) {
    let mut input = io::stdin().lock();
    let mut bytes = Vec::new();
    // An input that cannot be read has ended.
    while input.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
        let line = String::from_utf8_lossy(&bytes).trim().to_owned();
        bytes.clear();
        if !line.is_empty() && sender.blocking_send(line).is_err() {
            return;
        }
    }
}
