//! How long to wait for a server that is away, and how often to look.

use std::time::{Duration, Instant};

/// A restart takes seconds. A server that is away for longer has somebody looking at it.
const AWAY_FOR: Duration = Duration::from_secs(90);

/// Between two attempts, where the server did not say when to come back; each wait is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// The waits of one answer.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// When it ends, and how long the last wait was. None while the server is there.
    tried: Option<(Instant, Duration)>,
}

impl Patience {
    /// The server is there, and tells something new.
    pub(super) fn restore(&mut self) {
        self.tried = None;
    }

    /// The first attempt since then has just failed.
    pub(super) fn is_whole(&self) -> bool {
        self.tried.is_none()
    }

    /// How long to wait before the next attempt; `None` when it is enough.
    pub(super) fn wait(&mut self, asked: Option<Duration>, now: Instant) -> Option<Duration> {
        let (end, wait) = match self.tried {
            None => (now + AWAY_FOR, FIRST_WAIT),
            Some((end, wait)) => (end, (wait * 2).min(LONGEST_WAIT)),
        };
        self.tried = Some((end, wait));
        let wait = asked.unwrap_or(wait);
        (now + wait <= end).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        let mut waited = Duration::ZERO;
        let mut waits = Vec::new();
        while let Some(wait) = patience.wait(None, start + waited) {
            waited += wait;
            waits.push(wait.as_millis());
        }
        assert_eq!(waits[..6], [250, 500, 1_000, 2_000, 4_000, 4_000]);
        assert!(waited <= AWAY_FOR && waited + LONGEST_WAIT > AWAY_FOR, "{waited:?}");
    }

    #[test]
    fn what_the_server_asks_for_wins_and_news_restore() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        let asked = Some(Duration::from_secs(60));
        assert_eq!(patience.wait(asked, now), asked);
        assert_eq!(patience.wait(asked, now + Duration::from_secs(60)), None);
        patience.restore();
        assert!(patience.is_whole());
        assert_eq!(patience.wait(None, now), Some(FIRST_WAIT));
    }
}
