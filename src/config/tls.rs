//! `[server.tls]`

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// A certificate with its key. Without them, TLS ends at a proxy.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The chain in PEM, the server's own certificate first. Read again when it changes.
    pub certificate: Option<PathBuf>,
    /// Its private key in PEM.
    pub key: Option<PathBuf>,
}

/// Both files, named.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// `server.tls.certificate`
    pub certificate: PathBuf,
    /// `server.tls.key`
    pub key: PathBuf,
}

impl Tls {
    /// The files, if TLS ends here.
    #[must_use]
    pub fn files(&self) -> Option<TlsFiles> {
        let (certificate, key) = (self.certificate.clone()?, self.key.clone()?);
        Some(TlsFiles { certificate, key })
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let lone = |key: &'static str, other: &str| {
            Err(ConfigError::Senseless { key, reason: format!("it is of no use without {other}") })
        };
        match (&self.certificate, &self.key) {
            (Some(_), None) => lone("server.tls.certificate", "server.tls.key"),
            (None, Some(_)) => lone("server.tls.key", "server.tls.certificate"),
            _ => Ok(()),
        }
    }
}
