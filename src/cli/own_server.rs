//! The server that these very settings start, as it is asked on its own machine.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use actix_web::http::StatusCode;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{config::TlsFiles, server::Loaded};

/// A server of ours answers this at once, however busy it is.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// What a server of ours answers there. Each answer of ours bears a name that we gave it.
pub(super) async fn ask(address: SocketAddr, tls: Option<&TlsFiles>, path: &str) -> Option<StatusCode> {
    let client = awc::Client::builder().timeout(ANSWERED_WITHIN).disable_redirects();
    let (client, scheme) = match tls {
        None => (client.finish(), "http"),
        Some(files) => {
            let connector = awc::Connector::new().rustls_0_23(trusting(files).ok()?);
            (client.connector(connector).finish(), "https")
        }
    };
    let address = SocketAddr::new(reachable(address.ip()), address.port());
    let url = format!("{scheme}://{address}{path}");
    let answer = client.get(url).send().await.ok()?;
    let name = answer.headers().get("x-request-id")?;
    name.as_bytes().starts_with(b"req_").then(|| answer.status())
}

/// Who listens on every address is asked on this machine's own.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

/// A client's TLS that trusts the certificate in our files and no other, whatever name it bears: for asking on this
/// machine whether what listens is our own server.
fn trusting(files: &TlsFiles) -> io::Result<Arc<ClientConfig>> {
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
