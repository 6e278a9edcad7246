//! Keys in a real store, as a server and an offline command beside it use them.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::Instant;

use super::*;
use crate::{
    ids::{KeyId, OrgId},
    organization::{OrganizationError, OrganizationPatch, Organizations},
    patch::Change,
    testing::{TestPlace, TestStore, test_store},
    writer::{Op, WriteError, Writer},
};

const QUOTA: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// How long something that must happen by itself may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// One process with its ring, and an organization.
struct Scene {
    store: TestStore,
    ring: KeyRing,
    made: NewOrganization,
}

async fn ring_on(store: &crate::store::Store, place: &TestPlace, node: &str) -> KeyRing {
    let writer = Writer::start(store, node).await.unwrap();
    KeyRing::open(store, &writer, Pepper::open(place.directory()).unwrap(), QUOTA).await.unwrap()
}

fn named(name: &str) -> OrganizationPatch {
    OrganizationPatch { name: Change::Set(name.to_owned()), ..OrganizationPatch::default() }
}

fn restricted(scopes: &[Scope]) -> NewKey {
    NewKey {
        kind: KeyKind::Restricted,
        name: "a key".to_owned(),
        scopes: scopes.iter().copied().collect(),
        allowed_origins: Vec::new(),
        rate_limit: RateLimit::Default,
        expires_at: None,
    }
}

impl Scene {
    async fn new() -> Self {
        let store = test_store().await;
        let ring = ring_on(&store, store.place(), "server").await;
        let made = ring.create_organization(named("Acme"), |_| None).await.unwrap();
        Self { store, ring, made }
    }

    /// Another process on the same data.
    async fn beside(&self) -> KeyRing {
        ring_on(&self.store, self.store.place(), "command").await
    }

    fn org(&self) -> OrgId {
        self.made.organization.id
    }

    async fn principal(&self, issued: &IssuedKey) -> Principal {
        self.ring.authenticate(issued.secret.expose()).await.unwrap()
    }

    async fn is_let_in(&self, issued: &IssuedKey) -> bool {
        match self.ring.authenticate(issued.secret.expose()).await {
            Ok(_) => true,
            Err(AuthError::Refused) => false,
            Err(AuthError::Store(error)) => panic!("{error}"),
        }
    }
}

#[actix::test]
async fn an_organization_begins_with_two_keys_of_full_access() {
    let scene = Scene::new().await;
    for (issued, kind) in
        [(&scene.made.primary, KeyKind::Primary), (&scene.made.secondary, KeyKind::Secondary)]
    {
        let principal = scene.principal(issued).await;
        assert_eq!((principal.org, principal.key, principal.kind), (scene.org(), issued.key.id, kind));
        assert_eq!((principal.scopes, principal.quota), (ScopeSet::all(), Some(QUOTA)));
    }
    let listed = scene.ring.newest(scene.org(), None, 10).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].id, scene.made.secondary.key.id);
    assert_eq!(scene.ring.newest(scene.org(), Some(listed[0].id), 10).await.unwrap().len(), 1);
    assert_eq!(scene.ring.oldest(scene.org(), None, 1).await.unwrap()[0].id, scene.made.primary.key.id);
}

#[actix::test]
async fn what_is_not_a_key_is_refused_whatever_is_wrong_with_it() {
    let scene = Scene::new().await;
    let known = scene.made.primary.key.id;
    let wrong_secret = KeyText::generate(Family::Secret, known).unwrap();
    let wrong_family = KeyText::generate(Family::Publishable, known).unwrap();
    let unknown = KeyText::generate(Family::Secret, KeyId::generate()).unwrap();
    for text in ["", "oc_live_", "Bearer", wrong_secret.expose(), wrong_family.expose(), unknown.expose()] {
        assert!(matches!(scene.ring.authenticate(text).await, Err(AuthError::Refused)), "{text}");
    }
    assert!(scene.is_let_in(&scene.made.primary).await);
}

