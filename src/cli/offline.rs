//! A command that opens the store itself, beside a running server or without one.

use openclaw_actors::{
    ids::RequestId,
    keys::{KeyRing, Pepper},
    organization::Organizations,
    store::Store,
    writer::Writer,
};

use super::settings::Settings;
use crate::{config::Config, data::DataDirectory};

/// What a command works with.
pub(super) struct Offline {
    pub(super) config: Config,
    pub(super) data: DataDirectory,
    pub(super) store: Store,
    pub(super) writer: Writer,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Offline {
    /// Needs a running actix system.
    pub(super) async fn open(settings: Settings) -> Result<Self, Failure> {
        let config = settings.load()?;
        let data = DataDirectory::open(&config.store.data)?;
        let store = match &config.store.database_url {
            Some(url) => Store::connect_postgres(url.expose()).await?,
            None => Store::open_sqlite(data.path()).await?,
        };
        // A server may hold the directory's own name.
        let node = RequestId::generate().to_string().replace(RequestId::PREFIX, "command_");
        let writer = Writer::start(&store, &node).await?;
        Ok(Self { config, data, store, writer })
    }

    pub(super) async fn keys(&self) -> Result<KeyRing, Failure> {
        let pepper = Pepper::open(self.data.path())?;
        let quota = self.config.limits.requests_per_minute;
        Ok(KeyRing::open(&self.store, &self.writer, pepper, quota).await?)
    }

    pub(super) fn organizations(&self) -> Organizations {
        Organizations::new(&self.store, &self.writer)
    }

    pub(super) async fn close(self) {
        self.writer.close().await;
        self.store.close().await;
    }
}
