//! Articles as their authors and those who search see them: the real actor over a real store.

use std::collections::BTreeMap;

use super::article::{Draft, Fields};
use super::index::Query;
use super::markup::Format;
use super::messages::*;
use super::*;
use crate::clock::Timestamp;
use crate::ids::{ArticleId, OrgId};
use crate::testing::{TestStore, test_organization, test_store};
use crate::writer::Writer;

/// The title of an article that finds a fault of ours.
pub(super) const MAKES_THE_INDEXER_PANIC: &str = "makes the indexer panic";

struct Scene {
    knowledge: Knowledge,
    org: OrgId,
    store: TestStore,
}

impl Scene {
    async fn new() -> Self {
        let store = test_store().await;
        let writer = Writer::start(&store, "one").await.unwrap();
        let org = test_organization(&writer).await;
        Self { knowledge: Knowledge::start((*store).clone(), writer), org, store }
    }

    async fn put(&self, target: PutTarget, draft: Draft) -> Result<Put, KnowledgeError> {
        self.put_if(target, draft, Precondition::None).await
    }

    async fn put_if(
        &self,
        target: PutTarget,
        draft: Draft,
        only_if: Precondition,
    ) -> Result<Put, KnowledgeError> {
        let message =
            PutArticle { org: self.org, target, draft, only_if, now: Timestamp::now(), idempotency: None };
        self.knowledge.put(message).await
    }

    async fn delete(&self, id: ArticleId) -> Result<Deleted, KnowledgeError> {
        let (name, only_if) = (ArticleName::Id(id), Precondition::None);
        self.knowledge.delete(DeleteArticle { org: self.org, name, only_if }).await
    }

    async fn found(&self, question: &str) -> Vec<String> {
        found(&self.knowledge, self.org, question).await
    }
}

/// A process of its own on the same store.
async fn process(store: &TestStore, node: &str) -> Knowledge {
    let writer = Writer::start(store, node).await.unwrap();
    Knowledge::start((**store).clone(), writer)
}

async fn found(knowledge: &Knowledge, org: OrgId, question: &str) -> Vec<String> {
    let query = Query { turns: vec![question.to_owned()], limit: 10, ..Query::default() };
    let hits = knowledge.search(org, &query).await.unwrap();
    hits.iter().map(|hit| hit.entry.article.fields.title.clone()).collect()
}

fn new() -> PutTarget {
    PutTarget::New(ArticleId::generate())
}

fn draft(title: &str, content: &str) -> Draft {
    let fields = Fields {
        external_id: None,
        source: None,
        title: title.to_owned(),
        format: Format::Markdown,
        language: String::new(),
        topic: None,
        url: None,
        metadata: BTreeMap::new(),
        published: true,
    };
    Draft::read(fields, content.to_owned()).unwrap()
}

#[actix::test]
async fn a_write_is_searchable_once_it_is_answered() {
    let scene = Scene::new().await;
    let put = scene.put(new(), draft("Parcels", "Follow your parcel with the code.")).await.unwrap();
    assert_eq!((put.change, put.article.version, put.indexed.unwrap().version), (Change::Created, 1, 1));
    assert_eq!(scene.found("parcel").await, ["Parcels"]);

    let changed = draft("Letters", "Follow your letter with the code.");
    let put = scene.put(PutTarget::Stored(put.article.id), changed).await.unwrap();
    assert_eq!((put.change, put.article.version, put.indexed.unwrap().version), (Change::Updated, 2, 2));
    assert_eq!(scene.found("parcel").await, [""; 0]);
    assert_eq!(scene.found("letter").await, ["Letters"]);

    scene.delete(put.article.id).await.unwrap();
    assert_eq!(scene.found("letter").await, [""; 0]);
    assert!(matches!(scene.delete(put.article.id).await, Err(KnowledgeError::NotFound)));
}

#[actix::test]
async fn a_write_that_changes_nothing_keeps_the_version() {
    let scene = Scene::new().await;
    let first = scene.put(new(), draft("Parcels", "Text.")).await.unwrap();
    let again = scene.put(PutTarget::Stored(first.article.id), draft("Parcels", "Text.")).await.unwrap();
    assert_eq!((again.change, again.indexed), (Change::Unchanged, first.indexed));
    assert_eq!(again.article, first.article);
}