#[actix::test]
async fn a_rotation_overlaps_for_its_grace_and_a_second_one_ends_the_oldest() {
    let scene = Scene::new().await;
    let (org, id) = (scene.org(), scene.made.primary.key.id);
    let week = Duration::from_secs(604_800);
    let first = scene.made.primary.clone();
    assert!(scene.is_let_in(&first).await);
    let second = scene.ring.rotate(Granter::Operator, org, id, week, None).await.unwrap();
    assert!(scene.is_let_in(&first).await && scene.is_let_in(&second).await);
    let key = scene.ring.get(org, id).await.unwrap();
    let previous = key.previous(crate::clock::Timestamp::now()).unwrap();
    assert_eq!(previous.masked, first.secret.masked());
    assert!(previous.last_used_at.is_some());
    assert_eq!(key.current().unwrap().masked, second.secret.masked());
    let third = scene.ring.rotate(Granter::Operator, org, id, week, None).await.unwrap();
    assert!(!scene.is_let_in(&first).await);
    assert!(scene.is_let_in(&second).await && scene.is_let_in(&third).await);
    scene.ring.end_previous(Granter::Operator, org, id).await.unwrap();
    assert!(!scene.is_let_in(&second).await && scene.is_let_in(&third).await);
    let again = scene.ring.end_previous(Granter::Operator, org, id).await;
    assert!(matches!(again, Err(KeyError::NotFound)));
    let last = scene.ring.rotate(Granter::Operator, org, id, Duration::ZERO, None).await.unwrap();
    assert!(!scene.is_let_in(&third).await && scene.is_let_in(&last).await);
    assert!(scene.ring.get(org, id).await.unwrap().previous(crate::clock::Timestamp::now()).is_none());
}

#[actix::test]
async fn a_deleted_slot_waits_for_a_rotation_and_another_key_is_gone() {
    let scene = Scene::new().await;
    let (org, by) = (scene.org(), scene.principal(&scene.made.secondary).await);
    let by = Granter::Key(&by);
    let primary = scene.made.primary.key.id;
    scene.ring.revoke(by, org, primary).await.unwrap();
    assert!(!scene.is_let_in(&scene.made.primary).await);
    assert!(matches!(scene.ring.revoke(by, org, primary).await, Err(KeyError::NotFound)));
    assert!(scene.ring.get(org, primary).await.unwrap().current().is_none());
    let anew = scene.ring.rotate(by, org, primary, Duration::ZERO, None).await.unwrap();
    assert!(scene.is_let_in(&anew).await);

    let other = scene.ring.create(by, org, restricted(&[Scope::KnowledgeRead]), |_| None).await.unwrap();
    assert!(scene.is_let_in(&other).await);
    scene.ring.revoke(by, org, other.key.id).await.unwrap();
    assert!(!scene.is_let_in(&other).await);
    assert!(matches!(scene.ring.get(org, other.key.id).await, Err(KeyError::NotFound)));
}

#[actix::test]
async fn a_key_of_another_organization_does_not_exist() {
    let scene = Scene::new().await;
    let other = scene.ring.create_organization(named("Other"), |_| None).await.unwrap();
    let by = scene.principal(&other.primary).await;
    let (org, id) = (by.org, scene.made.primary.key.id);
    let by = Granter::Key(&by);
    assert!(matches!(scene.ring.get(org, id).await, Err(KeyError::NotFound)));
    assert!(matches!(scene.ring.revoke(by, org, id).await, Err(KeyError::NotFound)));
    assert!(matches!(scene.ring.change(by, org, id, KeyPatch::default()).await, Err(KeyError::NotFound)));
    let rotated = scene.ring.rotate(by, org, id, Duration::ZERO, None).await;
    assert!(matches!(rotated, Err(KeyError::NotFound)));
    assert!(scene.is_let_in(&scene.made.primary).await);
}

