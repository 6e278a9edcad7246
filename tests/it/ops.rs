//! What operators do beside the server: look at the configuration, look for what is wrong, back up, migrate.

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

#[test]
fn completions_are_there_for_every_shell() {
    for (shell, sign) in
        [("bash", "complete -F"), ("zsh", "#compdef openclaw-server"), ("fish", "complete -c")]
    {
        let script = run(&["completions", shell]);
        assert!(script.status.success() && script.out.contains(sign), "{shell}: {script:?}");
        assert!(script.out.contains("rotate"), "{shell} knows the commands of commands");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("man/man1");
    assert!(run(&["man", directory.to_str().unwrap()]).status.success());
    let mut commands = vec![Vec::new()];
    let mut pages = 0;
    while let Some(command) = commands.pop() {
        let name: String = [vec!["openclaw-server".to_owned()], command.clone()].concat().join("-");
        let page = fs::read_to_string(directory.join(format!("{name}.1"))).expect(&name);
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}: {page}");
        pages += 1;
        commands
            .extend(subcommands(&command).into_iter().map(|inner| [command.clone(), vec![inner]].concat()));
    }
    assert!(pages > 15, "only {pages} pages");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), pages, "and nothing else has");
}

/// As `--help` lists them.
fn subcommands(command: &[String]) -> Vec<String> {
    let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
    let help = run(&arguments).out;
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}
