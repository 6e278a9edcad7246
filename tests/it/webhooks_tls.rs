//! TLS towards endpoints: whoever is vouched for by an authority that the operator trusts, under its own name, and nobody
//! else.

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use serde_json::json;

use crate::harness::{Organization, Program, nameserver::Nameserver, webhook::server};

/// A certificate authority that nobody knows.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes its certificate down.
    fn file(&self, directory: &Path) -> String {
        let file = directory.join("authority.pem");
        fs::write(&file, self.0.pem()).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

/// A receiver that proves to be of that name, and takes everything. Ends with the process.
struct Receiver {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Receiver {
    fn named(name: &str, authority: &Authority) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority.0).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let (config, asked) = (Arc::new(config), Arc::new(AtomicUsize::new(0)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let counted = Arc::clone(&asked);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (config, asked) = (Arc::clone(&config), Arc::clone(&counted));
                thread::spawn(move || {
                    let connection = ServerConnection::new(config).unwrap();
                    serve(StreamOwned::new(connection, socket), &asked);
                });
            }
        });
        Self { address, asked }
    }

    fn times(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Answers once a request is there; what breaks off is not counted.
fn serve(mut stream: StreamOwned<ServerConnection, TcpStream>, asked: &AtomicUsize) {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        request.extend_from_slice(&piece[..length]);
        // A body is a JSON object.
        if request.ends_with(b"}") {
            asked.fetch_add(1, Ordering::SeqCst);
            request.clear();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    }
}

fn error_of_a_test(org: &Organization, url: &str) -> serde_json::Value {
    let made = org.post("/v1/webhooks", json!({"url": url})).status(201);
    let path = format!("/v1/webhooks/{}/test", made["webhook"]["id"].as_str().unwrap());
    let tested = org.post(&path, json!({})).status(200);
    assert_eq!(tested["timings"]["tls_ms"].is_number(), tested["error"].is_null(), "{}", tested.text());
    tested["error"].clone()
}

#[test]
fn an_authority_of_the_operators_own_vouches_for_a_receiver_under_its_name_alone() {
    let authority = Authority::new();
    let (good, other) =
        (Receiver::named("hooks.example", &authority), Receiver::named("other.example", &authority));
    let stranger = Receiver::named("hooks.example", &Authority::new());
    let nameserver = Nameserver::by(|_, _| Some(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]));
    let mut server =
        server(&[("webhooks.nameservers", &nameserver.address()), ("webhooks.allow_http", "false")]);
    let url = |receiver: &Receiver| format!("https://hooks.example:{}/", receiver.address.port());
    let org = server.organization();
    for receiver in [&good, &other, &stranger] {
        assert_eq!(error_of_a_test(&org, &url(receiver)), "tls_failed", "the machine trusts none of them");
    }
    let file = authority.file(&server.data());
    server.restart_with(&[("webhooks.ca_file", &file)]);
    assert_eq!(error_of_a_test(&org, &url(&good)), json!(null));
    assert_eq!(error_of_a_test(&org, &url(&other)), "tls_failed", "it has another name");
    assert_eq!(error_of_a_test(&org, &url(&stranger)), "tls_failed", "another authority vouches for it");
    let by_number = format!("https://127.0.0.1:{}/", good.address.port());
    assert_eq!(error_of_a_test(&org, &by_number), "tls_failed", "it is called by no name");
    assert_eq!((good.times(), other.times(), stranger.times()), (1, 0, 0));
    // The queue has a client of its own.
    let filter = json!({"url": url(&good), "events": ["conversation.started"]});
    org.post("/v1/webhooks", filter).status(201);
    org.post("/v1/conversations", json!({})).status(201);
    crate::harness::eventually("it is told", || (good.times() >= 2).then_some(()));
}

#[test]
fn a_file_of_authorities_that_holds_none_keeps_the_server_from_starting_and_says_so() {
    let place = crate::harness::new_place();
    let file = place.directory().join("authority.pem");
    let data = place.directory().join("data");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let variable = ("OPENCLAW__WEBHOOKS__CA_FILE", file.to_str().unwrap());
    for text in [
        None,
        Some(""),
        Some("nonsense"),
        Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    ] {
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        }
        let ended = Program::start(&arguments, &[variable]).ended();
        assert!(!ended.status.success());
        assert!(
            ended.err.contains("webhooks.ca_file") && ended.err.contains("authority.pem"),
            "{}",
            ended.err
        );
    }
}
