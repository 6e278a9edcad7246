//! The baseline: a bare actix-web handler that streams the bytes of a recorded answer at the same pace.
//!
//! It has the server's workers and socket options, and nothing else of it: no keys, no limits, no actors, no store.
//! What an answer costs beyond this is what the server costs.

use std::{
    convert::Infallible,
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use actix_web::{
    App, HttpResponse, HttpServer,
    http::header,
    rt::net::TcpStream,
    web::{self, Bytes},
};
use clap::Args;
use futures_util::{Stream, stream};
use memchr::memmem;
use tokio::time::{Instant, sleep_until};

use crate::{cli::Outcome, config::Config, server::socket};

/// Stream a recorded answer to whoever asks
#[derive(Debug, Args)]
pub(in crate::cli) struct Bare {
    /// The body of a streamed answer
    #[arg(long, value_name = "FILE")]
    answer: PathBuf,
    #[arg(long, value_name = "MS")]
    first_token_ms: u64,
    #[arg(long, value_name = "PER_SECOND")]
    tokens_per_second: f64,
}

/// What is streamed, and when.
#[derive(Debug)]
struct Recorded {
    /// Everything before the text, the pieces of text, everything after it.
    pieces: Vec<Bytes>,
    first_token: Duration,
    between_tokens: Duration,
}

impl Bare {
    pub(in crate::cli) fn run(self) -> Outcome {
        let between_tokens = match self.tokens_per_second {
            rate if rate > 0.0 => Duration::from_secs_f64(1.0 / rate),
            _ => Duration::ZERO,
        };
        let pieces = pieces(&fs::read(&self.answer)?, between_tokens.is_zero());
        let first_token = Duration::from_millis(self.first_token_ms);
        let recorded = Arc::new(Recorded { pieces, first_token, between_tokens });
        // The workers are those that the environment gives to the server.
        let workers = Config::load(None, &[])?.server.workers;
        actix_web::rt::System::new().block_on(serve(recorded, workers))?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn serve(recorded: Arc<Recorded>, workers: usize) -> io::Result<()> {
    let app = move || {
        let recorded = Arc::clone(&recorded);
        let answer = move |_: Bytes| {
            let recorded = Arc::clone(&recorded);
            async move {
                HttpResponse::Ok()
                    .insert_header((header::CACHE_CONTROL, "no-store"))
                    .insert_header(("x-accel-buffering", "no"))
                    .insert_header((header::CONTENT_TYPE, "text/event-stream"))
                    .streaming(stream(recorded))
            }
        };
        App::new().default_service(web::to(answer))
    };
    let mut server = HttpServer::new(app)
        .client_request_timeout(socket::HEAD_WITHIN)
        .client_disconnect_timeout(socket::GOODBYE_WITHIN)
        .keep_alive(socket::KEEP_ALIVE)
        .h1_allow_half_closed(false)
        .on_connect(|connection, _| {
            if let Some(connection) = connection.downcast_ref::<TcpStream>() {
                socket::tune(connection);
            }
        })
        // Its own: what the server has for more is for its refusals.
        .max_connections(usize::from(u16::MAX))
        .shutdown_timeout(0);
    if workers > 0 {
        server = server.workers(workers);
    }
    let server = server.listen(socket::bind(([127, 0, 0, 1], 0).into())?)?;
    let mut out = io::stdout();
    for address in server.addrs() {
        writeln!(out, "listening on http://{address}")?;
    }
    out.flush()?;
    // Ended by whoever started it.
    drop(rlimit::increase_nofile_limit(u64::MAX));
    server.run().await
}

/// One write each, as the server writes them: what comes before the text, each piece of text (all of it at once where
/// it is not paced), and what comes after.
fn pieces(answer: &[u8], at_once: bool) -> Vec<Bytes> {
    const DELTA: &[u8] = b"event: turn.delta\n";
    let mut deltas: Vec<usize> = memmem::find_iter(answer, DELTA).collect();
    let end = deltas.last().and_then(|last| Some(last + memmem::find(&answer[*last..], b"\n\n")? + 2));
    if at_once {
        deltas.truncate(1);
    }
    let cuts: Vec<usize> = [0].into_iter().chain(deltas).chain(end).chain([answer.len()]).collect();
    cuts.windows(2).map(|cut| Bytes::copy_from_slice(&answer[cut[0]..cut[1]])).collect()
}

fn stream(recorded: Arc<Recorded>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let due = Instant::now() + recorded.first_token;
    stream::unfold((recorded, 0, due), |(recorded, number, due)| async move {
        let piece = recorded.pieces.get(number)?.clone();
        let is_text = number > 0 && number + 1 < recorded.pieces.len();
        if is_text && due > Instant::now() {
            sleep_until(due).await;
        } else if number > 0 {
            // What was given out before is written before this is.
            tokio::task::yield_now().await;
        }
        let due = if is_text { due + recorded.between_tokens } else { due };
        Some((Ok(piece), (recorded, number + 1, due)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_answer_is_cut_into_the_writes_that_made_it() {
        let answer =
            b":\n\nevent: a\ndata: x\n\nevent: turn.delta\ndata: 1\n\nevent: turn.delta\ndata: 2\n\n\
                       event: b\ndata: y\n\n";
        let paced = pieces(answer, false);
        assert_eq!(paced.concat(), answer);
        assert_eq!(paced.len(), 4);
        assert!(paced[3].starts_with(b"event: b"));
        let at_once = pieces(answer, true);
        assert_eq!(at_once.concat(), answer);
        assert_eq!(at_once.len(), 3);
    }
}
