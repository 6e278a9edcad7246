//! The data directory: is it ours, ours alone, and whole?

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use openclaw_actors::{
    keys::{Pepper, PepperError},
    store::Store,
};

use super::finding::Finding;
use crate::{cli::on_one_line, config::StoreConfig};

const DIRECTORY: &str = "data directory";
const PEPPER: &str = "pepper";

/// What others may do with a file.
const OTHERS: u32 = 0o077;

pub(super) fn examine(store: &StoreConfig) -> Vec<Finding> {
    let path = store.data.as_path();
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("{} is not there yet", path.display());
            vec![
                Finding::warn(DIRECTORY, message)
                    .advise("the first start makes it; or name another by --data"),
            ]
        }
        Err(error) => vec![unusable(path, &error)],
        Ok(found) if !found.is_dir() => {
            let message = format!("{} is not a directory", path.display());
            vec![Finding::fail(DIRECTORY, message).advise("name a directory by --data")]
        }
        Ok(found) => vec![directory(path, found.permissions().mode()), pepper(store)],
    }
}

fn directory(path: &Path, mode: u32) -> Finding {
    if let Err(error) = try_to_write(path) {
        return unusable(path, &error);
    }
    let path = path.display();
    if mode & OTHERS == 0 {
        return Finding::ok(DIRECTORY, format!("{path} can be written, by its owner alone"));
    }
    Finding::warn(DIRECTORY, format!("{path} can be read or written by others (mode {:03o})", mode & 0o777))
        .advise(format!("chmod 700 {path}"))
}

/// With a byte in it: a full disk takes empty files.
fn try_to_write(directory: &Path) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix("doctor-").tempfile_in(directory)?;
    file.write_all(b"?")?;
    file.as_file().sync_all()
}

fn unusable(path: &Path, error: &io::Error) -> Finding {
    Finding::fail(DIRECTORY, format!("{} cannot be written: {error}", path.display())).advise(
        "run this as the server's own user, let that user own the directory, and see that its disk has room",
    )
}

fn pepper(store: &StoreConfig) -> Finding {
    let is_used = store.database_url.is_some() || Store::sqlite_file(&store.data).exists();
    match Pepper::read(&store.data) {
        Ok(_) => permissions(&Pepper::file(&store.data)),
        Err(PepperError::File(error)) if error.kind() == io::ErrorKind::NotFound && !is_used => {
            Finding::ok(PEPPER, "is made by the first start")
        }
        Err(PepperError::File(error)) if error.kind() == io::ErrorKind::NotFound => Finding::fail(
            PEPPER,
            "is missing beside a database that is in use: no key made so far would work",
        )
        .advise("copy the file `pepper` from a backup or from the data directory that this database served"),
        Err(error) => Finding::fail(PEPPER, on_one_line(&error))
            .advise("copy the file `pepper` from a backup; without it no key works"),
    }
}

fn permissions(file: &Path) -> Finding {
    match fs::metadata(file) {
        Ok(found) if found.permissions().mode() & OTHERS != 0 => {
            Finding::warn(PEPPER, "can be read by others: with the database it lets them guess keys")
                .advise(format!("chmod 600 {}", file.display()))
        }
        Ok(_) => Finding::ok(PEPPER, "is whole, and its owner's alone"),
        Err(error) => Finding::fail(PEPPER, error.to_string()),
    }
}
