//! How many streams each key holds open.

use std::sync::Arc;

use dashmap::{DashMap, Entry};

use crate::ids::KeyId;

/// The open streams of all keys. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OpenStreams {
    per_key: Arc<DashMap<KeyId, u32>>,
    most: u32,
}

/// One open stream; closing it is dropping this.
#[derive(Debug)]
pub struct StreamPermit {
    /// None where there is no limit.
    counted: Option<(OpenStreams, KeyId)>,
}

/// The key holds as many streams as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this key holds {0} streams open, which is as many as it may")]
pub struct TooManyStreams(pub u32);

impl OpenStreams {
    /// At most that many per key.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { per_key: Arc::default(), most }
    }

    /// Counts a stream of the key until the permit is dropped.
    ///
    /// # Errors
    /// It holds as many as it may.
    pub fn open(&self, key: KeyId) -> Result<StreamPermit, TooManyStreams> {
        self.open_up_to(key, self.most)
    }

    /// The same with a limit of its own.
    ///
    /// # Errors
    /// It holds as many as it may.
    pub fn open_up_to(&self, key: KeyId, most: u32) -> Result<StreamPermit, TooManyStreams> {
        let mut open = self.per_key.entry(key).or_insert(0);
        if *open >= most {
            let none = *open == 0;
            drop(open);
            if none {
                self.per_key.remove_if(&key, |_, open| *open == 0);
            }
            return Err(TooManyStreams(most));
        }
        *open += 1;
        drop(open);
        Ok(StreamPermit { counted: Some((self.clone(), key)) })
    }

    /// A stream of a key without limits.
    #[must_use]
    pub fn open_unlimited(&self) -> StreamPermit {
        StreamPermit { counted: None }
    }

    /// How many the key holds open.
    #[must_use]
    pub fn held(&self, key: KeyId) -> u32 {
        self.per_key.get(&key).map_or(0, |open| *open)
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let Some((streams, key)) = self.counted.take() else { return };
        if let Entry::Occupied(mut open) = streams.per_key.entry(key) {
            match *open.get() {
                0 | 1 => drop(open.remove()),
                held => drop(open.insert(held - 1)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_ends_makes_room_for_another() {
        let streams = OpenStreams::new(2);
        let key = KeyId::generate();
        let one = streams.open(key).unwrap();
        let other = streams.open(key).unwrap();
        assert_eq!(streams.open(key).unwrap_err(), TooManyStreams(2));
        assert!(streams.open(KeyId::generate()).is_ok());
        drop(one);
        let third = streams.open(key).unwrap();
        assert_eq!(streams.held(key), 2);
        drop((other, third, streams.open_unlimited()));
        assert_eq!((streams.held(key), streams.per_key.len()), (0, 0));
    }
}
