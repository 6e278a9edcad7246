//! How long people wait for an answer: from their request's last byte to its answer's first and last.

use std::time::Instant;

use openclaw_actors::{
    conversation::reader::Frame,
    metrics::{ByModel, METRICS},
};

/// The waits of one answer.
#[derive(Debug)]
pub(super) struct Timing {
    /// One of the models of this server: a label.
    model: String,
    asked_at: Instant,
    last_piece_at: Option<Instant>,
    /// Gaps between pieces, in seconds, not yet counted.
    gaps: Vec<f64>,
}

/// Gaps that are counted together: the histogram is one for all workers, and its lock moves between their cores.
const GAPS_AT_ONCE: usize = 64;

impl Timing {
    pub(super) fn new(model: String, asked_at: Instant) -> Self {
        Self { model, asked_at, last_piece_at: None, gaps: Vec::new() }
    }

    /// A frame is written now.
    pub(super) fn saw(&mut self, frame: &Frame, now: Instant) {
        match frame {
            Frame::Delta { .. } => self.saw_text(now),
            Frame::Event(event, _) if event.kind.is_terminal() => self.ended(),
            Frame::Event(..) | Frame::Notice(_) | Frame::Gap { .. } | Frame::Closing(_) => {}
        }
    }

    /// The answer is whole.
    pub(super) fn ended(&self) {
        let took = self.asked_at.elapsed().as_secs_f64();
        METRICS.time_to_completion.get_or_create(&self.label()).observe(took);
    }

    /// A piece of the answer is written now.
    pub(super) fn saw_text(&mut self, now: Instant) {
        match self.last_piece_at.replace(now) {
            Some(last) => {
                self.gaps.push(now.duration_since(last).as_secs_f64());
                if self.gaps.len() == GAPS_AT_ONCE {
                    self.count_gaps();
                }
            }
            None => {
                let took = now.duration_since(self.asked_at).as_secs_f64();
                METRICS.time_to_first_token.get_or_create(&self.label()).observe(took);
            }
        }
    }

    fn count_gaps(&mut self) {
        self.gaps.drain(..).for_each(|gap| METRICS.inter_token.observe(gap));
    }

    fn label(&self) -> ByModel {
        ByModel { model: self.model.clone() }
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        self.count_gaps();
    }
}
