//! `openclaw-server org`: organizations, without a running server or beside one.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use openclaw_actors::{
    ids::OrgId,
    organization::{Organization, OrganizationPatch},
    patch::Change,
};
use serde_json::json;

use super::{Outcome, offline::Offline, settings::Settings};
use crate::http::organizations::NewOrganizationView;

/// Rows read at once.
const PAGE: i64 = 100;

/// Make and list organizations
#[derive(Debug, Args)]
pub(super) struct Org {
    #[command(subcommand)]
    command: OrgCommand,
}

#[derive(Debug, Subcommand)]
enum OrgCommand {
    /// Make an organization, and show its two keys once
    Create {
        /// What people call it
        name: String,
        #[command(flatten)]
        settings: Settings,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List all organizations, oldest first
    List {
        #[command(flatten)]
        settings: Settings,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Org {
    pub(super) fn run(self) -> Outcome {
        actix::System::new().block_on(async {
            match self.command {
                OrgCommand::Create { name, settings, json } => create(name, settings, json).await,
                OrgCommand::List { settings, json } => list(settings, json).await,
            }
        })
    }
}

async fn create(name: String, settings: Settings, json: bool) -> Outcome {
    let offline = Offline::open(settings).await?;
    let patch = OrganizationPatch { name: Change::Set(name), ..OrganizationPatch::default() };
    let made = offline.keys().await?.create_organization(patch, |_| None).await?;
    if json {
        println!("{}", serde_json::to_string(&NewOrganizationView::of(&made))?);
    } else {
        println!("organization   {} ({})", made.organization.name, made.organization.id);
        println!("primary key    {}", made.primary.secret.expose());
        println!("secondary key  {}", made.secondary.secret.expose());
        println!("Keep the keys now: they are not shown again.");
    }
    offline.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn list(settings: Settings, json: bool) -> Outcome {
    let offline = Offline::open(settings).await?;
    let organizations = offline.organizations();
    let mut all: Vec<Organization> = Vec::new();
    loop {
        let after: Option<OrgId> = all.last().map(|organization| organization.id);
        let page = organizations.oldest(after, PAGE).await?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    if json {
        println!("{}", json!({ "data": all }));
    } else {
        for organization in all {
            println!("{}  {}  {}", organization.id, organization.created_at, organization.name);
        }
    }
    offline.close().await;
    Ok(ExitCode::SUCCESS)
}
