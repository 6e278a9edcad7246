//! TLS towards other servers: models, webhooks, another server of ours.

use std::{io, path::Path, sync::Arc};

use rustls::pki_types::{CertificateDer, pem::PemObject};

/// A client's TLS that trusts what the machine trusts.
///
/// Ours because awc's own panics on a machine without certificates, even when it is asked for plain HTTP.
///
/// # Errors
/// The machine has no certificates to trust.
pub fn trusting_the_machine() -> io::Result<Arc<rustls::ClientConfig>> {
    Trust::default().tls()
}

/// Whom to trust beside what the machine trusts. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Trust(Arc<[CertificateDer<'static>]>);

impl Trust {
    /// The certificate authorities in a file, as PEM.
    ///
    /// # Errors
    /// It cannot be read, or holds none that can be used.
    pub fn read(file: &Path) -> io::Result<Self> {
        let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let found = found.map_err(|error| io::Error::other(format!("{}: {error}", file.display())))?;
        let mut roots = rustls::RootCertStore::empty();
        match roots.add_parsable_certificates(found.iter().cloned()) {
            (1.., 0) => Ok(Self(found.into())),
            _ => Err(io::Error::other(format!(
                "{} must hold the certificates of authorities, as PEM, and nothing else",
                file.display()
            ))),
        }
    }

    /// A client's TLS that trusts the machine's authorities and these.
    ///
    /// # Errors
    /// There is nobody to trust.
    pub fn tls(&self) -> io::Result<Arc<rustls::ClientConfig>> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        roots.add_parsable_certificates(self.0.iter().cloned());
        if roots.is_empty() {
            return Err(io::Error::other(
                "this machine has no certificates to trust: install ca-certificates",
            ));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
    }
}
