//! A look into the database itself: for what no client can see, or do.

use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use super::Server;

macro_rules! on_store {
    ($server:expr, |$connection:ident| $body:expr) => {{
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            match $server.database_url() {
                Some(url) => {
                    let mut $connection = PgConnection::connect(&url).await.unwrap();
                    $body
                }
                None => {
                    let url = format!("sqlite://{}", $server.data().join("openclaw.db").display());
                    let mut $connection = SqliteConnection::connect(&url).await.unwrap();
                    $body
                }
            }
        })
    }};
}

impl Server {
    /// A number that a query gives.
    pub(crate) fn number(&self, query: &str) -> i64 {
        on_store!(self, |connection| {
            sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await.unwrap()
        })
    }

    /// A text that a query gives in each row.
    pub(crate) fn texts(&self, query: &str) -> Vec<String> {
        on_store!(self, |connection| {
            sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(&mut connection).await.unwrap()
        })
    }

    /// Changes rows behind the server's back.
    pub(crate) fn execute(&self, statement: &str) {
        on_store!(self, |connection| {
            sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
        });
    }
}
