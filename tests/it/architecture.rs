//! The arrows between the parts of the house, held by reading the code: who may name whom, and where SQL may stand.
//!
//! The code is read as tokens, so a path counts wherever it stands: in a `use`, in an expression, inside a macro.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Folders of `actors/src` with an actor in them. They meet in the files beside them and through the event log.
const ACTORS: [&str; 7] = ["analytics", "conversation", "keys", "knowledge", "limiter", "log", "webhook"];

/// Who may name an actor's folder from outside all the same.
const MEETINGS: [(&str, &str, &str); 4] = [
    ("log", "conversation", "an event about a message is shown with it"),
    ("answer", "knowledge", "an answerer searches the index's snapshot"),
    ("lib", "*", "the list of modules"),
    ("system", "*", "starts and stops all of them"),
];

/// Serving HTTP is the root package's business. (`awc` is a client: for models and webhooks.)
const SERVERS: [&str; 5] = ["actix_web", "actix_http", "actix_server", "actix_web_actors", "openclaw_server"];

/// Where SQL may stand, beside `sql/` and everything that begins with `writer`.
const SQL_FILES: [&str; 3] = ["sql.rs", "store.rs", "testing.rs"];

/// What a statement begins with.
const SQL_VERBS: [&str; 9] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP", "PRAGMA", "WITH"];

#[test]
fn every_arrow_points_the_right_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    let mut files = 0;
    for folder in ["src", "actors/src"] {
        for path in rust_files(&root.join(folder)) {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            wrong.extend(violations(name, &fs::read_to_string(&path).unwrap()));
            files += 1;
        }
    }
    assert!(files > 40, "only {files} files were found");
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// What stands in backticks and is a path: from the root, or from the folder that the sentence is about.
#[test]
fn every_file_that_the_map_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let named = map.split('`').skip(1).step_by(2).filter(|name| {
        let is_path = name.contains('/') && !name.contains([' ', '(', '{', '…']);
        is_path && (name.ends_with(".rs") || name.ends_with('/'))
    });
    let homes = ["", "actors/src", "actors/src/knowledge", "src", "tests/it"];
    let mut files = 0;
    for name in named {
        let found = homes.iter().any(|home| root.join(home).join(name).exists());
        assert!(found, "ARCHITECTURE.md names {name}, which is nowhere");
        files += 1;
    }
    assert!(files > 30, "only {files} names were found");
}

