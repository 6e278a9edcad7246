//! The store: one SQL text on SQLite (embedded) or PostgreSQL.
//!
//! Reads go through [`Store`], from anywhere. Writes go through the [`Writer`](crate::writer::Writer) alone.

mod schema;
mod scrub;
mod sql;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::OpenFlags;
use sqlx::{
    ConnectOptions, PgPool, SqlitePool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub use self::{
    schema::{Step, StepState},
    scrub::Scrubbed,
};
use crate::position::Position;

/// Migrations only add; both databases take the same text.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Readers beside the writer. WAL lets them run at once; more than a few only compete for two cores.
const SQLITE_READERS: u32 = 4;

/// Connections for reads on PostgreSQL; its default allows 100 in all, shared with other nodes.
const POSTGRES_READERS: u32 = 16;

/// How long a read waits for a free connection before it is refused as unavailable.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(5);

/// How long one process waits for another's write on SQLite: an offline command beside the server.
const SQLITE_BUSY_WITHIN: Duration = Duration::from_secs(5);

/// The store could not do what was asked; says what that was.
#[derive(Debug, thiserror::Error)]
#[error("the store failed to {attempt}")]
pub struct StoreError {
    attempt: &'static str,
    #[source]
    source: sqlx::Error,
}

impl StoreError {
    /// The database could not be reached or could not take it: asking again later may work. Anything else is a
    /// fault of ours, in a statement or in a row.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match &self.source {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(database) => database.code().is_some_and(|code| match code.len() {
                // PostgreSQL: connection, who may come in, resources, shutdown and I/O; no such database, a database
                // closed to all, and one that a failover has left read-only.
                5 => {
                    ["08", "28", "53", "57", "58"].iter().any(|class| code.starts_with(class))
                        || ["3D000", "55000", "25006"].contains(&&*code)
                }
                // SQLite, whose extended codes keep the primary one in the low byte: BUSY, LOCKED, READONLY,
                // IOERR, FULL and CANTOPEN.
                _ => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14)),
            }),
            _ => false,
        }
    }
}

/// Names what was being attempted when the database refused.
pub trait Attempting<T> {
    /// Wraps the error with a verb phrase: "read messages".
    ///
    /// # Errors
    /// The same failure, named.
    fn attempting(self, attempt: &'static str) -> Result<T, StoreError>;
}

impl<T, E: Into<sqlx::Error>> Attempting<T> for Result<T, E> {
    fn attempting(self, attempt: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError { attempt, source: source.into() })
    }
}

/// Where everything is kept. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Store {
    /// Embedded: one file, many readers.
    Sqlite {
        /// Readers.
        pool: SqlitePool,
        /// How to open the writer's own connection.
        options: Box<SqliteConnectOptions>,
    },
    /// A server shared by several nodes.
    Postgres {
        /// Readers.
        pool: PgPool,
        /// How to open the writer's own connection.
        options: Box<PgConnectOptions>,
    },
}

/// Runs the same query on whichever database the store is.
///
/// `on_pool!(store, |pool| sqlx::query_as(SELECT).bind(org).fetch_all(pool).await)`
#[macro_export]
macro_rules! on_pool {
    ($store:expr, |$pool:ident| $body:expr) => {
        match $store {
            $crate::store::Store::Sqlite { pool: $pool, .. } => $body,
            $crate::store::Store::Postgres { pool: $pool, .. } => $body,
        }
    };
}

impl Store {
    /// Opens the embedded database in `directory`, creating and migrating it as needed.
    ///
    /// # Errors
    /// The file cannot be opened or its schema is newer than this program.
    pub async fn open_sqlite(directory: &Path) -> Result<Self, StoreError> {
        keep_to_ourselves(&Self::sqlite_file(directory)).attempting("create the database")?;
        let options = sqlite_options(directory).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        let store = Self::sqlite(options).await?;
        store.migrate().await?;
        Ok(store)
    }

