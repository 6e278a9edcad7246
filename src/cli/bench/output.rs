//! Files that are written whole or not at all, to places that are tried before anything is measured.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

/// As every file that a command makes: readable for all, unless the umask says otherwise.
const MODE: u32 = 0o666;

/// A file to be written.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    part: NamedTempFile,
}

impl Output {
    /// Fails where it could not be written later.
    pub(super) fn to(path: &Path) -> Result<Self, String> {
        let told = |error: io::Error| format!("{}: cannot be written: {error}", path.display());
        if path.is_dir() {
            return Err(format!("{}: cannot be written: it is a folder", path.display()));
        }
        if fs::metadata(path).is_ok_and(|there| there.permissions().readonly()) {
            return Err(format!("{}: cannot be written: it is read-only", path.display()));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let part = tempfile::Builder::new()
            .prefix(".openclaw-bench-")
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .map_err(told)?;
        Ok(Self { path: path.to_owned(), part })
    }

    /// Puts it in its place.
    pub(super) fn write(mut self, bytes: &[u8]) -> Result<(), String> {
        let told = |error: io::Error| format!("{}: cannot be written: {error}", self.path.display());
        self.part.write_all(bytes).and_then(|()| self.part.as_file().sync_all()).map_err(told)?;
        self.part.persist(&self.path).map_err(|error| told(error.error))?;
        Ok(())
    }
}
