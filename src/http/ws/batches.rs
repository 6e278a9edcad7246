//! A reader's frames for a WebSocket, one batch at a time.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::Stream;
use openclaw_actors::conversation::reader::{Frame, Reader};
use tokio::time::Instant;
use tracing::warn;

use crate::http::{frames::Goodbye, open_streams::ActiveStream, sse::LAGGING_AFTER};

/// What comes next.
pub(super) enum Batch {
    Frames(Vec<Frame>),
    /// The last one.
    Goodbye(Goodbye),
}

/// Between two batches the socket has its turn: asked again at once, this would gather all there is.
enum Pace {
    /// Nothing is on its way.
    Ready,
    /// A batch was handed over.
    Given,
    /// It is to be written before the next; asked for then.
    Paused(Instant),
}

/// See the module.
pub(super) struct Batches {
    reader: Reader,
    active: ActiveStream,
    frames: Vec<Frame>,
    pace: Pace,
    ended: bool,
}

impl Batches {
    pub(super) fn new(reader: Reader, active: ActiveStream) -> Self {
        Self { reader, active, frames: Vec::new(), pace: Pace::Ready, ended: false }
    }

    fn end(&mut self, goodbye: Goodbye) -> Poll<Option<Batch>> {
        self.ended = true;
        Poll::Ready(Some(Batch::Goodbye(goodbye)))
    }
}

impl Stream for Batches {
    type Item = Batch;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        match this.pace {
            Pace::Given => {
                this.pace = Pace::Paused(Instant::now());
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // The body is asked for more only once the socket has room.
            Pace::Paused(since) if since.elapsed() >= LAGGING_AFTER => return this.end(Goodbye::Lagging),
            Pace::Paused(_) | Pace::Ready => this.pace = Pace::Ready,
        }
        if let Poll::Ready(goodbye) = this.active.poll_over(cx) {
            return this.end(goodbye);
        }
        match this.reader.poll_frames(cx, &mut this.frames) {
            Poll::Ready(Ok(true)) => {
                this.pace = Pace::Given;
                Poll::Ready(Some(Batch::Frames(mem::take(&mut this.frames))))
            }
            // Nothing more will come; what ended it was said in its last frame.
            Poll::Ready(Ok(false)) => {
                this.ended = true;
                Poll::Ready(None)
            }
            Poll::Ready(Err(error)) => {
                warn!(%error, "a WebSocket could not go on");
                this.end(Goodbye::Unavailable)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};
    use tokio::time::advance;

    use super::*;
    use crate::http::sse::tests::Scene;

    #[actix::test]
    async fn a_socket_that_takes_nothing_for_long_is_told_that_it_lags() {
        let scene = Scene::new().await;
        let mut batches = Batches::new(scene.reader().await, ActiveStream::unwatched());
        scene.say().await;
        assert!(matches!(batches.next().await, Some(Batch::Frames(frames)) if !frames.is_empty()));
        // Whoever sends what it is given asks again when there is room; until then nothing more is gathered.
        assert!(batches.next().now_or_never().is_none());
        scene.say().await;
        tokio::time::pause();
        advance(LAGGING_AFTER).await;
        assert!(matches!(batches.next().await, Some(Batch::Goodbye(Goodbye::Lagging))));
        assert!(batches.next().await.is_none());
    }

    #[actix::test]
    async fn a_socket_that_takes_what_it_is_given_in_time_gets_the_next() {
        let scene = Scene::new().await;
        let mut batches = Batches::new(scene.reader().await, ActiveStream::unwatched());
        scene.say().await;
        batches.next().await;
        assert!(batches.next().now_or_never().is_none());
        scene.say().await;
        tokio::time::pause();
        advance(LAGGING_AFTER / 2).await;
        // A store's calls would seem to take for ever.
        tokio::time::resume();
        assert!(matches!(batches.next().await, Some(Batch::Frames(_))));
    }
}