#[actix::test]
async fn a_version_that_is_not_expected_is_not_overwritten() {
    let scene = Scene::new().await;
    let put = scene.put(new(), draft("Parcels", "One.")).await.unwrap();
    let target = PutTarget::Stored(put.article.id);
    let old = Precondition::Version(vec![7]);
    let refused = scene.put_if(target.clone(), draft("Parcels", "Two."), old).await;
    assert!(matches!(refused, Err(KnowledgeError::VersionConflict)));
    let present = Precondition::Version(vec![1]);
    assert_eq!(scene.put_if(target, draft("Parcels", "Two."), present).await.unwrap().article.version, 2);
    let stored = scene.knowledge.find(scene.org, &ArticleName::Id(put.article.id)).await.unwrap();
    assert_eq!(stored.content, "Two.");
}

#[actix::test]
async fn an_external_id_names_one_article() {
    let scene = Scene::new().await;
    let external = || PutTarget::External(ArticleId::generate());
    let made = scene.put(external(), draft("A", "x").with_external_id("a.md")).await.unwrap();
    let same = scene.put(external(), draft("B", "x").with_external_id("a.md")).await.unwrap();
    assert_eq!((made.change, same.change), (Change::Created, Change::Updated));
    assert_eq!(made.article.id, same.article.id);

    let taken = scene.put(new(), draft("C", "x").with_external_id("a.md")).await;
    assert!(matches!(taken, Err(KnowledgeError::ExternalIdTaken)));
    let other = scene.put(new(), draft("C", "x")).await.unwrap();
    let taken =
        scene.put(PutTarget::Stored(other.article.id), draft("C", "x").with_external_id("a.md")).await;
    assert!(matches!(taken, Err(KnowledgeError::ExternalIdTaken)));
    let absent =
        scene.put_if(external(), draft("D", "x").with_external_id("a.md"), Precondition::Absent).await;
    assert!(matches!(absent, Err(KnowledgeError::VersionConflict)));
}

#[actix::test]
async fn an_unpublished_article_is_indexed_by_not_being_found() {
    let scene = Scene::new().await;
    let put = scene.put(new(), draft("Parcels", "Text.")).await.unwrap();
    let mut hidden = draft("Parcels", "Text.");
    hidden.fields.published = false;
    let put = scene.put(PutTarget::Stored(put.article.id), hidden).await.unwrap();
    assert_eq!(put.indexed.unwrap().version, 2);
    assert_eq!(scene.found("parcels").await, [""; 0]);
    assert_eq!(scene.knowledge.status(scene.org).await.unwrap().indexed, 1);
}

#[actix::test]
async fn another_organization_sees_nothing_of_it() {
    let scene = Scene::new().await;
    let put = scene.put(new(), draft("Parcels", "Text.").with_external_id("a.md")).await.unwrap();
    let stranger = OrgId::generate();
    assert_eq!(found(&scene.knowledge, stranger, "parcels").await, [""; 0]);
    for name in [ArticleName::Id(put.article.id), ArticleName::External("a.md".into())] {
        assert!(matches!(scene.knowledge.find(stranger, &name).await, Err(KnowledgeError::NotFound)));
        let delete = DeleteArticle { org: stranger, name, only_if: Precondition::None };
        assert!(matches!(scene.knowledge.delete(delete).await, Err(KnowledgeError::NotFound)));
    }
    assert_eq!(scene.found("parcels").await, ["Parcels"]);
}

#[actix::test]
async fn a_restart_and_another_process_find_the_same() {
    let scene = Scene::new().await;
    for number in 0..250 {
        scene.put(new(), draft(&format!("Article {number}"), "Parcels and returns.")).await.unwrap();
    }
    let other = process(&scene.store, "two").await;
    let query = Query { turns: vec!["article 117".into()], limit: 300, ..Query::default() };
    let here = scene.knowledge.search(scene.org, &query).await.unwrap();
    let there = other.search(scene.org, &query).await.unwrap();
    let seen = |hits: &[index::Hit]| -> Vec<_> {
        hits.iter().map(|hit| (hit.entry.article.id, hit.score, hit.confidence)).collect()
    };
    assert_eq!(here.len(), 250);
    assert_eq!(seen(&here), seen(&there));
}

