//! What is to be imported: the articles of a folder, or of a file with one JSON object per line.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::place::{Failure, Refusal};
use crate::article_file::ArticleFile;

/// An article that was found: where, and the body to write or why there is none.
pub(in crate::cli) type Found = (String, Result<Value, Refusal>);

/// The articles of a folder, by their paths in it. What begins with a dot is not looked at.
pub(in crate::cli) fn files(folder: &Path) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).map_err(|error| format!("{}: {error}", next.display()))? {
            let entry = entry?;
            let path = entry.path();
            let kind = entry.file_type()?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            // A link is not followed: it may lead out of the folder, or round in it.
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                found.extend(file(folder, &path));
            }
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

fn file(folder: &Path, path: &Path) -> Option<Found> {
    let relative = path.strip_prefix(folder).ok()?;
    let name = relative.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
    if !ArticleFile::is_article(&name) {
        return None;
    }
    let body = match fs::read_to_string(path) {
        Ok(text) => Ok(body(ArticleFile::parse(&name, &text)?)),
        Err(error) => Err(Refusal { code: "unreadable".to_owned(), message: error.to_string() }),
    };
    Some((name, body))
}

fn body(file: ArticleFile) -> Value {
    let ArticleFile { external_id, title, format, language, topic, url, content } = file;
    json!({
        "external_id": external_id,
        "title": title,
        "format": format.as_str(),
        "language": language,
        "topic": topic,
        "url": url,
        "content": content,
    })
}

/// The articles of a file with one JSON object per line.
pub(in crate::cli) fn lines(path: &Path) -> Result<Vec<Found>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let found = lines.map(|(number, line)| {
        let at = format!("line {}", number + 1);
        let body = match serde_json::from_str::<Value>(line) {
            Ok(body) if body["external_id"].is_string() => Ok(body),
            Ok(_) => Err(refusal("invalid_field", "external_id must be there")),
            Err(error) => Err(refusal("malformed_json", &error.to_string())),
        };
        (at, body)
    });
    Ok(found.collect())
}

fn refusal(code: &str, message: &str) -> Refusal {
    Refusal { code: code.to_owned(), message: message.to_owned() }
}
