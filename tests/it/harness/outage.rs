//! A PostgreSQL database that is away while its server goes on serving the databases of other tests.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Nobody is let in any more, and whoever is in is thrown out.
pub(super) fn begin(database_url: &str) {
    let name = name_in(database_url);
    administer(&[
        format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
    ]);
}

pub(super) fn end(database_url: &str) {
    administer(&[format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", name_in(database_url))]);
}

fn name_in(database_url: &str) -> &str {
    let path = database_url.split('?').next().unwrap();
    path.rsplit('/').next().unwrap()
}

fn administer(statements: &[String]) {
    let url = std::env::var("OPENCLAW_TEST_POSTGRES_URL").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut admin = PgConnection::connect(&url).await.unwrap();
        for statement in statements {
            sqlx::query(AssertSqlSafe(statement.clone())).execute(&mut admin).await.unwrap();
        }
        admin.close().await.unwrap();
    });
}