#[actix::test]
async fn two_processes_that_write_at_once_lose_nothing() {
    let scene = Scene::new().await;
    let other = process(&scene.store, "two").await;
    let put = |knowledge: &Knowledge, title: String| {
        let message = PutArticle {
            org: scene.org,
            target: PutTarget::External(ArticleId::generate()),
            draft: draft(&title, "Text.").with_external_id(&title),
            only_if: Precondition::None,
            now: Timestamp::now(),
            idempotency: None,
        };
        let knowledge = knowledge.clone();
        async move { knowledge.put(message).await.unwrap() }
    };
    for round in 0..10 {
        tokio::join!(
            put(&scene.knowledge, format!("Here {round}")),
            put(&other, format!("There {round}")),
            put(&scene.knowledge, "Both".into()),
            put(&other, "Both".into()),
        );
    }
    // Whoever wrote last knows everything; the other asks the store once its knowledge is no longer fresh.
    let last = put(&scene.knowledge, "Last".into()).await;
    assert_eq!(last.change, Change::Created);
    assert_eq!(scene.knowledge.status(scene.org).await.unwrap().indexed, 22);
    while found(&other, scene.org, "last").await != ["Last"] {
        tokio::task::yield_now().await;
    }
}

#[actix::test]
async fn while_the_store_is_away_the_articles_in_memory_are_still_found() {
    let scene = Scene::new().await;
    let put = scene.put(new(), draft("Parcels", "Text.")).await.unwrap();
    scene.store.close().await;
    let refused = scene.put(PutTarget::Stored(put.article.id), draft("Letters", "Text.")).await;
    assert!(matches!(refused, Err(KnowledgeError::Store(_))));
    assert_eq!(scene.found("parcels").await, ["Parcels"]);
}

#[actix::test]
async fn a_list_is_filtered_and_paged() {
    let scene = Scene::new().await;
    let mut ids = Vec::new();
    for (title, topic) in [("Parcels", "a"), ("50% off", "b"), ("Returns", "a")] {
        let mut draft = draft(title, "Text.");
        draft.fields.topic = Some(topic.to_owned());
        ids.push(scene.put(new(), draft).await.unwrap().article.id);
    }
    let titles = async |wanted: ListArticles| -> Vec<String> {
        let wanted = ListArticles { limit: 10, ..wanted };
        let listed = scene.knowledge.list(scene.org, &wanted).await.unwrap();
        assert!(listed.iter().all(|stored| stored.content == if wanted.with_content { "Text." } else { "" }));
        listed.into_iter().map(|stored| stored.article.fields.title).collect()
    };
    assert_eq!(titles(ListArticles::default()).await, ["Returns", "50% off", "Parcels"]);
    let about = ListArticles { topic: "a".into(), ascending: true, with_content: true, ..Default::default() };
    assert_eq!(titles(about).await, ["Parcels", "Returns"]);
    let containing = ListArticles { containing: "0% O".into(), ..Default::default() };
    assert_eq!(titles(containing).await, ["50% off"]);
    let behind = ListArticles { after: Some(ids[2]), ..Default::default() };
    assert_eq!(titles(behind).await, ["50% off", "Parcels"]);
    let later = ListArticles { updated_after: Some(Timestamp::now()), ..Default::default() };
    assert_eq!(titles(later).await, [""; 0]);
}

/// The events of the organization's own stream, in order.
async fn told(scene: &Scene) -> Vec<(i64, String)> {
    const SELECT: &str = "SELECT sequence, kind FROM events WHERE stream_id = $1 ORDER BY sequence";
    let rows =
        crate::on_pool!(&*scene.store, |pool| sqlx::query_as(SELECT).bind(scene.org).fetch_all(pool).await);
    rows.unwrap()
}

#[actix::test]
async fn an_article_that_finds_a_fault_of_ours_fails_alone() {
    let scene = Scene::new().await;
    let good = scene.put(new(), draft("Parcels", "Text.")).await.unwrap();
    let made = scene.put(new(), draft("Letters", "Text.")).await.unwrap();
    let bad = draft(MAKES_THE_INDEXER_PANIC, "Text.");
    let bad = scene.put(PutTarget::Stored(made.article.id), bad).await.unwrap();
    assert!(bad.indexed.unwrap().error.is_some());
    // What it said before is not what it says now.
    assert_eq!(scene.found("letters").await, [""; 0]);
    assert_eq!(scene.found("parcels").await, ["Parcels"]);
    let status = scene.knowledge.status(scene.org).await.unwrap();
    assert_eq!((status.indexed, status.pending, status.failed), (1, 0, 1));

    // Another process fares no better, and builds the rest all the same.
    let other = process(&scene.store, "two").await;
    assert_eq!(found(&other, scene.org, "parcels").await, ["Parcels"]);
    assert_eq!(other.status(scene.org).await.unwrap().failed, 1);

    scene.put(PutTarget::Stored(made.article.id), draft("Stamps", "Text.")).await.unwrap();
    scene.delete(good.article.id).await.unwrap();
    let status = scene.knowledge.status(scene.org).await.unwrap();
    assert_eq!((status.indexed, status.pending, status.failed), (1, 0, 0));
    let told = told(&scene).await;
    assert!(told.iter().zip(1..).all(|((sequence, _), expected)| *sequence == expected), "{told:?}");
    let failures = told.iter().filter(|(_, kind)| kind == "knowledge.failed").count();
    assert_eq!((failures, told.last().map(|(_, kind)| kind.as_str())), (1, Some("knowledge.indexed")));
}

