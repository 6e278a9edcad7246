//! The limiter as its callers see it: through the map, the actors and the store.

use actix::Arbiter;
use futures_util::future::join_all;

use super::*;
use crate::testing::test_store;

const QUOTA: NonZeroU32 = NonZeroU32::new(100).unwrap();

async fn limiter(store: &Store) -> RateLimiter {
    RateLimiter::restore(store, "node", |_| Arbiter::current()).await.unwrap()
}

fn requests_of(key: KeyId) -> BucketId {
    BucketId { bucket: Bucket::Requests, key }
}

async fn is_admitted(limiter: &RateLimiter, id: BucketId) -> bool {
    limiter.take(id, QUOTA, Instant::now()).await.unwrap().admitted.is_some()
}

/// How many of 64 bursts of 16 requests at once, 20 ms apart, are admitted.
async fn hammer(limiter: &RateLimiter, id: BucketId) -> Vec<Instant> {
    let mut admitted = Vec::new();
    for _ in 0..64 {
        let burst = join_all((0..16).map(|_| is_admitted(limiter, id))).await;
        let now = Instant::now();
        admitted.extend(burst.into_iter().filter(|&admitted| admitted).map(|_| now));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    admitted
}

#[actix::test]
async fn an_adversary_gets_a_hundred_in_a_minute_and_no_more_over_an_hour() {
    let store = test_store().await;
    let limiter = limiter(&store).await;
    tokio::time::pause();
    let id = requests_of(KeyId::generate());
    let mut admitted = Vec::new();
    // Bursts that drift across the windows' edges, also past the moment at which an idle bucket ends.
    for round in 0..60u64 {
        admitted.extend(hammer(&limiter, id).await);
        tokio::time::sleep(Duration::from_millis(57_000 + round * 100)).await;
    }
    let in_minute_from =
        |place: usize| admitted[place..].iter().take_while(|&&at| at < admitted[place] + WINDOW).count();
    let worst = (0..admitted.len()).map(in_minute_from).max().unwrap();
    assert_eq!(worst, 100);
    assert!(admitted.len() > 5_000, "{}", admitted.len());
}

#[actix::test]
async fn one_per_600_ms_is_never_refused_and_a_neighbour_does_not_matter() {
    let store = test_store().await;
    let limiter = limiter(&store).await;
    tokio::time::pause();
    let (calm, wild) = (requests_of(KeyId::generate()), requests_of(KeyId::generate()));
    let mut refused = 0;
    for turn in 0..1_000 {
        assert!(is_admitted(&limiter, calm).await, "{turn}");
        for _ in 0..2 {
            refused += u32::from(!is_admitted(&limiter, wild).await);
        }
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    assert!(refused > 900, "{refused}");
}

#[actix::test]
async fn openings_of_streams_use_up_no_requests() {
    let store = test_store().await;
    let limiter = limiter(&store).await;
    let key = KeyId::generate();
    let openings = BucketId { bucket: Bucket::StreamOpenings, key };
    for _ in 0..100 {
        assert!(is_admitted(&limiter, openings).await);
    }
    assert!(!is_admitted(&limiter, openings).await);
    assert!(is_admitted(&limiter, requests_of(key)).await);
}

#[actix::test]
async fn what_does_not_count_is_given_back() {
    let store = test_store().await;
    let limiter = limiter(&store).await;
    let id = requests_of(KeyId::generate());
    for _ in 0..1_000 {
        let decision = limiter.take(id, QUOTA, Instant::now()).await.unwrap();
        limiter.give_back(id, decision.admitted.unwrap()).await;
    }
}

#[actix::test]
async fn an_idle_bucket_ends_and_a_used_one_does_not() {
    let store = test_store().await;
    let limiter = limiter(&store).await;
    tokio::time::pause();
    let (idle, used) = (requests_of(KeyId::generate()), requests_of(KeyId::generate()));
    assert!(is_admitted(&limiter, idle).await);
    for _ in 0..7 {
        assert!(is_admitted(&limiter, used).await);
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert!(!limiter.shared.live.contains_key(&idle));
    let decision = limiter.take(used, QUOTA, Instant::now()).await.unwrap();
    assert_eq!(decision.remaining, 94, "the first two have left, five are left, and this one");
    tokio::time::sleep(Duration::from_secs(121)).await;
    assert!(limiter.shared.live.is_empty());
}

#[actix::test]
async fn a_panic_costs_a_log_and_nothing_else() {
    let store = test_store().await;
    let limiter = limiter(&store).await;
    let id = requests_of(KeyId::generate());
    for turn in 0..101 {
        assert_eq!(is_admitted(&limiter, id).await, turn < 100);
    }
    let bucket = limiter.shared.live.get(&id).unwrap().addr.clone();
    assert!(bucket.send(actor::Panic).await.is_err());
    assert!(is_admitted(&limiter, id).await);
    assert_eq!(limiter.shared.live.len(), 1);
}

#[actix::test]
async fn a_clean_stop_keeps_the_logs_and_a_second_one_too() {
    let store = test_store().await;
    let writer = Writer::start(&store, "node").await.unwrap();
    let (spent, other) = (requests_of(KeyId::generate()), requests_of(KeyId::generate()));
    let first = limiter(&store).await;
    for _ in 0..100 {
        assert!(is_admitted(&first, spent).await);
    }
    first.save(&writer).await.unwrap();
    // The second process is never asked about the spent key, and keeps its log all the same.
    let second = limiter(&store).await;
    assert!(is_admitted(&second, other).await);
    second.save(&writer).await.unwrap();
    let third = limiter(&store).await;
    let refused = third.take(spent, QUOTA, Instant::now()).await.unwrap();
    assert_eq!(refused.admitted, None);
    assert!(refused.reset_after <= WINDOW);
    assert_eq!(third.take(other, QUOTA, Instant::now()).await.unwrap().remaining, 98);
    let elsewhere = RateLimiter::restore(&store, "elsewhere", |_| Arbiter::current()).await.unwrap();
    assert!(is_admitted(&elsewhere, spent).await);
}

#[actix::test]
async fn a_key_whose_home_is_gone_finds_another() {
    let store = test_store().await;
    let arbiter = Arbiter::new();
    let home = arbiter.handle();
    let limiter = RateLimiter::restore(&store, "node", move |_| home.clone()).await.unwrap();
    let id = requests_of(KeyId::generate());
    assert!(is_admitted(&limiter, id).await);
    arbiter.stop();
    arbiter.join().unwrap();
    for _ in 0..100 {
        assert!(is_admitted(&limiter, id).await);
    }
    assert!(!is_admitted(&limiter, id).await);
    assert!(is_admitted(&limiter, requests_of(KeyId::generate())).await);
}
