//! What operators do beside the server: look at the configuration, look for what is wrong, back up, migrate.

use std::{
    fs,
    net::TcpListener,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use openclaw_actors::testing::TestPlace;
use serde_json::{Value, json};

use crate::harness::{Client, Organization, Output, Program, Server, eventually, is_postgres, new_place};

/// Runs a command in a place where no server was started.
fn run_in(place: &TestPlace, arguments: &[&str]) -> Output {
    let data = place.directory().join("data");
    let mut all = [arguments, &["--data", data.to_str().unwrap()]].concat();
    let url = place.database_url();
    if let Some(url) = &url {
        all.extend(["--database-url", url]);
    }
    Program::start(&all, &[]).ended()
}

fn run(arguments: &[&str]) -> Output {
    Program::start(arguments, &[]).ended()
}

/// The lines that JSON output consists of.
#[track_caller]
fn data(output: &Output) -> Vec<Value> {
    let printed: Value = serde_json::from_str(&output.out).unwrap_or_else(|_| panic!("{output:?}"));
    printed["data"].as_array().unwrap().clone()
}

/// Insists that the doctor found this wrong, that it says what to do, and that its exit status shows it.
#[track_caller]
fn fails(output: &Output, check: &str, message: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let found = data(output).into_iter().find(|finding| finding["check"] == check);
    let found = found.unwrap_or_else(|| panic!("nothing about {check}: {}", output.out));
    assert_eq!(found["status"], "fail", "{found}");
    assert!(found["message"].as_str().unwrap().contains(message), "{found}");
    assert!(found["advice"].is_string(), "{found}");
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
fn a_backup_taken_while_messages_are_stored_starts_as_a_server_that_has_all_of_them() {
    let mut server = Server::start();
    let org = server.organization();
    let client = org.unlimited(&server);
    let target = server.data().with_file_name("backup");
    let target = target.to_str().unwrap();
    let (stored, is_over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let before = thread::scope(|scope| {
        for writer in 0..4 {
            let (client, stored, is_over) = (client.clone(), &stored, &is_over);
            scope.spawn(move || {
                for number in 0.. {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let text = format!("message {number} of {writer}");
                    let started = client.post("/v1/conversations", json!({ "message": text })).status(201);
                    let id = started["conversation"]["id"].as_str().unwrap().to_owned();
                    stored.lock().unwrap().push((id, text));
                }
            });
        }
        let enough =
            |count: usize| eventually("messages", || (stored.lock().unwrap().len() >= count).then_some(()));
        enough(40);
        let before = stored.lock().unwrap().clone();
        let made = server.run(&["backup", target]);
        let during = stored.lock().unwrap().len();
        enough(during + 4);
        is_over.store(true, Ordering::SeqCst);
        assert!(made.status.success() && made.out.contains(target), "{made:?}");
        assert_eq!(made.out.contains("pg_dump"), is_postgres(), "{made:?}");
        before
    });
    // There, only the data directory is a copy, and a database has one server.
    if is_postgres() {
        server.stop();
    }
    holds(&server, target, &org, &before);
}

/// Starts a server on the copy, at once, and reads everything with the keys that were made on the original.
#[track_caller]
fn holds(original: &Server, copy: &str, org: &Organization, stored: &[(String, String)]) {
    let mut arguments = vec!["serve", "--data", copy, "--listen", "127.0.0.1:0"];
    let url = original.database_url();
    if let Some(url) = &url {
        arguments.extend(["--database-url", url]);
    }
    let program = Program::start(&arguments, &[("OPENCLAW__LIMITS__REQUESTS_PER_MINUTE", "1000000")]);
    let line = program.until("the copy listens", |out| out.ends_with('\n'));
    let address = line.trim_end().strip_prefix("listening on http://").unwrap().parse().unwrap();
    let client = Client::to(address, &org.primary_key);
    for (id, text) in stored {
        let messages = client.get(&format!("/v1/conversations/{id}/messages")).status(200);
        let said = |message: &Value| message["content"] == text.as_str();
        assert!(messages["data"].as_array().unwrap().iter().any(said), "{text}: {}", messages.text());
    }
    Client::to(address, &org.secondary_key)
        .post("/v1/conversations", json!({ "message": "Is anybody there?" }))
        .status(201);
    program.signal("TERM");
    let ended = program.ended();
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn a_backup_overwrites_nothing_and_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let server = Server::start();
    server.organization();
    let target = server.data().with_file_name("backup");
    let made = server.run(&["backup", target.to_str().unwrap(), "--json"]);
    assert!(made.status.success(), "{made:?}");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&target), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&target).unwrap().flatten() {
        assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    let expected: &[&str] = if is_postgres() { &["pepper"] } else { &["openclaw.db", "pepper"] };
    assert_eq!(names, expected, "neither the lock nor the node's name");

    let again = server.run(&["backup", target.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert!(again.err.contains("is not empty"), "{again:?}");
}

#[test]
fn a_backup_of_nothing_makes_nothing() {
    let place = new_place();
    let target = place.directory().join("backup");
    let refused = run_in(&place, &["backup", target.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.err.contains("pepper") && !target.exists(), "{refused:?}");
}

#[test]
fn the_doctor_finds_nothing_wrong_with_a_server_that_runs() {
    let server = Server::start();
    server.organization();
    let address = server.address().to_string();
    let seen = server.run(&["doctor", "--listen", &address, "--json"]);
    assert!(seen.status.success(), "{seen:?}");
    let findings = data(&seen);
    let verdict =
        |check: &str| findings.iter().find(|finding| finding["check"] == check).unwrap()["status"].clone();
    for check in ["configuration", "pepper", "clock", "store", "schema", "store writable", "listen address"] {
        assert_eq!(verdict(check), "ok", "{check}: {findings:#?}");
    }
    assert!(seen.out.contains("an OpenClaw server answers"), "{seen:?}");
    assert_eq!(verdict("model"), "warn", "synthetic answers are for tests");
    let words = server.run(&["doctor", "--listen", &address]);
    assert!(words.out.lines().any(|line| line.starts_with("ok    store ")), "{words:?}");
    server.client().get("/readyz").status(200);
}

#[test]
fn the_doctor_changes_nothing() {
    let place = new_place();
    let data = place.directory().join("data");
    let seen = run_in(&place, &["doctor", "--listen", "127.0.0.1:0"]);
    assert!(is_postgres() || seen.status.success(), "{seen:?}");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
    fs::remove_dir(&data).unwrap();
    run_in(&place, &["doctor", "--listen", "127.0.0.1:0"]);
    assert!(!data.exists());
}

#[test]
fn the_doctor_sees_a_data_directory_that_cannot_be_used() {
    // Nobody can make a file there, not even root.
    let seen = run(&["doctor", "--data", "/proc", "--listen", "127.0.0.1:0", "--json"]);
    fails(&seen, "data directory", "/proc cannot be written");
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let seen = run(&["doctor", "--data", path, "--listen", "127.0.0.1:0", "--json"]);
    fails(&seen, "data directory", "is not a directory");
}

#[test]
fn the_doctor_sees_that_a_stranger_has_the_port() {
    // It takes connections and never says a word.
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stranger.local_addr().unwrap().to_string();
    let place = new_place();
    fails(
        &run_in(&place, &["doctor", "--listen", &address, "--json"]),
        "listen address",
        "no OpenClaw server",
    );
}

#[test]
fn the_doctor_sees_that_the_store_is_away() {
    let place = new_place();
    let data = place.directory().join("data");
    let data = data.to_str().unwrap();
    let url = "postgres://somebody:of-the-password@127.0.0.1:1/nothing";
    let seen = run(&["doctor", "--data", data, "--database-url", url, "--listen", "127.0.0.1:0", "--json"]);
    fails(&seen, "store", "failed to connect to the database");
    assert!(!seen.out.contains("of-the-password"), "{seen:?}");

    let server = Server::start();
    if is_postgres() {
        server.break_store();
        fails(&server.run(&["doctor", "--listen", "127.0.0.1:0", "--json"]), "store", "the store failed to");
        server.mend_store();
    }
}

#[test]
fn the_doctor_sees_a_damaged_database_and_a_lost_pepper() {
    let mut server = Server::start();
    server.organization();
    server.stop();
    let doctor = ["doctor", "--listen", "127.0.0.1:0", "--json"];
    fs::remove_file(server.data().join("pepper")).unwrap();
    fails(&server.run(&doctor), "pepper", "is missing beside a database");
    if is_postgres() {
        return;
    }
    let file = server.data().join("openclaw.db");
    let mut bytes = fs::read(&file).unwrap();
    // The last page: the database still opens, and its tables are not what they say.
    let last = bytes.len() - 4096;
    bytes[last..].fill(0xff);
    fs::write(&file, &bytes).unwrap();
    let seen = server.run(&doctor);
    fails(&seen, "store integrity", "");
    fs::write(&file, "no database at all, but long enough to be read as one").unwrap();
    fails(&server.run(&doctor), "store", "");
}

#[test]
fn the_doctor_sees_settings_that_make_no_sense() {
    let seen = run(&["doctor", "--listen", "0.0.0.0:8080", "--json"]);
    fails(&seen, "configuration", "behind_proxy = true");
}

#[test]
fn migrate_applies_what_its_check_reports() {
    let place = new_place();
    let states = |output: &Output| -> Vec<Value> {
        data(output).into_iter().map(|step| step["state"].clone()).collect()
    };
    let pending = run_in(&place, &["migrate", "--check", "--json"]);
    assert_eq!(pending.status.code(), Some(1), "{pending:?}");
    assert!(states(&pending).len() > 2 && states(&pending).iter().all(|state| state == "pending"));
    assert_eq!(fs::read_dir(place.directory().join("data")).unwrap().count(), 0, "a check makes nothing");
    assert_eq!(run_in(&place, &["migrate", "--check"]).status.code(), Some(1), "nor does it apply anything");

    let applied = run_in(&place, &["migrate", "--json"]);
    assert!(applied.status.success(), "{applied:?}");
    assert!(states(&applied).iter().all(|state| state == "applied"), "{applied:?}");
    let checked = run_in(&place, &["migrate", "--check"]);
    assert!(checked.status.success() && checked.out.contains("applied  0001  core"), "{checked:?}");
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
    let doctor = fs::read_to_string(directory.join("openclaw-server-doctor.1")).unwrap();
    assert!(doctor.contains("exit status"), "a page says more than one line: {doctor}");
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
