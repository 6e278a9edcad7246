//! What operators ask the database itself.

use std::path::Path;

use sqlx::SqlitePool;

use super::{Store, schema::AppliedStep};
use crate::{on_pool, position::Position};

/// More of it would say nothing new.
const DAMAGE_SHOWN: usize = 5;

/// In a database that was never migrated there are none.
pub(super) async fn applied_steps(store: &Store) -> Result<Vec<AppliedStep>, sqlx::Error> {
    const IS_THERE_SQLITE: &str = "SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'";
    const IS_THERE_POSTGRES: &str =
        "SELECT count(*) FROM pg_class WHERE oid = to_regclass('_sqlx_migrations')";
    const APPLIED: &str = "SELECT version, checksum FROM _sqlx_migrations ORDER BY version";
    let tables: i64 = match store {
        Store::Sqlite { pool, .. } => sqlx::query_scalar(IS_THERE_SQLITE).fetch_one(pool).await?,
        Store::Postgres { pool, .. } => sqlx::query_scalar(IS_THERE_POSTGRES).fetch_one(pool).await?,
    };
    if tables == 0 {
        return Ok(Vec::new());
    }
    on_pool!(store, |pool| sqlx::query_as(APPLIED).fetch_all(pool).await)
}

/// Takes the right to write and gives it back.
pub(super) async fn check_writable(store: &Store) -> Result<(), sqlx::Error> {
    const REFUSED: &str = "
        SELECT CASE WHEN pg_is_in_recovery() THEN 'it is a replica'
                    WHEN current_setting('transaction_read_only') = 'on' THEN 'it is read-only' END";
    match store {
        Store::Sqlite { pool, .. } => pool.begin_with("BEGIN IMMEDIATE").await?.rollback().await,
        Store::Postgres { pool, .. } => {
            let refused: Option<String> = sqlx::query_scalar(REFUSED).fetch_one(pool).await?;
            refused.map_or(Ok(()), |reason| Err(sqlx::Error::Protocol(reason)))
        }
    }
}

pub(super) async fn damage(pool: &SqlitePool) -> Result<Vec<String>, sqlx::Error> {
    // Every page is read; unlike `integrity_check` it does not look up each row in each index, which takes minutes.
    let said: Vec<String> = sqlx::query_scalar("PRAGMA quick_check").fetch_all(pool).await?;
    Ok(said.into_iter().filter(|line| line != "ok").take(DAMAGE_SHOWN).collect())
}

/// Brings everything in the write-ahead log into the database and leaves the log empty; says whether nobody was in the
/// way.
pub(super) async fn empty_log(pool: &SqlitePool) -> Result<bool, sqlx::Error> {
    let (busy, _, _): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(pool).await?;
    Ok(busy == 0)
}

/// One transaction reads everything, so the copy is of one moment. It holds neither free pages nor a log.
pub(super) async fn copy(pool: &SqlitePool, file: &Path) -> Result<(), sqlx::Error> {
    let name = file.to_str().ok_or_else(|| sqlx::Error::Protocol("the path is not UTF-8".to_owned()))?;
    sqlx::query("VACUUM INTO $1").bind(name).execute(pool).await.map(drop)
}

/// The last position of each writer.
pub(super) async fn heads(store: &Store) -> Result<Position, sqlx::Error> {
    const SELECT: &str = "SELECT id, position FROM writers";
    let rows: Vec<(i64, i64)> = on_pool!(store, |pool| sqlx::query_as(SELECT).fetch_all(pool).await)?;
    Ok(rows.into_iter().collect())
}
