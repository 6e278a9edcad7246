//! The store: does it answer, is it of this version, can it be written, is it whole?

use openclaw_actors::store::{Step, StepState, Store, StoreError};

use super::finding::Finding;
use crate::{cli::on_one_line, config::StoreConfig};

const STORE: &str = "store";
const SCHEMA: &str = "schema";
const WRITING: &str = "store writable";
const INTEGRITY: &str = "store integrity";

pub(super) async fn examine(config: &StoreConfig) -> Vec<Finding> {
    let opened = match &config.database_url {
        Some(url) => Store::connect_postgres_as_it_is(url.expose()).await,
        None if !Store::sqlite_file(&config.data).exists() => {
            let finding = Finding::warn(STORE, "there is no database yet");
            return vec![
                finding.advise("the first start makes it; if there was one, see --data and --database-url"),
            ];
        }
        None => Store::open_sqlite_as_it_is(&config.data).await,
    };
    let is_embedded = config.database_url.is_none();
    let store = match opened {
        Ok(store) => store,
        Err(error) => return vec![away(&error, is_embedded)],
    };
    let mut findings = look_into(&store, is_embedded).await;
    if is_embedded {
        findings.push(integrity(&store).await);
    }
    store.close().await;
    findings
}

async fn look_into(store: &Store, is_embedded: bool) -> Vec<Finding> {
    if let Err(error) = store.ping().await {
        return vec![away(&error, is_embedded)];
    }
    let name = if is_embedded { "the embedded database answers" } else { "PostgreSQL answers" };
    vec![Finding::ok(STORE, name), schema(store.steps().await), writing(store.check_writable().await)]
}

fn away(error: &StoreError, is_embedded: bool) -> Finding {
    let advice = match is_embedded {
        true => {
            "see that the server's user may read and write the database; if it is damaged, start on a backup"
        }
        false => "see that PostgreSQL runs, that store.database_url is right, and that its user may connect",
    };
    Finding::fail(STORE, on_one_line(error)).advise(advice)
}

fn schema(steps: Result<Vec<Step>, StoreError>) -> Finding {
    let steps = match steps {
        Ok(steps) => steps,
        Err(error) => return Finding::fail(SCHEMA, on_one_line(&error)),
    };
    let count = |state| steps.iter().filter(|step| step.state == state).count();
    if count(StepState::Unknown) + count(StepState::Changed) > 0 {
        return Finding::fail(SCHEMA, "belongs to another version of this program")
            .advise("run the version that was here last, or start on a backup made by this one");
    }
    match count(StepState::Pending) {
        0 => Finding::ok(SCHEMA, "is the one that this version needs"),
        pending => Finding::warn(SCHEMA, format!("{pending} of {} migrations are pending", steps.len()))
            .advise("the next start applies them; to do it now: openclaw-server migrate"),
    }
}

fn writing(checked: Result<(), StoreError>) -> Finding {
    match checked {
        Ok(()) => Finding::ok(WRITING, "the store can be written"),
        Err(error) => Finding::fail(WRITING, on_one_line(&error))
            .advise("see that it is not read-only or a replica, and that no other process holds it for long"),
    }
}

async fn integrity(store: &Store) -> Finding {
    let advice = "stop the server, keep the damaged directory aside, and start on a backup";
    match store.damage().await {
        Ok(damage) if damage.is_empty() => Finding::ok(INTEGRITY, "every page of the database is sound"),
        Ok(damage) => Finding::fail(INTEGRITY, damage.join("; ")).advise(advice),
        Err(error) => Finding::fail(INTEGRITY, on_one_line(&error)).advise(advice),
    }
}