#[actix::test]
async fn a_restricted_key_rotates_itself_and_nothing_that_can_do_more() {
    let scene = Scene::new().await;
    let org = scene.org();
    let create = |scopes| scene.ring.create(Granter::Operator, org, restricted(scopes), |_| None);
    let manager = create(&[Scope::KeysWrite, Scope::KnowledgeRead]).await.unwrap();
    let weaker = create(&[Scope::KnowledgeRead]).await.unwrap();
    let stronger = create(&[Scope::KnowledgeWrite]).await.unwrap();
    let by = scene.principal(&manager).await;
    let rotate = |id| scene.ring.rotate(Granter::Key(&by), org, id, Duration::ZERO, None);
    rotate(weaker.key.id).await.unwrap();
    let refused = rotate(stronger.key.id).await;
    assert!(matches!(refused, Err(KeyError::Denied(Denied::Scope(Scope::KnowledgeWrite)))));
    let refused = rotate(scene.made.primary.key.id).await;
    assert!(matches!(refused, Err(KeyError::Denied(Denied::Kind(KeyKind::Primary)))));
    let faster = NewKey { rate_limit: RateLimit::Unlimited, ..restricted(&[Scope::KnowledgeRead]) };
    let faster = scene.ring.create(Granter::Operator, org, faster, |_| None).await.unwrap();
    let refused = rotate(faster.key.id).await;
    assert!(matches!(refused, Err(KeyError::Denied(Denied::Unlimited))));
    rotate(manager.key.id).await.unwrap();
    assert!(!scene.is_let_in(&manager).await);
}

#[actix::test]
async fn a_change_holds_at_once_and_null_goes_back() {
    let scene = Scene::new().await;
    let org = scene.org();
    let issued = scene
        .ring
        .create(Granter::Operator, org, restricted(&[Scope::KnowledgeRead]), |_| None)
        .await
        .unwrap();
    assert!(scene.is_let_in(&issued).await);
    let patch = KeyPatch {
        scopes: Change::Set([Scope::AnalyticsRead].into_iter().collect()),
        rate_limit: Change::Set(RateLimit::Unlimited),
        name: Change::Reset,
        ..KeyPatch::default()
    };
    let changed = scene.ring.change(Granter::Operator, org, issued.key.id, patch).await.unwrap();
    assert_eq!(&*changed.name, "");
    let principal = scene.principal(&issued).await;
    assert_eq!((principal.holds(Scope::AnalyticsRead), principal.holds(Scope::KnowledgeRead)), (true, false));
    assert_eq!(principal.quota, None);
    for patch in [
        KeyPatch {
            allowed_origins: Change::Set(vec![Origin::parse("https://a.test").unwrap()]),
            ..KeyPatch::default()
        },
        KeyPatch { expires_at: Change::Set(crate::clock::Timestamp(1)), ..KeyPatch::default() },
        KeyPatch { name: Change::Set("n".repeat(101)), ..KeyPatch::default() },
    ] {
        let refused = scene.ring.change(Granter::Operator, org, issued.key.id, patch).await;
        assert!(matches!(refused, Err(KeyError::Invalid(_))), "{refused:?}");
    }
}

#[actix::test]
async fn what_another_process_revokes_is_refused_within_two_seconds_and_its_streams_hear_of_it() {
    let scene = Scene::new().await;
    let command = scene.beside().await;
    let issued = scene.ring.create(Granter::Operator, scene.org(), restricted(&[]), |_| None).await.unwrap();
    let principal = scene.principal(&issued).await;
    assert!(scene.ring.renewed(&principal).await.unwrap().is_some());
    command.revoke(Granter::Operator, scene.org(), issued.key.id).await.unwrap();
    let revoked = Instant::now();
    while scene.is_let_in(&issued).await {
        assert!(revoked.elapsed() < Duration::from_secs(2), "still let in");
        tokio::task::yield_now().await;
    }
    assert!(scene.ring.renewed(&principal).await.unwrap().is_none());
}