#[actix::test]
async fn two_processes_tell_of_an_article_once() {
    let scene = Scene::new().await;
    let other = process(&scene.store, "two").await;
    for number in 0..20 {
        scene.put(new(), draft(&format!("Article {number}"), "Text.")).await.unwrap();
        while found(&other, scene.org, &number.to_string()).await.is_empty() {
            tokio::task::yield_now().await;
        }
        let both = tokio::join!(scene.knowledge.status(scene.org), other.status(scene.org));
        assert_eq!((both.0.unwrap().pending, both.1.unwrap().pending), (0, 0));
    }
    assert_eq!(told(&scene).await.len(), 20);
}

#[actix::test]
async fn what_failed_is_tried_again_and_told_of_when_it_works() {
    let scene = Scene::new().await;
    let made = scene.put(new(), draft("Parcels", "Text.")).await.unwrap();
    scene.knowledge.status(scene.org).await.unwrap();
    // As an earlier process left it, whose caps were others.
    let mut op = crate::writer::Op::default();
    sql::states::failed(&mut op, scene.org, &made.article, "too deep", Timestamp::now());
    scene.knowledge.writer().commit(op).await.unwrap();
    let successor = process(&scene.store, "two").await;
    assert_eq!(successor.status(scene.org).await.unwrap().failed, 1);
    successor.look_after().await.unwrap();
    while successor.status(scene.org).await.unwrap().indexed == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(told(&scene).await.len(), 2);
}

/// What a write that was under way meets when its organization was erased before its commit.
#[actix::test]
async fn nothing_is_written_for_an_organization_that_is_gone() {
    const ERASE: [&str; 4] = [
        "DELETE FROM articles",
        "DELETE FROM article_states",
        "DELETE FROM knowledge_heads",
        "DELETE FROM organizations",
    ];
    const COUNT: &str = "SELECT COUNT(*) FROM articles";
    let scene = Scene::new().await;
    for wrote_before in [false, true] {
        if wrote_before {
            scene.put(PutTarget::New(ArticleId::generate()), draft("Before", "zebra")).await.unwrap();
        }
        for statement in ERASE {
            crate::on_pool!(&*scene.store, |pool| sqlx::query(statement).execute(pool).await.map(drop))
                .unwrap();
        }
        let late = scene.put(PutTarget::New(ArticleId::generate()), draft("Late", "zebra")).await;
        assert!(matches!(late, Err(KnowledgeError::NotFound)), "{late:?}");
        let left: i64 =
            crate::on_pool!(&*scene.store, |pool| sqlx::query_scalar(COUNT).fetch_one(pool).await).unwrap();
        assert_eq!((left, scene.found("zebra").await.len()), (0, 0));
        let organization = format!(
            "INSERT INTO organizations (id, name, settings, created_at) VALUES ('{}', 'Acme', '{{}}', 0)",
            scene.org
        );
        crate::on_pool!(&*scene.store, |pool| sqlx::query(sqlx::AssertSqlSafe(organization))
            .execute(pool)
            .await
            .map(drop))
        .unwrap();
    }
}

/// Thirty seconds that pass at once.
#[actix::test]
async fn a_write_waits_thirty_seconds_for_the_index_and_no_longer() {
    tokio::time::pause();
    let within = Options::default().indexed_within;
    let began = tokio::time::Instant::now();
    let never = std::future::pending::<Result<(), KnowledgeError>>();
    assert_eq!(actor::waited(within, never).await.unwrap(), None);
    assert_eq!(began.elapsed().as_secs(), 30);
    assert_eq!(actor::waited(within, async { Ok(7) }).await.unwrap(), Some(7));
}