#[test]
fn a_wrong_arrow_is_seen_wherever_it_stands() {
    for (file, code, seen) in [
        ("actors/src/keys/actor.rs", "use actix_web::web;", "actix_web"),
        ("actors/src/keys/actor.rs", "fn f() { openclaw_server::cli::run(); }", "openclaw_server"),
        ("actors/src/keys/actor.rs", "use crate::{ids::KeyId, knowledge::Index};", "knowledge"),
        ("actors/src/keys/deep/down.rs", "use super::super::super::limiter;", "limiter"),
        ("actors/src/keys/mod.rs", "mod inner { use super::super::webhook::Url; }", "webhook"),
        ("actors/src/keys/mod.rs", "fn f() { on_pool!(s, |p| crate::analytics::sql::read(p)) }", "analytics"),
        ("actors/src/clock.rs", "use crate::conversation::Turn;", "conversation"),
        ("actors/src/answer/grounded.rs", "use crate::conversation::Turn;", "conversation"),
        ("actors/src/keys/ring.rs", r#"const FIND: &str = "  SELECT 1";"#, "SQL"),
        ("src/http/keys.rs", r##"const FIND: &str = r#"DELETE FROM keys"#;"##, "SQL"),
        ("src/http/keys.rs", "use sqlx::FromRow;", "sqlx"),
        ("src/http/keys.rs", "use actix_web_actors::ws;", "actix_web_actors"),
        ("src/telemetry.rs", "use crate::http::routes;", "http"),
        ("src/http/keys.rs", "use crate::cli::run;", "cli"),
    ] {
        let found = violations(file, code);
        assert_eq!(found.len(), 1, "{file}: {code}: {found:?}");
        assert!(found[0].contains(seen), "{file}: {code}: {found:?}");
    }
}

#[test]
fn a_right_arrow_is_let_be() {
    for (file, code) in [
        (
            "actors/src/keys/actor.rs",
            "use super::ring::Ring; use crate::{ids::KeyId, keys::sql, store::Store};",
        ),
        ("actors/src/keys/sql.rs", r#"const FIND: &str = "SELECT 1";"#),
        ("actors/src/keys/tests.rs", r#"const COUNT: &str = "SELECT 1";"#),
        ("actors/src/keys/sql/read.rs", r#"const FIND: &str = "SELECT 1";"#),
        ("actors/src/writer/group.rs", r#"const FIND: &str = "SELECT 1";"#),
        ("actors/src/answer/grounded.rs", "use crate::knowledge::Index; use awc::Client;"),
        ("actors/src/lib.rs", "pub use crate::keys::Key;"),
        ("src/http/ws.rs", "use actix_web_actors::ws;"),
        ("src/http/ws/handshake.rs", "use actix_web_actors::ws;"),
        (
            "src/http/keys.rs",
            "/* use sqlx::Row; */ use actix_web::web; use openclaw_actors::{keys, limiter};",
        ),
        ("src/http/keys.rs", r#"const METHOD: &str = "DELETE"; const SAY: &str = "select one of these";"#),
    ] {
        assert_eq!(violations(file, code), Vec::<String>::new(), "{file}: {code}");
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
    files
}

/// What in the file breaks a rule. `file` is its path from the root of the repository.
fn violations(file: &str, code: &str) -> Vec<String> {
    let tokens: TokenStream = code.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
    let (package, module) = match file.strip_prefix("actors/src/") {
        Some(rest) => ("actors", module_of(rest)),
        None => ("src", module_of(file.strip_prefix("src/").expect("a file of ours"))),
    };
    let mut reading = Reading { module: module.clone(), paths: Vec::new(), statements: Vec::new() };
    reading.tokens(tokens, &[]);

    let mut wrong: Vec<String> = Vec::new();
    let mut blame = |what: String| {
        if !wrong.contains(&what) {
            wrong.push(what);
        }
    };
    for path in &reading.paths {
        let first = path.first().map_or("", String::as_str);
        let second = path.get(1).map_or("", String::as_str);
        if package == "actors" && SERVERS.contains(&first) {
            blame(format!("{file} names {first}: actors know nothing of HTTP servers"));
        }
        if package == "actors" && first == "crate" && ACTORS.contains(&second) && !may_meet(&module, second) {
            blame(format!("{file} names crate::{second}: actors meet in the shared files and the event log"));
        }
        if package == "src" && first == "sqlx" {
            blame(format!("{file} names sqlx: SQL belongs to actors"));
        }
        let is_websocket = file == "src/http/ws.rs" || file.starts_with("src/http/ws/");
        if package == "src" && first == "actix_web_actors" && !is_websocket {
            blame(format!("{file} names actix_web_actors: only src/http/ws.rs and its folder may"));
        }
        if package == "src" && first == "crate" && !may_name(&module, second) {
            blame(format!(
                "{file} names crate::{second}: the command line stands on the server, that on HTTP, and all on telemetry and configuration"
            ));
        }
    }
    if !may_hold_sql(file) {
        for statement in &reading.statements {
            blame(format!("{file} holds SQL: {statement}"));
        }
    }
    wrong
}

fn may_meet(module: &[String], folder: &str) -> bool {
    let from = module.first().map_or("lib", String::as_str);
    from == folder || MEETINGS.iter().any(|&(who, whom, _)| who == from && (whom == "*" || whom == folder))
}

/// From the bottom up: a lower one never names a higher one. HTTP's handlers and the server's parts know each other.
fn may_name(module: &[String], other: &str) -> bool {
    let height = |name: &str| match name {
        "config" | "data" => Some(0),
        "telemetry" => Some(1),
        "http" | "server" | "console" => Some(2),
        "cli" => Some(3),
        _ => None,
    };
    match (module.first().and_then(|module| height(module)), height(other)) {
        (Some(from), Some(to)) => to <= from,
        _ => true,
    }
}

fn may_hold_sql(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    file.starts_with("actors/src/writer")
        || file.starts_with("actors/") && (SQL_FILES.contains(&name) || file.contains("/sql/"))
}

/// `keys/actor.rs` → `keys`, `actor`.
fn module_of(file: &str) -> Vec<String> {
    let parts = file.trim_end_matches(".rs").split('/');
    parts.filter(|part| !["mod", "lib", "main"].contains(part)).map(str::to_owned).collect()
}

struct Reading {
    /// Where the tokens stand.
    module: Vec<String>,
    /// Every path of more than one part, from `crate` or from a package's name.
    paths: Vec<Vec<String>>,
    /// The beginnings of strings that are SQL.
    statements: Vec<String>,
}

impl Reading {
    /// `before` is the path that a group in braces continues: `crate::{ids, keys}`.
    fn tokens(&mut self, tokens: TokenStream, before: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut path = before.to_vec();
        let mut at = 0;
        while at < tokens.len() {
            let follows = is_separator(&tokens[at + 1..]);
            match &tokens[at] {
                TokenTree::Ident(name) => {
                    path.push(name.to_string());
                    if follows {
                        at += 2;
                        self.group_after(&tokens[at + 1..], &path);
                    } else {
                        self.end(&mut path, before);
                    }
                    if name == "mod" {
                        at += self.inline_module(&tokens[at + 1..]);
                    }
                }
                TokenTree::Group(group) => {
                    // After `::` it was read as the end of a path.
                    let continues = path.len() > before.len() && group.delimiter() == Delimiter::Brace;
                    if !continues {
                        self.tokens(group.stream(), &[]);
                    }
                    path = before.to_vec();
                }
                TokenTree::Literal(literal) => self.literal(&literal.to_string()),
                TokenTree::Punct(_) => path = before.to_vec(),
            }
            at += 1;
        }
    }

    fn group_after(&mut self, rest: &[TokenTree], path: &[String]) {
        if let Some(TokenTree::Group(group)) = rest.first()
            && group.delimiter() == Delimiter::Brace
        {
            self.tokens(group.stream(), path);
        }
    }

    /// `mod name { … }`: what is in it stands one deeper. Says how many tokens that took.
    fn inline_module(&mut self, rest: &[TokenTree]) -> usize {
        let [TokenTree::Ident(name), TokenTree::Group(body), ..] = rest else { return 0 };
        self.module.push(name.to_string());
        self.tokens(body.stream(), &[]);
        self.module.pop();
        2
    }

    fn end(&mut self, path: &mut Vec<String>, before: &[String]) {
        let whole = std::mem::replace(path, before.to_vec());
        if whole.len() > 1 {
            self.paths.push(self.absolute(whole));
        }
    }

    /// `super::ring` in `keys::actor` is `crate::keys::ring`.
    fn absolute(&self, path: Vec<String>) -> Vec<String> {
        let ups = path.iter().take_while(|part| *part == "super").count();
        if ups == 0 && path[0] != "self" {
            return path;
        }
        let stays = self.module.len().saturating_sub(ups);
        let rest = path.into_iter().skip_while(|part| part == "super" || part == "self");
        ["crate".to_owned()].into_iter().chain(self.module[..stays].to_vec()).chain(rest).collect()
    }

    fn literal(&mut self, literal: &str) {
        // A test may look into the tables to see what is there.
        if self.module.iter().any(|part| part == "tests") {
            return;
        }
        let text = literal.trim_start_matches(['r', 'b', 'c', '#']).trim_matches(['"', '#']);
        let text = text.replace("\\n", " ");
        let mut words = text.split_whitespace();
        if words.next().is_some_and(|first| SQL_VERBS.contains(&first)) && words.next().is_some() {
            self.statements.push(text.split_whitespace().take(4).collect::<Vec<_>>().join(" "));
        }
    }
}

fn is_separator(tokens: &[TokenTree]) -> bool {
    match tokens {
        [TokenTree::Punct(first), TokenTree::Punct(second), ..] => {
            first.as_char() == ':' && second.as_char() == ':'
        }
        _ => false,
    }
}
