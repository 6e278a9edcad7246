//! The baseline of webhooks: a loop of awc that signs and posts the same bytes, without a store, a queue or an actor.
//!
//! What a delivery costs beyond this is what keeping it safe costs.

use std::{cell::Cell, fs, net::SocketAddr, path::PathBuf, process::ExitCode, rc::Rc, time::Instant};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use clap::Args;
use hmac::{Hmac, KeyInit, Mac};
use openclaw_actors::ids::EventId;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::task::JoinSet;

use crate::cli::{Outcome, bench::process::Cpu};

/// Requests under way at each receiver: as many as the server has at an endpoint that answers at once.
const UNDER_WAY: usize = 8;

/// Sign and post a body to receivers, as fast as they take it
#[derive(Debug, Args)]
pub(in crate::cli) struct BareHooks {
    /// The body
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// How many in all
    #[arg(long, value_name = "N")]
    count: u64,
    /// The receivers
    #[arg(long, value_name = "ADDRESS", num_args = 1..)]
    to: Vec<SocketAddr>,
}

/// What was done, and what it cost.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::cli::bench) struct Posted {
    pub(in crate::cli::bench) deliveries: u64,
    pub(in crate::cli::bench) seconds: f64,
    pub(in crate::cli::bench) cpu_seconds: f64,
}

impl BareHooks {
    pub(in crate::cli) fn run(self) -> Outcome {
        let body = Bytes::from(fs::read(&self.body)?);
        let posted = actix::System::new().block_on(post_all(&body, self.count, &self.to))?;
        println!("{}", serde_json::to_string(&posted)?);
        Ok(ExitCode::SUCCESS)
    }
}

/// Whatever the key, signing takes as long.
const KEY: [u8; 24] = [7; 24];

async fn post_all(body: &Bytes, count: u64, to: &[SocketAddr]) -> Result<Posted, String> {
    let connector = awc::Connector::new().limit(0);
    let client = awc::Client::builder().connector(connector).no_default_headers().finish();
    let left = Rc::new(Cell::new(count));
    let (since, before) = (Instant::now(), Cpu::of(std::process::id()));
    let mut crowd = JoinSet::new();
    for address in to.iter().flat_map(|address| [*address; UNDER_WAY]) {
        let (client, left, body) = (client.clone(), Rc::clone(&left), body.clone());
        crowd.spawn_local(async move {
            while let Some(rest) = left.get().checked_sub(1) {
                left.set(rest);
                post(&client, address, &body).await?;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(ended) = crowd.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    let cpu_seconds = Cpu::of(std::process::id()).since(&before).total;
    Ok(Posted { deliveries: count, seconds: since.elapsed().as_secs_f64(), cpu_seconds })
}

async fn post(client: &awc::Client, address: SocketAddr, body: &Bytes) -> Result<(), String> {
    let (id, at) = (EventId::generate().to_string(), jiff::Timestamp::now().as_second().to_string());
    let mut mac = Hmac::<Sha256>::new_from_slice(&KEY).map_err(|error| error.to_string())?;
    [id.as_bytes(), b".", at.as_bytes(), b".", body].iter().for_each(|part| mac.update(part));
    let signature = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    let request = client
        .post(format!("http://{address}/"))
        .insert_header(("content-type", "application/json"))
        .insert_header(("webhook-id", id))
        .insert_header(("webhook-timestamp", at))
        .insert_header(("webhook-signature", signature));
    let answered = request.send_body(body.clone()).await.map_err(|error| error.to_string())?;
    if answered.status().is_success() { Ok(()) } else { Err(answered.status().to_string()) }
}
