//! A real proxy as the upstream: LiteLLM from PyPI, with a model of its own that needs no network.
//!
//! Opt-in, because it installs a hundred packages: `OPENCLAW_TEST_LITELLM=1 cargo test --test it -- litellm`.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::json;

use crate::{
    harness::{Server, eventually},
    upstream::{QUESTION, ask, content, stock},
};

const MODEL: &str = "
model_list:
  - model_name: mock
    litellm_params:
      model: openai/mock
      api_key: none
      mock_response: 'You get a link by e-mail [1]. Zoë says hello.'
general_settings:
  master_key: sk-litellm-test
";

struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn install(place: &Path) {
    let venv = place.join("venv");
    let venv = venv.to_str().unwrap();
    let has_uv = Command::new("uv").arg("--version").output().is_ok_and(|output| output.status.success());
    if has_uv {
        run("uv", &["venv", "--quiet", venv]);
        run(
            "uv",
            &["pip", "install", "--quiet", "--python", &format!("{venv}/bin/python"), "litellm[proxy]"],
        );
    } else {
        run("python3", &["-m", "venv", venv]);
        run(format!("{venv}/bin/pip"), &["install", "--quiet", "litellm[proxy]"]);
    }
}

#[test]
fn litellms_proxy_is_an_upstream_like_any_other() {
    if std::env::var_os("OPENCLAW_TEST_LITELLM").is_none_or(|value| value != "1") {
        println!("skipped: set OPENCLAW_TEST_LITELLM=1 to install LiteLLM's proxy from PyPI and ask it");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    install(place.path());
    let config = place.path().join("config.yaml");
    fs::write(&config, MODEL).unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let log = fs::File::create(place.path().join("log")).unwrap();
    let mut proxy = Proxy(
        Command::new(place.path().join("venv/bin/litellm"))
            .args([
                "--config",
                config.to_str().unwrap(),
                "--host",
                "127.0.0.1",
                "--port",
                &address.port().to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap(),
    );
    eventually("the proxy listens", || {
        assert!(
            proxy.0.try_wait().unwrap().is_none(),
            "{}",
            fs::read_to_string(place.path().join("log")).unwrap()
        );
        TcpStream::connect(address).ok()
    });

    let url = format!("http://{address}/v1");
    let server = Server::with(&[
        ("model.providers", "openai"),
        ("model.openai.base_url", &url),
        ("model.openai.api_key", "sk-litellm-test"),
        ("model.openai.model", "mock"),
    ]);
    let org = server.organization();
    stock(&org);
    let answer = ask(&org, QUESTION);
    assert_eq!(content(&answer), "You get a link by e-mail. Zoë says hello.", "{}", answer.text());
    assert_eq!((&answer["turn"]["outcome"], &answer["turn"]["model"]), (&json!("answered"), &json!("mock")));
    assert_eq!(answer["reply"]["citations"][0]["title"], "Where is my parcel?");
    assert!(answer["turn"]["usage"]["prompt_tokens"].as_u64().unwrap() > 0);
    let doctor = server.run(&["doctor", "--listen", "127.0.0.1:0"]);
    assert!(doctor.out.contains("has mock"), "{doctor:?}");
}
