//! `knowledge search`: what the server would answer from.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{explain, place::Where};
use crate::cli::Outcome;

#[derive(Debug, Args)]
pub(super) struct Search {
    /// What a customer might ask
    question: String,
    #[command(flatten)]
    place: Where,
    /// How many articles at most
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// Print JSON, as the API gives it
    #[arg(long)]
    json: bool,
    /// Show how each score came about; of a store of this machine
    #[arg(long, conflicts_with = "url")]
    explain: bool,
}

impl Search {
    pub(super) async fn run(self) -> Outcome {
        let place = self.place.open().await?;
        if self.explain {
            let explained = place.explain(self.question, self.limit).await;
            place.close().await;
            let explained = explained?;
            match self.json {
                true => println!("{}", serde_json::to_string(&explained)?),
                false => explain::print(&explained),
            }
            return Ok(ExitCode::SUCCESS);
        }
        let found = place.search(self.question, self.limit).await;
        place.close().await;
        let found = found?;
        if self.json {
            println!("{found}");
        } else {
            print(&found);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(found: &Value) {
    let hits = found["data"].as_array().map_or(&[][..], Vec::as_slice);
    if hits.is_empty() {
        println!("nothing is about that");
    }
    for hit in hits {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let article = &hit["article"];
        let name = [&article["title"], &article["external_id"], &article["id"]].map(text);
        let name = name.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        println!("{:>3.0} %  {name}", hit["confidence"].as_f64().unwrap_or_default() * 100.0);
        for line in text(&hit["passage"]["text"]).lines() {
            println!("       {line}");
        }
        println!();
    }
}
