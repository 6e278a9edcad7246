//! Certificates of an authority of the test's own, and clients that trust nobody else.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::copy_bidirectional, net::TcpListener as AsyncListener, net::TcpStream as AsyncStream, runtime,
};
use tokio_rustls::TlsConnector;

use super::{Client, PATIENCE};

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    own: CertificateDer<'static>,
    pem: String,
}

/// How long a certificate is good for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Good {
    ForYears,
    NoLonger,
}

/// The files of a certificate.
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Files {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self { certificate: folder.join("chain.pem"), key: folder.join("key.pem") }
    }

    /// As settings of a server.
    pub(crate) fn settings(&self) -> [(&'static str, String); 2] {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        [("server.tls.certificate", text(&self.certificate)), ("server.tls.key", text(&self.key))]
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        let (own, pem) = (own.der().clone(), own.pem());
        Self { issuer: Issuer::new(params, key), own, pem }
    }

    /// Writes its own certificate: what a client is to trust.
    pub(crate) fn write(&self, file: &Path) {
        fs::write(file, &self.pem).unwrap();
    }

    /// Writes a new certificate for `localhost`, with its key.
    pub(crate) fn issue(&self, files: &Files, good: Good) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        if matches!(good, Good::NoLonger) {
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(&files.certificate, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
    }

    /// A client's TLS that trusts this authority alone.
    fn trusted(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.own.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }

    /// The certificate that a new connection is shown, if it is one of this authority's.
    pub(crate) fn shown_by(&self, server: SocketAddr) -> Result<CertificateDer<'static>, rustls::Error> {
        let name = ServerName::try_from("localhost").unwrap();
        let config = self.trusted(&[&rustls::version::TLS13]);
        let mut client = rustls::ClientConnection::new(config, name).unwrap();
        let mut socket = std::net::TcpStream::connect(server).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        while client.is_handshaking() {
            if let Err(error) = client.complete_io(&mut socket) {
                return Err(rustls::Error::General(error.to_string()));
            }
        }
        Ok(client.peer_certificates().unwrap()[0].clone())
    }

    /// A client of the server behind `address`, whose connections speak TLS in one of these versions.
    pub(crate) fn client(
        &self,
        server: SocketAddr,
        key: &str,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Client {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let connector = TlsConnector::from(self.trusted(versions));
        // Ends with the process.
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = AsyncListener::from_std(listener).unwrap();
                loop {
                    let (mut near, _) = listener.accept().await.unwrap();
                    let connector = connector.clone();
                    tokio::spawn(async move {
                        let name = ServerName::try_from("localhost").unwrap();
                        let far = AsyncStream::connect(server).await.unwrap();
                        // A server that is not trusted ends the client's connection.
                        if let Ok(mut far) = connector.connect(name, far).await {
                            let _ = copy_bidirectional(&mut near, &mut far).await;
                        }
                    });
                }
            });
        });
        Client::to(address, key)
    }
}
