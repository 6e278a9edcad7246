//! A server that is killed under load, and what must be there afterwards.

use std::{
    cell::Cell,
    collections::HashSet,
    rc::Rc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use tokio::time::sleep;

use super::{
    answer::Fault,
    client::{Client, Target},
    load::Amount,
    scenario::Ledger,
    stage::{Failed, PrivateServer},
    tally::Failure,
};

/// How often it is killed in a run.
const KILLS: u32 = 4;

/// How often it is looked whether the next kill is due.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Rows of a page: as many as the server gives.
const PAGE: usize = 100;

/// Kills the server and starts it again, spread over the amount that is measured. Says how long each took to be
/// ready again.
pub(super) async fn kill_now_and_then(
    server: &mut PrivateServer,
    amount: Amount,
    done: &Cell<u64>,
    is_over: &Cell<bool>,
) -> Result<Vec<Duration>, Failed> {
    let (begun, already) = (Instant::now(), done.get());
    let mut returns = Vec::new();
    for kill in 1..=KILLS {
        let is_due = || match amount {
            Amount::Time(time) => begun.elapsed() >= time * kill / (KILLS + 1),
            Amount::Requests(requests) => {
                done.get() - already >= requests * u64::from(kill) / u64::from(KILLS + 1)
            }
        };
        while !is_due() && !is_over.get() {
            sleep(LOOK_EVERY).await;
        }
        if is_over.get() {
            break;
        }
        let since = Instant::now();
        server.crash().await?;
        returns.push(since.elapsed());
    }
    Ok(returns)
}

#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
}

/// Every conversation that was read to its end must have its message and exactly that answer, and there may be no
/// others than those that were begun: a request sent again under its name is the same request.
pub(super) async fn what_was_lost(
    target: &Rc<Target>,
    ledger: &Ledger,
    begun: usize,
) -> Result<Vec<Failure>, Failed> {
    let mut client = Client::new(target);
    let mut lost = Vec::new();
    for (conversation, text) in ledger {
        let path = format!("/v1/conversations/{conversation}/messages");
        let messages: Page<Message> = read(&mut client, &path).await?;
        let answers: Vec<_> = messages.data.iter().filter(|message| message.role == "assistant").collect();
        match answers.as_slice() {
            [answer] if answer.content == *text => {}
            [_] => lost.push(Fault::StoredText.into()),
            others => lost.push(Fault::Answers(others.len()).into()),
        }
    }
    let stored = conversations(&mut client).await?;
    let known = ledger.iter().filter(|(conversation, _)| stored.contains(conversation)).count();
    if stored.len() > begun || known < ledger.len() {
        lost.push(Fault::Conversations { expected: begun, got: stored.len() }.into());
    }
    Ok(lost)
}

async fn conversations(client: &mut Client) -> Result<HashSet<String>, Failed> {
    let mut all = HashSet::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/conversations?limit={PAGE}{cursor}");
        let page: Page<Named> = read(client, &path).await?;
        all.extend(page.data.into_iter().map(|conversation| conversation.id));
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(all),
        }
    }
}

async fn read<T: for<'de> Deserialize<'de>>(client: &mut Client, path: &str) -> Result<T, Failed> {
    let request = client.target().get(path, "");
    let body = client.call(&request).await.map_err(|failure| format!("after the restarts: {failure}"))?;
    Ok(serde_json::from_slice(&body)?)
}