#[actix::test]
async fn two_processes_that_rotate_one_key_at_once_both_succeed() {
    let scene = Scene::new().await;
    let command = scene.beside().await;
    let (org, id) = (scene.org(), scene.made.primary.key.id);
    let rotate = |ring: &KeyRing| {
        let ring = ring.clone();
        async move { ring.rotate(Granter::Operator, org, id, Duration::from_secs(60), None).await.unwrap() }
    };
    let (one, other) = tokio::join!(rotate(&scene.ring), rotate(&command));
    let started = Instant::now();
    // Both live: the later as current, the earlier in its grace. The first of all has ended.
    while !(scene.is_let_in(&one).await
        && scene.is_let_in(&other).await
        && !scene.is_let_in(&scene.made.primary).await)
    {
        assert!(started.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
}

#[actix::test]
async fn a_row_that_comes_with_a_command_is_stored_with_it_or_neither_is() {
    const ONCE: crate::writer::Table = crate::writer::Table {
        into: "idempotency (scope, key, fingerprint, effect, conversation_id, created_at)",
        columns: 6,
        key: 2,
        on_conflict: "",
    };
    let scene = Scene::new().await;
    let row = || {
        let values = vec!["s".into(), "k".into(), "f".into(), "e".into(), "".into(), 1i64.into()];
        Some(crate::writer::Row { table: &ONCE, values })
    };
    let create = |extra| scene.ring.create(Granter::Operator, scene.org(), restricted(&[]), move |_| extra);
    create(row()).await.unwrap();
    assert!(matches!(create(row()).await, Err(KeyError::Write(WriteError::Conflict))));
    assert_eq!(scene.ring.oldest(scene.org(), None, 10).await.unwrap().len(), 3);
    let (org, id) = (scene.org(), scene.made.primary.key.id);
    let rotated = scene.ring.rotate(Granter::Operator, org, id, Duration::ZERO, row()).await;
    assert!(matches!(rotated, Err(KeyError::Write(WriteError::Conflict))));
    assert!(scene.is_let_in(&scene.made.primary).await);
}

#[actix::test]
async fn the_last_use_is_written_by_itself_and_at_the_latest_by_a_flush() {
    let scene = Scene::new().await;
    let command = scene.beside().await;
    let (org, id) = (scene.org(), scene.made.primary.key.id);
    UsageWriter::keep_running(scene.ring.clone());
    scene.principal(&scene.made.primary).await;
    let started = Instant::now();
    let first = loop {
        if let Some(at) = command.get(org, id).await.unwrap().last_used_at {
            break at;
        }
        assert!(started.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    };
    while scene.ring.get(org, id).await.unwrap().last_used_at <= Some(first) {
        scene.principal(&scene.made.primary).await;
    }
    scene.ring.flush_usage().await;
    let key = command.get(org, id).await.unwrap();
    assert!(key.last_used_at > Some(first) && key.current().unwrap().last_used_at == key.last_used_at);
}

#[actix::test]
async fn a_directory_without_the_pepper_of_its_keys_says_so() {
    let scene = Scene::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let writer = Writer::start(&scene.store, "elsewhere").await.unwrap();
    let pepper = Pepper::open(elsewhere.path()).unwrap();
    let opened = KeyRing::open(&scene.store, &writer, pepper, QUOTA).await;
    assert!(matches!(opened, Err(RingError::ForeignPepper(1))));
}

#[actix::test]
async fn settings_are_merged_checked_and_seen_by_others() {
    let scene = Scene::new().await;
    let writer = Writer::start(&scene.store, "other").await.unwrap();
    let organizations = Organizations::new(&scene.store, &writer);
    let patch = |json: &str| serde_json::from_str::<OrganizationPatch>(json).unwrap();
    let org = scene.org();
    assert_eq!(organizations.recent(org).await.unwrap().unwrap().name, "Acme");
    let after = organizations.change(org, patch(r#"{"name":"Bolt","retention_days":90}"#)).await.unwrap();
    assert_eq!((after.name.as_str(), after.settings.retention_days), ("Bolt", Some(90)));
    assert_eq!(organizations.get(org).await.unwrap(), after);
    assert_eq!(*organizations.recent(org).await.unwrap().unwrap(), after);
    assert_eq!(organizations.oldest(None, 10).await.unwrap(), [after]);
    let refused = organizations.change(org, patch(r#"{"name":" "}"#)).await;
    assert!(matches!(refused, Err(OrganizationError::Invalid(field)) if field.param == "name"));
    let missing = organizations.change(OrgId::generate(), patch("{}")).await;
    assert!(matches!(missing, Err(OrganizationError::NotFound)));
    let (one, other) = tokio::join!(
        organizations.change(org, patch(r#"{"retention_days":1}"#)),
        organizations.change(org, patch(r#"{"strict_grounding":true}"#))
    );
    assert!(one.is_ok() && other.is_ok());
    let settings = organizations.get(org).await.unwrap().settings;
    assert_eq!((settings.retention_days, settings.strict_grounding), (Some(1), true));
}

#[actix::test]
async fn an_organization_is_erased_and_its_neighbour_is_not() {
    let scene = Scene::new().await;
    let neighbour = scene.ring.create_organization(named("Neighbour"), |_| None).await.unwrap();
    let principal = scene.principal(&scene.made.primary).await;
    for org in [scene.org(), neighbour.organization.id] {
        fill(&scene.ring.writer, org).await;
    }
    scene.ring.end_access(scene.org()).await.unwrap();
    assert!(!scene.is_let_in(&scene.made.primary).await);
    assert!(scene.ring.renewed(&principal).await.unwrap().is_none());
    assert!(scene.is_let_in(&neighbour.primary).await);
    scene.ring.erase_organization(scene.org()).await.unwrap();
    for (table, left) in [
        ("organizations", 1),
        ("keys", 2),
        ("key_secrets", 2),
        ("conversations", CONVERSATIONS),
        ("messages", CONVERSATIONS),
        ("turns", CONVERSATIONS),
        ("events", CONVERSATIONS),
        ("idempotency", CONVERSATIONS),
    ] {
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let rows: i64 =
            crate::on_pool!(&*scene.store, |pool| sqlx::query_scalar(count).fetch_one(pool).await).unwrap();
        assert_eq!(rows, left, "{table}");
    }
    let again = scene.ring.end_access(scene.org()).await;
    assert!(matches!(again, Err(KeyError::NotFound)));
}

/// More than are erased in one commit.
const CONVERSATIONS: i64 = 250;

/// Something in every table that hangs on a conversation.
async fn fill(writer: &Writer, org: OrgId) {
    for _ in 0..CONVERSATIONS {
        let mut op = Op::default();
        let conversation = crate::ids::ConversationId::generate().to_string();
        for sql in [
            "INSERT INTO conversations (org_id, id, status, owner, epoch, sequence, version, channel, metadata,
                started_at, message_count) VALUES ($1, $2, 'active', 'ai', 1, 1, 1, 'api', '{}', 1, 1)",
            "INSERT INTO messages (org_id, conversation_id, sequence, id, role, status, content, citations, metadata,
                created_at) VALUES ($1, $2, 1, 'msg', 'customer', 'complete', 'hi', '[]', '{}', 1)",
            "INSERT INTO turns (org_id, conversation_id, id, status, attempt, message_ids, accepted_sequence,
                queued_at, detail) VALUES ($1, $2, 'turn', 'queued', 1, '[]', 1, 1, '{}')",
            "INSERT INTO events (org_id, stream_id, sequence, writer_id, position, id, kind, data, created_at)
                SELECT $1, $2, 1, 99, COUNT(*), 'evt', 'message.received', '{}', 1 FROM events",
            "INSERT INTO idempotency (scope, key, fingerprint, effect, conversation_id, created_at)
                VALUES ($1, $2, 'f', 'e', $2, 1)",
        ] {
            op.run(sql, vec![org.into(), conversation.as_str().into()]);
        }
        writer.commit(op).await.unwrap();
    }
}
