//! The pepper: a secret of this server that is not in its database.
//!
//! What is stored of a key is its HMAC under the pepper, so that a stolen database lets nobody in and proves nothing
//! about a guessed key. The file holds one line per version, `<version> <32 bytes in base64>`; the highest is used
//! for new secrets, the others for those that were made under them.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use super::secret::KeyText;

/// The file's name in the data directory.
const FILE: &str = "pepper";

/// Readable by the server's own user alone.
const MODE: u32 = 0o600;

/// What is hashed to show that two processes hold the same pepper. No key's text looks like this.
const PROOF_OF: &[u8] = b"openclaw pepper";

/// The stored form of a secret.
pub(super) type Hash = [u8; 32];

/// The pepper cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PepperError {
    /// The file cannot be read or made.
    #[error("the pepper file cannot be used")]
    File(#[from] io::Error),
    /// The file is not what we write.
    #[error("the pepper file is damaged: line {0} is not a version and 32 bytes in base64")]
    Damaged(usize),
    /// There is no line in it.
    #[error("the pepper file is empty")]
    Empty,
    /// No randomness to make one.
    #[error("the system gave no random bytes")]
    Random(#[from] getrandom::Error),
}

/// The HMAC's state after it has taken in the pepper, per version: half of the work of a hash, done once.
#[derive(Clone)]
pub struct Pepper {
    versions: BTreeMap<i64, Hmac<Sha256>>,
    current: i64,
}

impl Pepper {
    /// Reads the pepper of this data directory, or makes it.
    ///
    /// # Errors
    /// See [`PepperError`].
    pub fn open(directory: &Path) -> Result<Self, PepperError> {
        let path = Self::file(directory);
        loop {
            match fs::read_to_string(&path) {
                Ok(text) => return Self::parse(&text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => make(directory)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads the pepper of this data directory, and makes none.
    ///
    /// # Errors
    /// See [`PepperError`]; there may be none.
    pub fn read(directory: &Path) -> Result<Self, PepperError> {
        Self::parse(&fs::read_to_string(Self::file(directory))?)
    }

    /// Copies the pepper of one data directory into another that has none.
    ///
    /// # Errors
    /// See [`PepperError`]; nothing damaged is copied.
    pub fn copy(from: &Path, to: &Path) -> Result<(), PepperError> {
        let text = fs::read_to_string(Self::file(from))?;
        Self::parse(&text)?;
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(MODE).open(Self::file(to))?;
        copy.write_all(text.as_bytes())?;
        Ok(copy.sync_all()?)
    }

    /// Its file in a data directory.
    #[must_use]
    pub fn file(directory: &Path) -> PathBuf {
        directory.join(FILE)
    }

    fn parse(text: &str) -> Result<Self, PepperError> {
        let mut versions = BTreeMap::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let (version, mac) = parse_line(line).ok_or(PepperError::Damaged(index + 1))?;
            versions.insert(version, mac);
        }
        let current = *versions.keys().next_back().ok_or(PepperError::Empty)?;
        Ok(Self { versions, current })
    }

    /// The version that new secrets are made under.
    #[must_use]
    pub fn current(&self) -> i64 {
        self.current
    }

    /// The stored form of the text under that version. A version that this file lacks gives a hash that matches
    /// nothing, for the same work.
    #[must_use]
    pub fn hash(&self, version: i64, text: &KeyText) -> Hash {
        self.mac(version, text.expose().as_bytes())
    }

    /// For each version, what shows that another process holds the same.
    pub fn proofs(&self) -> impl Iterator<Item = (i64, String)> {
        self.versions.keys().map(|&version| (version, BASE64_STANDARD.encode(self.mac(version, PROOF_OF))))
    }

    /// All versions.
    pub fn versions(&self) -> impl Iterator<Item = i64> {
        self.versions.keys().copied()
    }

    /// A key for another purpose than hashing, made of that version and of the purpose's name; `None` if this file
    /// lacks the version.
    #[must_use]
    pub fn key_for(&self, version: i64, purpose: &str) -> Option<[u8; 32]> {
        // No key's text, and not what is hashed for a proof, begins so.
        let label = format!("openclaw key for {purpose}");
        self.versions.contains_key(&version).then(|| self.mac(version, label.as_bytes()))
    }

    /// What stands for personal data of which only sameness matters.
    pub(super) fn digest(&self, bytes: &[u8]) -> Hash {
        self.mac(self.current, &[b"openclaw digest of ".as_slice(), bytes].concat())
    }

    fn mac(&self, version: i64, bytes: &[u8]) -> Hash {
        let known = self.versions.get(&version);
        let mut mac = known.unwrap_or_else(|| &self.versions[&self.current]).clone();
        mac.update(bytes);
        let mut hash: Hash = mac.finalize().into_bytes().into();
        if known.is_none() {
            hash = [0; 32];
        }
        hash
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pepper({:?})", self.versions.keys())
    }
}

fn parse_line(line: &str) -> Option<(i64, Hmac<Sha256>)> {
    let (version, bytes) = line.split_once(' ')?;
    let bytes = BASE64_STANDARD.decode(bytes.trim_end()).ok().filter(|bytes| bytes.len() == 32)?;
    Some((version.parse().ok()?, Hmac::new_from_slice(&bytes).ok()?))
}

/// Writes a new pepper under another name and links it into place: two processes that start at once end up with the
/// same file, and nobody ever reads half of one.
fn make(directory: &Path) -> Result<(), PepperError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let draft = directory.join(format!("{FILE}.{}", Uuid::now_v7()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&draft)?;
    writeln!(file, "1 {}", BASE64_STANDARD.encode(bytes))?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, directory.join(FILE));
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    // The name must outlive a power cut as surely as the hashes made with it.
    File::open(directory)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{
        ids::KeyId,
        keys::secret::{Family, KeyText},
    };

    fn some_key() -> KeyText {
        KeyText::generate(Family::Secret, KeyId::generate()).unwrap()
    }

    #[test]
    fn a_pepper_is_made_once_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let key = some_key();
        let first = Pepper::open(directory.path()).unwrap().hash(1, &key);
        assert_eq!(Pepper::open(directory.path()).unwrap().hash(1, &key), first);
        let mode = fs::metadata(directory.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn processes_that_start_at_once_share_one_pepper() {
        let directory = tempfile::tempdir().unwrap();
        let proofs: Vec<_> = std::thread::scope(|scope| {
            let open = || scope.spawn(|| Pepper::open(directory.path()).unwrap().proofs().next());
            [open(), open(), open()].map(|thread| thread.join().unwrap()).into()
        });
        assert!(proofs.iter().all(|proof| *proof == proofs[0]), "{proofs:?}");
    }

    #[test]
    fn a_secret_made_under_an_older_version_still_matches() {
        let directory = tempfile::tempdir().unwrap();
        let key = some_key();
        let old = Pepper::open(directory.path()).unwrap().hash(1, &key);
        let path = directory.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}2 {}\n", BASE64_STANDARD.encode([7; 32]))).unwrap();
        let pepper = Pepper::open(directory.path()).unwrap();
        assert_eq!((pepper.current(), pepper.hash(1, &key)), (2, old));
        assert_ne!(pepper.hash(2, &key), old);
        assert_eq!(pepper.hash(9, &key), [0; 32]);
    }

    #[test]
    fn a_damaged_pepper_says_where() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "1 short\n").unwrap();
        assert!(matches!(Pepper::open(directory.path()), Err(PepperError::Damaged(1))));
    }
}
