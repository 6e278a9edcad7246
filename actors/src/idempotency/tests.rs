use futures_util::future::{join, join_all};

use super::*;
use crate::testing::{TestStore, test_store};

async fn scene() -> (TestStore, Idempotency, Writer) {
    let store = test_store().await;
    let writer = Writer::start(&store, "test").await.unwrap();
    let idempotency = Idempotency::new(store.clone(), writer.clone());
    (store, idempotency, writer)
}

fn asked(fingerprint: &str) -> Asked {
    Asked { scope: "key_1".into(), key: "k".into(), fingerprint: fingerprint.into() }
}

fn effect() -> Effect {
    Effect::Key { key: KeyId::generate() }
}

async fn act(ticket: Ticket, writer: &Writer, effect: &Effect) {
    let mut op = Op::default();
    op.rows.push(ticket.stamp().row(effect));
    writer.commit(op).await.unwrap();
    ticket.done(effect.clone());
}

#[actix::test]
async fn of_many_at_once_one_acts_and_all_get_its_effect() {
    let (_store, idempotency, writer) = scene().await;
    let effect = effect();
    let effects = join_all((0..MOST_WAITING).map(|_| async {
        match idempotency.begin(asked("a")).await.unwrap() {
            Begun::First(ticket) => {
                act(ticket, &writer, &effect).await;
                None
            }
            Begun::Repeat(repeated) => Some(repeated),
        }
    }))
    .await;
    assert_eq!(effects.iter().filter(|effect| effect.is_none()).count(), 1);
    assert!(effects.iter().flatten().all(|repeated| *repeated == effect));
    assert!(idempotency.0.running.is_empty());
}

#[actix::test]
async fn an_effect_is_known_after_a_restart() {
    let (store, idempotency, writer) = scene().await;
    let effect = effect();
    let Begun::First(ticket) = idempotency.begin(asked("a")).await.unwrap() else { panic!("a repeat") };
    act(ticket, &writer, &effect).await;

    let successor = Idempotency::new(store.clone(), writer.clone());
    assert!(matches!(successor.begin(asked("a")).await, Ok(Begun::Repeat(known)) if known == effect));
    assert!(matches!(successor.begin(asked("b")).await, Err(BeginError::Reused)));
    let elsewhere = Asked { scope: "key_2".into(), ..asked("b") };
    assert!(matches!(successor.begin(elsewhere).await, Ok(Begun::First(_))));
}

#[actix::test]
async fn a_refused_first_leaves_the_name_to_one_that_waits() {
    let (_store, idempotency, _) = scene().await;
    let Begun::First(first) = idempotency.begin(asked("a")).await.unwrap() else { panic!("a repeat") };
    assert!(matches!(idempotency.begin(asked("b")).await, Err(BeginError::Reused)));
    let refuse = async { drop(first) };
    let (second, ()) = join(idempotency.begin(asked("a")), refuse).await;
    assert!(matches!(second, Ok(Begun::First(_))));
    drop(second);
    assert!(matches!(idempotency.begin(asked("b")).await, Ok(Begun::First(_))));
}

#[actix::test]
async fn after_a_day_a_name_is_free() {
    let (_store, idempotency, writer) = scene().await;
    let store_as_of = async |age_ms: i64| {
        let mut op = Op::default();
        sql::forget(&mut op, &asked("a"));
        let at = Timestamp::now().plus_ms(-age_ms);
        op.rows.push(sql::row(&asked("a"), &effect(), at, sql::Twice::Conflict));
        writer.commit(op).await.unwrap();
    };
    store_as_of(KEPT_MS - 60_000).await;
    assert!(matches!(idempotency.begin(asked("b")).await, Err(BeginError::Reused)));

    store_as_of(KEPT_MS + 1).await;
    let Ok(Begun::First(ticket)) = idempotency.begin(asked("b")).await else { panic!("still known") };
    act(ticket, &writer, &effect()).await;

    store_as_of(KEPT_MS + 1).await;
    idempotency.sweep().await.unwrap();
    let Begun::First(ticket) = idempotency.begin(asked("a")).await.unwrap() else { panic!("still known") };
    assert_eq!(ticket.was_done_after_all().await, None);
}

#[actix::test]
async fn only_so_many_wait_for_the_first() {
    let (_store, idempotency, _) = scene().await;
    let Begun::First(first) = idempotency.begin(asked("a")).await.unwrap() else { panic!("a repeat") };
    let waiting: Vec<_> = (0..MOST_WAITING)
        .map(|_| {
            let idempotency = idempotency.clone();
            actix::spawn(async move { idempotency.begin(asked("a")).await })
        })
        .collect();
    let are_waiting = || {
        let all = &idempotency.0.running;
        all.iter().map(|running| running.waiting.load(Ordering::Relaxed)).sum::<usize>()
    };
    while are_waiting() < MOST_WAITING {
        tokio::task::yield_now().await;
    }
    assert!(matches!(idempotency.begin(asked("a")).await, Err(BeginError::TooManyWaiting)));
    let effect = effect();
    first.done(effect.clone());
    for waits in waiting {
        assert!(matches!(waits.await.unwrap(), Ok(Begun::Repeat(known)) if known == effect));
    }
}
