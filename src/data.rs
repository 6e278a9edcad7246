//! The data directory: one server at a time, and a name for it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use openclaw_actors::ids::RequestId;

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file in it cannot be made or read.
    #[error("the data directory {directory} cannot be used")]
    Unusable {
        /// Which directory.
        directory: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another process serves it.
    #[error(
        "another openclaw-server is running on the data directory {0}: stop it first, or use another --data"
    )]
    InUse(PathBuf),
}

/// A directory that holds keys' pepper and people's words: for its owner alone.
#[derive(Debug, Clone)]
pub struct DataDirectory(PathBuf);

/// Holds the directory for this process; the kernel lets go when the process ends, however it ends.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataDirectory {
    /// Makes it if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let directory = Self(path.to_owned());
        directory.used(DirBuilder::new().recursive(true).mode(0o700).create(path))?;
        Ok(directory)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes the directory for this process alone.
    ///
    /// # Errors
    /// Another process has it.
    pub fn lock(&self) -> Result<DataLock, DataError> {
        let path = self.0.join("lock");
        let file = self.used(owned_by_us().write(true).create(true).truncate(false).open(path))?;
        match file.try_lock() {
            Ok(()) => Ok(DataLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(DataError::InUse(self.0.clone())),
            Err(TryLockError::Error(error)) => self.used(Err(error)),
        }
    }

    /// The name of the node that serves this directory: made once, so that a restart knows its own leases again.
    ///
    /// # Errors
    /// It cannot be read or made.
    pub fn node(&self) -> Result<String, DataError> {
        let path = self.0.join("node");
        match fs::read_to_string(&path) {
            Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return self.used(Err(error)),
        }
        let name = RequestId::generate().to_string().replace(RequestId::PREFIX, "node_");
        self.used(write_whole(&path, &name))?;
        Ok(name)
    }

    fn used<T>(&self, result: io::Result<T>) -> Result<T, DataError> {
        result.map_err(|source| DataError::Unusable { directory: self.0.clone(), source })
    }
}

fn owned_by_us() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// A crash leaves the old file or the new one, never half of it.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let half = path.with_extension("new");
    let mut file = owned_by_us().write(true).create(true).truncate(true).open(&half)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&half, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_holder_and_keeps_its_name() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let path = temporary.path().join("deep/down");
        let directory = DataDirectory::open(&path).expect("made");
        let lock = directory.lock().expect("nobody has it");
        assert!(matches!(directory.lock(), Err(DataError::InUse(_))));
        drop(lock);
        directory.lock().expect("free again");

        let name = directory.node().expect("made");
        assert_eq!(DataDirectory::open(&path).and_then(|again| again.node()).expect("read"), name);
    }
}
