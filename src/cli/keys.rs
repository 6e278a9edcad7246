//! `openclaw-server keys`: an organization's keys, without a running server or beside one.

use std::{num::NonZeroU32, process::ExitCode, str::FromStr, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use openclaw_actors::{
    clock::Timestamp,
    ids::{KeyId, OrgId},
    keys::{Granter, IssuedKey, Key, KeyError, KeyKind, NewKey, RateLimit, ScopeSet},
};
use serde_json::json;

use super::{Outcome, offline::Offline, settings::Settings};
use crate::http::keys::{IssuedKeyView, KeyView, origins, scopes};

/// Rows read at once.
const PAGE: i64 = 100;

/// Make, rotate, revoke and list keys
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key, and show its secret once
    Create(Create),
    /// Give a key a new secret, and show it once
    Rotate(Rotate),
    /// End a key; a primary or secondary one can be rotated again later
    Revoke(Revoke),
    /// List an organization's keys, oldest first
    List(List),
}

#[derive(Debug, Args)]
struct Create {
    /// The organization it is for
    #[arg(long, value_name = "ORG")]
    org: OrgId,
    /// What it may do, with commas between: conversations:read,conversations:write
    #[arg(long, value_delimiter = ',', value_name = "SCOPES")]
    scopes: Vec<String>,
    /// What people call it
    #[arg(long, default_value = "")]
    name: String,
    /// Restricted for servers, publishable for browsers
    #[arg(long, value_enum, default_value = "restricted")]
    kind: Kind,
    /// Where browsers may use a publishable key from, with commas between: https://shop.example.com
    #[arg(long, value_delimiter = ',', value_name = "ORIGINS")]
    origins: Vec<String>,
    /// Requests in any minute: a number, or unlimited [default: what the server is configured to give]
    #[arg(long, value_name = "N|unlimited")]
    rate_limit: Option<Limit>,
    #[command(flatten)]
    settings: Settings,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Rotate {
    /// Which key
    id: KeyId,
    /// How long the old secret goes on working, up to a week
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=604_800))]
    grace_seconds: u64,
    #[command(flatten)]
    settings: Settings,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Revoke {
    /// Which key
    id: KeyId,
    #[command(flatten)]
    settings: Settings,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct List {
    /// Whose keys
    #[arg(long, value_name = "ORG")]
    org: OrgId,
    #[command(flatten)]
    settings: Settings,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Restricted,
    Publishable,
}

#[derive(Debug, Clone, Copy)]
struct Limit(RateLimit);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = || text.parse::<NonZeroU32>().map(RateLimit::PerMinute);
        match text {
            "unlimited" => Ok(Self(RateLimit::Unlimited)),
            _ => number().map(Self).map_err(|_| "it must be a number from 1, or unlimited".to_owned()),
        }
    }
}

impl Keys {
    pub(super) fn run(self) -> Outcome {
        actix::System::new().block_on(async {
            match self.command {
                KeysCommand::Create(create) => create.run().await,
                KeysCommand::Rotate(rotate) => rotate.run().await,
                KeysCommand::Revoke(revoke) => revoke.run().await,
                KeysCommand::List(list) => list.run().await,
            }
        })
    }
}

impl Create {
    async fn run(self) -> Outcome {
        let new = NewKey {
            kind: match self.kind {
                Kind::Restricted => KeyKind::Restricted,
                Kind::Publishable => KeyKind::Publishable,
            },
            name: self.name,
            scopes: scopes(self.scopes)?,
            allowed_origins: origins(self.origins)?,
            rate_limit: self.rate_limit.map_or(RateLimit::Default, |limit| limit.0),
            expires_at: None,
        };
        let offline = Offline::open(self.settings).await?;
        let ring = offline.keys().await?;
        let issued = match ring.create(Granter::Operator, self.org, new, |_| None).await {
            Err(KeyError::NotFound) => return Err(format!("there is no organization {}", self.org).into()),
            issued => issued?,
        };
        print_issued(&issued, &offline, self.json)?;
        offline.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

impl Rotate {
    async fn run(self) -> Outcome {
        let offline = Offline::open(self.settings).await?;
        let ring = offline.keys().await?;
        let org = ring.owner(self.id).await?.ok_or(KeyError::NotFound)?;
        let grace = Duration::from_secs(self.grace_seconds);
        let issued = ring.rotate(Granter::Operator, org, self.id, grace, None).await?;
        print_issued(&issued, &offline, self.json)?;
        offline.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

impl Revoke {
    async fn run(self) -> Outcome {
        let offline = Offline::open(self.settings).await?;
        let ring = offline.keys().await?;
        let org = ring.owner(self.id).await?.ok_or(KeyError::NotFound)?;
        ring.revoke(Granter::Operator, org, self.id).await?;
        if self.json {
            println!("{}", json!({ "id": self.id, "revoked": true }));
        } else {
            println!("{} is revoked; a running server refuses it within two seconds", self.id);
        }
        offline.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self) -> Outcome {
        let offline = Offline::open(self.settings).await?;
        let ring = offline.keys().await?;
        let mut keys: Vec<Key> = Vec::new();
        loop {
            let page = ring.oldest(self.org, keys.last().map(|key| key.id), PAGE).await?;
            if page.is_empty() {
                break;
            }
            keys.extend(page);
        }
        if self.json {
            let views: Vec<_> = keys.iter().map(|key| view(key, &offline)).collect();
            println!("{}", json!({ "data": views }));
        } else {
            keys.iter().for_each(print_line);
        }
        offline.close().await;
        Ok(ExitCode::SUCCESS)
    }
}

fn view(key: &Key, offline: &Offline) -> KeyView {
    KeyView::of(key, offline.config.limits.requests_per_minute, Timestamp::now())
}

fn print_issued(issued: &IssuedKey, offline: &Offline, json: bool) -> Result<(), serde_json::Error> {
    let secret = issued.secret.expose();
    if json {
        let body = IssuedKeyView { key: view(&issued.key, offline), secret: Some(secret) };
        println!("{}", serde_json::to_string(&body)?);
    } else {
        println!("key     {} ({})", issued.key.id, issued.key.kind.as_str());
        println!("secret  {secret}");
        println!("Keep the secret now: it is not shown again.");
    }
    Ok(())
}

fn print_line(key: &Key) {
    let masked = key.current().map_or("(revoked)", |secret| &secret.masked);
    let used = key.last_used_at.map_or_else(|| "never used".to_owned(), |at| format!("last used {at}"));
    let may = if key.scopes == ScopeSet::all() { "full access".to_owned() } else { key.scopes.to_string() };
    println!("{}  {:<11}  {masked}  {used}  {}  {may}", key.id, key.kind.as_str(), key.name);
}
