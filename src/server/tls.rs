//! TLS of our own: certificate files that are read again when they change.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::config::TlsFiles;

/// How often the files are looked at. A certificate is renewed weeks before it ends, so this is for whoever watches.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Renewal is usually due a month before the end: this late, it has failed.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 3_600);

/// The certificate cannot be used; says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, may not be read, or holds something else.
    #[error("{file} cannot be used: {reason}")]
    File {
        /// Which of the two.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Each is well, but they do not belong together.
    #[error("the key in {key} is not the one of the certificate in {certificate}: {reason}")]
    Pair {
        /// `server.tls.certificate`
        certificate: PathBuf,
        /// `server.tls.key`
        key: PathBuf,
        /// What rustls says.
        reason: rustls::Error,
    },
}

/// A certificate with its key, as the two files hold them.
#[derive(Debug)]
pub struct Loaded {
    key: Arc<CertifiedKey>,
    /// The server's own certificate, the first of the chain.
    pub own: CertificateDer<'static>,
    /// When it ends.
    pub ends_at: SystemTime,
}

impl Loaded {
    /// Reads both files.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let chain = certificates(&files.certificate)?;
        let Some(own) = chain.first().cloned() else {
            return Err(unusable(&files.certificate, "it holds no certificate in PEM".to_owned()));
        };
        let ends_at = end_of(&own).map_err(|reason| unusable(&files.certificate, reason))?;
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|error| unusable(&files.key, format!("no private key in PEM ({error})")))?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|reason| TlsError::Pair {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            reason,
        })?;
        Ok(Self { key: Arc::new(key), own, ends_at })
    }

    /// How long the certificate is still good for; none if it has ended.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.ends_at.duration_since(SystemTime::now()).ok().filter(|left| !left.is_zero())
    }

    /// Its renewal seems to have failed.
    #[must_use]
    pub fn ends_soon(&self) -> bool {
        self.left().is_none_or(|left| left < ENDS_SOON)
    }
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// The chain, the server's own first.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|error| unusable(file, format!("no certificates in PEM ({error})")))
}

fn end_of(certificate: &CertificateDer<'_>) -> Result<SystemTime, String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn unusable(file: &Path, reason: String) -> TlsError {
    TlsError::File { file: file.to_owned(), reason }
}

/// The certificate in force. New connections get the newest that could be read, open ones keep theirs.
#[derive(Debug)]
pub(super) struct Certificates {
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificates {
    pub(super) fn open(files: &TlsFiles) -> Result<Arc<Self>, TlsError> {
        let loaded = Loaded::read(files)?;
        say_when_it_ends(&loaded);
        Ok(Arc::new(Self { files: files.clone(), current: RwLock::new(loaded.key) }))
    }

    /// What new connections shake hands with.
    pub(super) fn acceptor(self: &Arc<Self>) -> io::Result<TlsAcceptor> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files whenever they have changed. What cannot be used, half a file for instance, changes nothing, and
    /// is looked at again when it changes again.
    pub(super) async fn keep_current(self: Arc<Self>) {
        let mut seen = self.state();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.state();
            if now == seen {
                continue;
            }
            match Loaded::read(&self.files) {
                Ok(loaded) => {
                    say_when_it_ends(&loaded);
                    info!("the certificate was read anew; new connections use it");
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded.key;
                }
                Err(error) => {
                    warn!(%error, "the certificate has changed and is of no use; the old one stays")
                }
            }
            seen = now;
        }
    }

    /// What tells that a file was written or replaced.
    fn state(&self) -> [Option<(SystemTime, u64)>; 2] {
        [&self.files.certificate, &self.files.key].map(|file| {
            let found = fs::metadata(file).ok()?;
            Some((found.modified().ok()?, found.len()))
        })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn say_when_it_ends(loaded: &Loaded) {
    let days = |left: Duration| left.as_secs() / 86_400;
    match loaded.left() {
        None => warn!("the certificate has ended: clients will refuse this server"),
        Some(left) if loaded.ends_soon() => warn!(days = days(left), "the certificate ends soon"),
        Some(_) => {}
    }
}
