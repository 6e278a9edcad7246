//! What is shown on a terminal while a run goes on.

use std::{cell::Cell, io::IsTerminal, rc::Rc, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::{
    task::{JoinHandle, spawn_local},
    time::interval,
};

/// How often it is drawn: seldom, because drawing takes time from what is measured.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// A line that is drawn while it lives.
pub(super) struct Progress {
    bar: ProgressBar,
    drawing: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows how many requests are `done`.
    pub(super) fn start(json: bool, done: &Rc<Cell<u64>>) -> Self {
        let bar = match json || !std::io::stderr().is_terminal() {
            true => return Self { bar: ProgressBar::hidden(), drawing: None },
            false => ProgressBar::new_spinner(),
        };
        let style = ProgressStyle::with_template("{spinner} {elapsed}  {pos} requests, {per_sec}  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        let (drawn, done) = (bar.clone(), Rc::clone(done));
        let drawing = spawn_local(async move {
            let mut ticks = interval(DRAW_EVERY);
            loop {
                ticks.tick().await;
                drawn.set_position(done.get());
            }
        });
        Self { bar, drawing: Some(drawing) }
    }

    /// Says what is going on.
    pub(super) fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(drawing) = &self.drawing {
            drawing.abort();
        }
        self.bar.finish_and_clear();
    }
}
