//! What operators do beside the server: look at the configuration.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Output, Program};

fn run(arguments: &[&str]) -> Output {
    Program::start(arguments, &[]).ended()
}

/// The lines that JSON output consists of.
#[track_caller]
fn data(output: &Output) -> Vec<Value> {
    let printed: Value = serde_json::from_str(&output.out).unwrap_or_else(|_| panic!("{output:?}"));
    printed["data"].as_array().unwrap().clone()
}

#[test]
fn config_says_where_each_value_came_from() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("settings.toml");
    fs::write(
        &file,
        "[limits]\nstreams_per_key = 7\nrunning_turns = 8\n[server]\nadmin_token = 'of the file, and long'\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let arguments =
        ["config", "--config", file, "--data", "/of/the/flag", "--listen", "127.0.0.1:9", "--json"];
    let variables = [("OPENCLAW__LIMITS__RUNNING_TURNS", "9"), ("OPENCLAW__SERVER__LISTEN", "127.0.0.1:8")];
    let shown = data(&Program::start(&arguments, &variables).ended());
    for expected in [
        json!({ "key": "limits.streams_per_key", "value": 7, "source": "file", "name": file }),
        json!({ "key": "limits.running_turns", "value": 9, "source": "environment",
            "name": "OPENCLAW__LIMITS__RUNNING_TURNS" }),
        json!({ "key": "store.data", "value": "/of/the/flag", "source": "flag" }),
        json!({ "key": "server.listen", "value": "127.0.0.1:9", "source": "flag" }),
        json!({ "key": "server.admin_token", "value": "(set)", "source": "file", "name": file }),
        json!({ "key": "server.public_url", "value": null, "source": "default" }),
        json!({ "key": "model.synthetic.tokens", "value": 50, "source": "default" }),
    ] {
        assert!(shown.contains(&expected), "{expected} is not in {shown:#?}");
    }

    let words = Program::start(&arguments[..arguments.len() - 1], &variables).ended().out;
    assert!(
        words.lines().any(|line| line.starts_with("limits.streams_per_key = 7 ") && line.ends_with(file))
    );
    // It can be used as a file again.
    let again = place.path().join("again.toml");
    fs::write(&again, words.replace("server.admin_token", "# ")).unwrap();
    let read = run(&["config", "--config", again.to_str().unwrap()]);
    assert!(read.status.success(), "{read:?}");
}
