//! Looking for a text wherever a server could have left it.

use std::{fs, path::Path};

use super::{Client, Server, is_postgres};

/// Bytes before and after what was found that are shown.
const AROUND: usize = 200;

impl Server {
    /// Where the text still stands: files of the data directory, byte by byte, and on PostgreSQL tables, row by row.
    /// The server has stopped.
    pub(crate) fn places_of(&self, text: &str) -> Vec<String> {
        let mut found = files_with(&self.data(), text);
        if is_postgres() {
            let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
            for table in self.texts(tables) {
                let rows = self.texts(&format!("SELECT one::text FROM {table} AS one"));
                // A row shows its quotes doubled and its backslashes too.
                let shown = text.replace('\\', "\\\\").replace('"', "\"\"");
                if rows.iter().any(|row| row.contains(text) || row.contains(&shown)) {
                    found.push(format!("table {table}"));
                }
            }
        }
        found
    }
}

fn files_with(directory: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else {
            let bytes = fs::read(&path).unwrap();
            if let Some(at) = bytes.windows(text.len()).position(|part| part == text.as_bytes()) {
                let around = &bytes[at.saturating_sub(AROUND)..bytes.len().min(at + AROUND)];
                found.push(format!("{} at {at}: {}", path.display(), String::from_utf8_lossy(around)));
            }
        }
    }
    found
}

/// Every path of the API that answers a GET with something that ends, as it stands in the route table.
fn readable_paths() -> Vec<String> {
    let table = include_str!("../../../src/http/mod.rs").replace(['\n', ' '], "");
    let mut paths = Vec::new();
    for line in table.split("on(").skip(1) {
        let Some((path, verbs)) = line.split_once(",[") else { continue };
        let is_read = verbs.split(']').next().is_some_and(|verbs| verbs.contains("get("));
        let path = match path.strip_prefix("&below(") {
            Some(below) => format!("/v1/conversations/{{id}}{}", below.trim_matches(['"', ')', ','])),
            None => path.replace("ONE", "/v1/conversations/{id}").trim_matches(['"', ',']).to_owned(),
        };
        if is_read {
            assert!(path.starts_with('/'), "{path} is not understood");
            paths.push(path);
        }
    }
    assert!(paths.len() > 25, "{paths:?}");
    paths
}

impl Client {
    /// Reads everything that the API shows, all of these ids tried in every place, and gives what was answered.
    pub(crate) fn everything(&self, ids: &[String]) -> Vec<(String, String)> {
        let mut answers = Vec::new();
        for pattern in readable_paths() {
            let mut paths = vec![pattern];
            while paths.iter().any(|path| path.contains('{')) {
                paths = paths.iter().flat_map(|path| ids.iter().map(|id| filled(path, id))).collect();
            }
            for path in paths {
                for query in ["", "?limit=100"] {
                    let reply = self.get(&format!("{path}{query}"));
                    assert!(reply.code() < 500, "{path}: {}", reply.text());
                    answers.push((path.clone(), reply.text()));
                }
            }
        }
        answers
    }
}

/// The path with the id in its first open place.
fn filled(path: &str, id: &str) -> String {
    let (before, rest) = path.split_once('{').unwrap();
    let (_, after) = rest.split_once('}').unwrap();
    format!("{before}{id}{after}")
}
