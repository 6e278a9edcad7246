//! The certificate: usable, and for how long?

use std::{io, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::finding::Finding;
use crate::{config::TlsFiles, server::Loaded};

const CHECK: &str = "certificate";

pub(super) fn examine(files: Option<&TlsFiles>) -> Option<Finding> {
    let loaded = match Loaded::read(files?) {
        Ok(loaded) => loaded,
        Err(error) => {
            return Some(Finding::fail(CHECK, error.to_string()).advise(
                "name the full chain and its private key, both in PEM, in server.tls.certificate and server.tls.key",
            ));
        }
    };
    let days = |left: Duration| left.as_secs() / 86_400;
    Some(match loaded.left() {
        None => Finding::fail(CHECK, "it has ended, so clients refuse this server")
            .advise("renew it; the running server takes the new files by itself"),
        Some(left) if loaded.ends_soon() => Finding::warn(CHECK, format!("it ends in {} days", days(left)))
            .advise("look why it was not renewed; the running server takes the new files by itself"),
        Some(left) => Finding::ok(CHECK, format!("it is good for {} more days", days(left))),
    })
}

/// A client's TLS that trusts the certificate in our files and no other, whatever name it bears: for asking on this
/// machine whether what listens is our own server.
pub(super) fn trusting(files: &TlsFiles) -> io::Result<Arc<ClientConfig>> {
    let own = Loaded::read(files).map_err(io::Error::other)?.own;
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Only { own, provider }))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Only {
    own: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *shown == self.own {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General("it shows another certificate".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, shown, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, shown, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