    /// Opens the embedded database in `directory` and leaves it as it is: nothing is created or migrated.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    pub async fn open_sqlite_as_it_is(directory: &Path) -> Result<Self, StoreError> {
        Self::sqlite(sqlite_options(directory)).await
    }

    async fn sqlite(options: SqliteConnectOptions) -> Result<Self, StoreError> {
        let pool = SqlitePoolOptions::new()
            .max_connections(SQLITE_READERS)
            .acquire_timeout(ACQUIRE_WITHIN)
            // A connection to a file does not go away by itself, and asking it first costs as much as a read.
            .test_before_acquire(false)
            .connect_with(options.clone())
            .await
            .attempting("open the database")?;
        Ok(Self::Sqlite { pool, options: Box::new(options) })
    }

    /// The embedded database's file in a data directory.
    #[must_use]
    pub fn sqlite_file(directory: &Path) -> PathBuf {
        directory.join("openclaw.db")
    }

    /// Connects to PostgreSQL and migrates it as needed.
    ///
    /// # Errors
    /// The address is malformed, the server is away, or its schema is newer than this program.
    pub async fn connect_postgres(url: &str) -> Result<Self, StoreError> {
        let store = Self::connect_postgres_as_it_is(url).await?;
        store.migrate().await?;
        Ok(store)
    }

    /// Connects to PostgreSQL and leaves it as it is: nothing is migrated.
    ///
    /// # Errors
    /// The address is malformed or the server is away.
    pub async fn connect_postgres_as_it_is(url: &str) -> Result<Self, StoreError> {
        let options: PgConnectOptions =
            url.parse::<PgConnectOptions>().attempting("read the database address")?;
        // Stated, not inherited: an acknowledged fact is on disk.
        let options = options.options([("synchronous_commit", "on")]).disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_READERS)
            .acquire_timeout(ACQUIRE_WITHIN)
            .connect_with(options.clone())
            .await
            .attempting("connect to the database")?;
        Ok(Self::Postgres { pool, options: Box::new(options) })
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        on_pool!(self, |pool| MIGRATIONS.run(pool).await).attempting("migrate the database")
    }

    /// Proves that the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        on_pool!(self, |pool| sqlx::query("SELECT 1").execute(pool).await.map(drop))
            .attempting("answer a ping")
    }

    /// Empties the embedded database's log, in which what was erased stands until then; says whether it could. Of
    /// PostgreSQL's own files its operator takes care.
    ///
    /// # Errors
    /// The disk is full, or failed.
    pub async fn empty_log(&self) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite { pool, .. } => sql::empty_log(pool).await.attempting("empty its log"),
            Self::Postgres { .. } => Ok(true),
        }
    }

    /// Zeroes what erased rows have left behind in the embedded database's file, for at most that long. To be called
    /// when all is closed. Of PostgreSQL's own files its operator takes care.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub async fn scrub(&self, within: Duration) -> Result<Scrubbed, StoreError> {
        let Self::Sqlite { options, .. } = self else { return Ok(Scrubbed::Whole) };
        let file = options.get_filename().to_owned();
        let scrubbed = tokio::task::spawn_blocking(move || scrub::scrub(&file, within)).await;
        scrubbed.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed)).attempting("zero what was erased")
    }

    /// Closes all readers, after those in use are returned.
    pub async fn close(&self) {
        on_pool!(self, |pool| pool.close().await);
    }

    /// The steps that made this database, and those that it still lacks, in order.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn steps(&self) -> Result<Vec<Step>, StoreError> {
        let applied = sql::applied_steps(self).await.attempting("read which migrations are applied")?;
        Ok(schema::compare(&MIGRATIONS, &applied))
    }

    /// The steps of a database that is not there yet.
    #[must_use]
    pub fn all_steps() -> Vec<Step> {
        schema::compare(&MIGRATIONS, &[])
    }

    /// How far the log goes: the last position of each writer. What is read up to there is all that will ever stand
    /// there, because a writer's row moves in the transaction of its events.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn heads(&self) -> Result<Position, StoreError> {
        sql::heads(self).await.attempting("read how far the log goes")
    }

    /// Proves that rows could be written now, without writing any.
    ///
    /// # Errors
    /// They could not.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        sql::check_writable(self).await.attempting("be written")
    }

    /// What is wrong with the embedded database's pages, in its own words; nothing, where all is well. PostgreSQL
    /// looks after its own.
    ///
    /// # Errors
    /// It could not be looked at.
    pub async fn damage(&self) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Sqlite { pool, .. } => sql::damage(pool).await.attempting("check its pages"),
            Self::Postgres { .. } => Ok(Vec::new()),
        }
    }

    /// Copies the embedded database, as it is at one moment, into a file that is empty or not there. Whoever writes
    /// meanwhile goes on writing. On PostgreSQL nothing is copied, and the answer is false.
    ///
    /// # Errors
    /// The file cannot be written, or the database cannot be read.
    pub async fn copy_to(&self, file: &Path) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite { pool, .. } => {
                sql::copy(pool, file).await.attempting("copy the database")?;
                Ok(true)
            }
            Self::Postgres { .. } => Ok(false),
        }
    }
}

/// Makes the file before SQLite would, for its owner alone; the files that SQLite puts beside it become like it.
fn keep_to_ourselves(file: &Path) -> Result<(), sqlx::Error> {
    use std::os::unix::fs::OpenOptionsExt;

    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    match made {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(sqlx::Error::Io(error)),
        _ => Ok(()),
    }
}

/// How every connection to the embedded database is opened; the writer's own is opened the same in
/// [`open_sqlite_to_write`].
fn sqlite_options(directory: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(Store::sqlite_file(directory))
        // WAL with NORMAL loses acknowledged rows in a power cut; FULL does not.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(SQLITE_BUSY_WITHIN)
        // Erasing must mean it: freed pages are overwritten.
        .pragma("secure_delete", "ON")
        .foreign_keys(false)
        .disable_statement_logging()
}

/// Opens the embedded database for the writer, under another driver than the readers'.
pub(crate) fn open_sqlite_to_write(
    options: &SqliteConnectOptions,
) -> Result<rusqlite::Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = rusqlite::Connection::open_with_flags(options.get_filename(), flags)?;
    connection.busy_timeout(SQLITE_BUSY_WITHIN)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[actix::test]
    async fn what_customers_said_is_readable_by_the_owner_of_the_process_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let open_to_all = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path(), open_to_all).expect("set");
        let store = Store::open_sqlite(directory.path()).await.expect("opened");
        let files: Vec<_> = std::fs::read_dir(directory.path()).expect("readable").collect();
        assert!(files.len() > 1, "the database and what SQLite puts beside it");
        for file in files {
            let file = file.expect("readable");
            let mode = file.metadata().expect("readable").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", file.file_name());
        }
        store.close().await;
    }
}
