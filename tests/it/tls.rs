//! TLS that ends at the server itself.

use std::{fs, io::Read, net::TcpStream};

use rustls::version::{TLS12, TLS13};
use serde_json::json;

use crate::harness::{
    Output, PATIENCE, Program, Server, eventually,
    tls::{Authority, Files, Good},
};

fn serve(files: &Files) -> Server {
    let settings = files.settings();
    Server::with(&settings.each_ref().map(|(key, value)| (*key, value.as_str())))
}

#[test]
fn a_client_that_trusts_the_certificate_gets_answers_and_streams() {
    let place = tempfile::tempdir().unwrap();
    let (authority, files) = (Authority::new(), Files::in_folder(place.path()));
    authority.issue(&files, Good::ForYears);
    let mut server = serve(&files);
    let key = server.organization().primary_key;
    for version in [&TLS12, &TLS13] {
        let client = authority.client(server.address(), &key, &[version]);
        let begun = client.post("/v1/conversations", json!({ "message": "Where is my parcel?" })).status(201);
        assert_eq!(begun["turn"]["status"], "completed");
        let path = format!("/v1/conversations/{}/messages", begun["conversation"]["id"].as_str().unwrap());
        let long = json!({ "content": "And?", "stream": true, "synthetic": { "tokens": 2_000, "tokens_per_second": 0 } });
        let events: Vec<_> = client.request("POST", &path).json(&long).stream().collect();
        assert_eq!(events.last().unwrap().kind, "turn.completed", "{version:?}");
        // More than one TLS record, joined in order.
        let text: String = events.iter().filter_map(|event| event.data["text"].as_str()).collect();
        let sent = events.iter().find(|event| event.kind == "message.sent").unwrap();
        assert_eq!(sent.data["data"]["message"]["content"], text, "{version:?}");
    }
    // In the clear nothing is answered, and nobody else's certificate is taken for ours.
    assert!(server.client_with(&key).request("GET", "/v1/keys").try_send().is_err());
    assert!(Authority::new().shown_by(server.address()).is_err());
    assert!(server.stop().success());
}

#[test]
fn whoever_never_shakes_hands_is_let_go() {
    let place = tempfile::tempdir().unwrap();
    let (authority, files) = (Authority::new(), Files::in_folder(place.path()));
    authority.issue(&files, Good::ForYears);
    let server = serve(&files);
    let mut silent = TcpStream::connect(server.address()).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0, "the server hangs up");
}

#[test]
fn a_renewed_certificate_is_used_without_a_restart_and_half_a_file_is_not() {
    let place = tempfile::tempdir().unwrap();
    let (authority, files) = (Authority::new(), Files::in_folder(place.path()));
    authority.issue(&files, Good::ForYears);
    let server = serve(&files);
    let key = server.organization().primary_key;
    let client = authority.client(server.address(), &key, &[&TLS13]);
    let begun = client.post("/v1/conversations", json!({})).status(201);
    let path = format!("/v1/conversations/{}", begun["conversation"]["id"].as_str().unwrap());
    let mut open = client.stream(&format!("{path}/stream"));
    let first = authority.shown_by(server.address()).unwrap();

    fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
    eventually("the server says that the file is of no use", || {
        server.log().contains("of no use").then_some(())
    });
    assert_eq!(authority.shown_by(server.address()).unwrap(), first);

    authority.issue(&files, Good::ForYears);
    let second = eventually("the new certificate is shown", || {
        authority.shown_by(server.address()).ok().filter(|shown| *shown != first)
    });
    assert_ne!(second, first);
    // What was open before goes on.
    client.post(&format!("{path}/messages"), json!({ "content": "Still there?" })).status(200);
    assert_eq!(open.expect().kind, "message.received");
}

#[test]
fn files_that_cannot_serve_stop_the_start_and_are_named() {
    let place = tempfile::tempdir().unwrap();
    let (authority, files) = (Authority::new(), Files::in_folder(place.path()));
    let start = || -> Output {
        let data = place.path().join("data");
        let settings = files
            .settings()
            .map(|(key, value)| (format!("OPENCLAW__{}", key.to_uppercase().replace('.', "__")), value));
        let variables = settings.each_ref().map(|(key, value)| (key.as_str(), value.as_str()));
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
        Program::start(&arguments, &variables).ended()
    };
    let refused = |named: &str| {
        let output = start();
        assert!(!output.status.success(), "{output:?}");
        assert!(output.err.contains(named), "{named}: {}", output.err);
    };
    refused("chain.pem");
    authority.issue(&files, Good::ForYears);
    let key = fs::read(&files.key).unwrap();
    fs::write(&files.key, "no key").unwrap();
    refused("key.pem");
    authority.issue(&files, Good::ForYears);
    fs::write(&files.key, key).unwrap();
    refused("is not the one of the certificate");
}

#[test]
fn the_doctor_looks_at_the_certificate_and_knows_its_own_server() {
    let place = tempfile::tempdir().unwrap();
    let (authority, files) = (Authority::new(), Files::in_folder(place.path()));
    authority.issue(&files, Good::ForYears);
    let server = serve(&files);
    let address = server.address().to_string();
    let doctor = || server.run(&["doctor", "--listen", &address]).out;
    let said = doctor();
    assert!(said.contains("ok    certificate     it is good for"), "{said}");
    assert!(said.contains(&format!("an OpenClaw server answers on {address}")), "{said}");
    authority.issue(&files, Good::NoLonger);
    let said = doctor();
    assert!(said.contains("fail  certificate     it has ended"), "{said}");
    fs::remove_file(&files.key).unwrap();
    assert!(doctor().contains("key.pem cannot be used"));
}
