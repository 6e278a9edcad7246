//! A store of its own for each test, on whichever database the run is about.
//!
//! `OPENCLAW_TEST_STORE=postgres` with `OPENCLAW_TEST_POSTGRES_URL` (an address whose user may create databases) runs
//! the same tests on PostgreSQL; otherwise they run on SQLite in a temporary directory.

#![allow(clippy::expect_used, reason = "a test that cannot have its store should fail loudly")]

use std::{ops::Deref, path::Path};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    ids::OrgId,
    organization::{self, Organization, OrganizationPatch},
    patch::Change,
    store::Store,
    writer::{Op, Writer},
};

/// A directory, and on PostgreSQL a database, that are removed with it.
#[derive(Debug)]
pub struct TestPlace {
    directory: TempDir,
    database: Option<Database>,
}

#[derive(Debug)]
struct Database {
    admin_url: String,
    name: String,
}

impl TestPlace {
    /// A fresh place: nothing in it yet.
    ///
    /// # Panics
    /// The directory or the database cannot be made.
    pub async fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let database = match std::env::var("OPENCLAW_TEST_STORE").as_deref() {
            Ok("postgres") => Some(Database::create().await),
            Ok("sqlite") | Err(_) => None,
            Ok(other) => panic!("OPENCLAW_TEST_STORE is {other:?}; it may be sqlite or postgres"),
        };
        Self { directory, database }
    }

    /// The data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What `store.database_url` is here; none on SQLite.
    #[must_use]
    pub fn database_url(&self) -> Option<String> {
        self.database.as_ref().map(Database::url)
    }

    /// Opens the store, migrated. May be asked for several times: each is like another process.
    ///
    /// # Panics
    /// It cannot be opened.
    pub async fn open(&self) -> Store {
        match self.database_url() {
            Some(url) => Store::connect_postgres(&url).await.expect("the test database"),
            None => Store::open_sqlite(self.directory()).await.expect("the test database"),
        }
    }
}

impl Database {
    async fn create() -> Self {
        let admin_url = std::env::var("OPENCLAW_TEST_POSTGRES_URL")
            .expect("OPENCLAW_TEST_STORE=postgres needs OPENCLAW_TEST_POSTGRES_URL");
        let name = format!("openclaw_test_{}", Uuid::now_v7().simple());
        let database = Self { admin_url, name };
        database
            .administer(format!("CREATE DATABASE {}", database.name))
            .await
            .expect("a database of its own");
        database
    }

    fn url(&self) -> String {
        let (server, options) = self.admin_url.split_once('?').unwrap_or((&self.admin_url, ""));
        let after_scheme = server.find("://").map_or(0, |at| at + 3);
        let server = match server[after_scheme..].rfind('/') {
            Some(slash) => &server[..after_scheme + slash],
            None => server,
        };
        format!("{server}/{}?{options}", self.name)
    }

    async fn administer(&self, sql: String) -> Result<(), sqlx::Error> {
        let mut admin = PgConnection::connect(&self.admin_url).await?;
        sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await?;
        admin.close().await
    }

    fn remove(self) {
        let remove = async move {
            // A database left behind goes with its server, which the test command throws away.
            drop(self.administer(format!("DROP DATABASE {} WITH (FORCE)", self.name)).await);
        };
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            runtime.block_on(remove);
        }
    }
}

impl Drop for TestPlace {
    fn drop(&mut self) {
        if let Some(database) = self.database.take() {
            // A runtime cannot wait inside another, so a thread does; joined, because the process may end next.
            drop(std::thread::spawn(|| database.remove()).join());
        }
    }
}

/// An open store together with its place.
#[derive(Debug)]
pub struct TestStore {
    store: Store,
    place: TestPlace,
}

impl TestStore {
    /// Where it is kept.
    #[must_use]
    pub fn place(&self) -> &TestPlace {
        &self.place
    }
}

impl Deref for TestStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// A fresh store of the kind that this run tests.
///
/// # Panics
/// It cannot be made.
pub async fn test_store() -> TestStore {
    let place = TestPlace::new().await;
    TestStore { store: place.open().await, place }
}

/// An organization in the store, for tests that write what belongs to one.
///
/// # Panics
/// It cannot be stored.
pub async fn test_organization(writer: &Writer) -> OrgId {
    let patch = OrganizationPatch { name: Change::Set("Acme".to_owned()), ..OrganizationPatch::default() };
    let organization = Organization::new(patch, Timestamp::now()).expect("a name is enough");
    let mut op = Op::default();
    organization::insert(&mut op, &organization);
    writer.commit(op).await.expect("a store that can be written");
    organization.id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn two_tests_never_share_a_store() {
        let (one, other) = (test_store().await, test_store().await);
        one.ping().await.unwrap();
        other.ping().await.unwrap();
        assert_ne!(
            (one.place().directory(), one.place().database_url()),
            (other.place().directory(), other.place().database_url())
        );
    }

    #[test]
    fn the_database_is_named_in_an_address_of_any_form() {
        let url = |admin_url: &str| {
            let database = Database { admin_url: admin_url.to_owned(), name: "own".to_owned() };
            database.url()
        };
        assert_eq!(url("postgres://u@h:5433/postgres"), "postgres://u@h:5433/own?");
        assert_eq!(url("postgres://u@h"), "postgres://u@h/own?");
        assert_eq!(url("postgres:///postgres?host=/run/x"), "postgres:///own?host=/run/x");
    }
}
