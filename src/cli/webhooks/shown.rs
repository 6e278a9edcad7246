//! What is shown of each event: a line for people, or an object for programs.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use actix_web::http::StatusCode;
use openclaw_actors::clock::Timestamp;
use serde_json::{Value, json};

/// Standard output, and how it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    json: bool,
    colors: bool,
}

/// Something that came.
pub(super) struct Received<'a> {
    /// `webhook-id`
    pub(super) id: &'a str,
    /// Its JSON; null if it is none.
    pub(super) event: &'a Value,
    pub(super) verified: bool,
    /// How often it came, this time included; 0 where it is not known whose it is.
    pub(super) times: u32,
    /// What was answered.
    pub(super) status: StatusCode,
    pub(super) problem: Option<String>,
    pub(super) at: Timestamp,
    /// From its last byte to the answer.
    pub(super) took: Duration,
}

const GREEN: &str = "32";
const RED: &str = "31";
const FAINT: &str = "2";

impl Screen {
    pub(super) fn new(json: bool) -> Self {
        Self { json, colors: !json && io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    /// Something about the receiver, not of an event.
    pub(super) fn note(&self, note: &str) -> io::Result<()> {
        writeln!(io::stderr(), "{note}")
    }

    pub(super) fn received(&self, received: &Received<'_>) -> io::Result<()> {
        let line = if self.json { object(received).to_string() } else { self.line(received) };
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }

    fn line(&self, received: &Received<'_>) -> String {
        let sign = if received.verified { self.painted("✓", GREEN) } else { self.painted("✗", RED) };
        let said = |name: &str| received.event[name].as_str().map(harmless);
        let kind =
            if received.verified { said("type") } else { None }.unwrap_or_else(|| "not verified".to_owned());
        let mut about = vec![harmless(received.id)];
        if received.verified {
            let conversation = said("conversation_id").into_iter();
            about.extend(conversation.map(|id| match received.event["sequence"].as_i64() {
                Some(sequence) => format!("{id} #{sequence}"),
                None => id,
            }));
            about.extend(lag(received).map(|lag| format!("{lag} ms after it happened")));
            about.extend((received.times > 1).then(|| format!("for the {}. time", received.times)));
        }
        about.extend(received.problem.iter().map(|problem| harmless(problem)));
        let answer = format!("→ {} in {} ms", received.status.as_u16(), received.took.as_millis());
        let answer = if received.status.is_success() { answer } else { self.painted(&answer, RED) };
        format!("{sign} {kind:<24} {} {answer}", self.painted(&about.join(", "), FAINT))
    }

    fn painted(&self, text: &str, color: &str) -> String {
        if self.colors { format!("\x1b[{color}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// From when it happened, by the sender's clock, to when it came here.
fn lag(received: &Received<'_>) -> Option<i64> {
    let happened: Timestamp = serde_json::from_value(received.event["timestamp"].clone()).ok()?;
    Some(received.at.0 - happened.0)
}

fn object(received: &Received<'_>) -> Value {
    // What nobody vouches for is not passed on as an event.
    let event = if received.verified { received.event } else { &Value::Null };
    json!({
        "webhook_id": received.id,
        "verified": received.verified,
        "times": received.times,
        "received_at": received.at,
        "lag_ms": if received.verified { lag(received) } else { None },
        "status": received.status.as_u16(),
        "took_ms": received.took.as_millis() as u64,
        "problem": received.problem,
        "event": event,
    })
}

/// Without what a terminal would obey.
fn harmless(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}
