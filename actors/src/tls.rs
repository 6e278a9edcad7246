//! TLS towards other servers: models, webhooks, another server of ours.

use std::{io, sync::Arc};

/// A client's TLS that trusts what the machine trusts.
///
/// Ours because awc's own panics on a machine without certificates, even when it is asked for plain HTTP.
///
/// # Errors
/// The machine has no certificates to trust.
pub fn trusting_the_machine() -> io::Result<Arc<rustls::ClientConfig>> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = rustls::RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(found.certs);
    if trusted == 0 {
        return Err(io::Error::other("this machine has no certificates to trust: install ca-certificates"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
