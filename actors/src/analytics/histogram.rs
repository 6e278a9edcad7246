//! How often something took how long, in buckets that can be added and taken away.
//!
//! Log-linear: up to 63 ms each millisecond has a bucket, above it each doubling has 32. A bucket is shown as its
//! middle, which is never further than 1/64 (1.6 %) from what is in it.

use std::fmt;

/// Buckets per doubling.
const PER_DOUBLING: u64 = 32;

/// Below this, a bucket is a millisecond.
const EXACT_BELOW: u64 = 2 * PER_DOUBLING;

/// What took longer than this (34 years) counts as that long: an answer may wait for as long as a server is down.
const LONGEST: u64 = (1 << 40) - 1;

/// All buckets.
pub(super) const BUCKETS: usize = bucket_of(LONGEST) + 1;

const fn bucket_of(ms: u64) -> usize {
    if ms < EXACT_BELOW {
        return ms as usize;
    }
    let shift = ms.ilog2() - PER_DOUBLING.ilog2();
    (shift as u64 * PER_DOUBLING + (ms >> shift)) as usize
}

/// The middle of a bucket.
fn middle(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    if bucket < EXACT_BELOW {
        return bucket as f64;
    }
    let shift = bucket / PER_DOUBLING - 1;
    let first = (bucket - shift * PER_DOUBLING) << shift;
    first as f64 + ((1_u64 << shift) - 1) as f64 / 2.0
}

/// The buckets that hold something, in order.
///
/// Eight bytes an entry: a question about a year reads millions of them. No day of a channel holds two thousand million
/// answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Histogram(Vec<(u16, i32)>);

impl Histogram {
    /// Adds one thing that took that long; clocks that were set back make it 0.
    pub(super) fn record(&mut self, ms: i64) {
        let bucket = bucket_of(u64::try_from(ms).unwrap_or(0).min(LONGEST)) as u16;
        self.add_to(bucket, 1);
    }

    fn add_to(&mut self, bucket: u16, count: i32) {
        match self.0.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(place) => {
                self.0[place].1 += count;
                if self.0[place].1 == 0 {
                    self.0.remove(place);
                }
            }
            Err(place) => self.0.insert(place, (bucket, count)),
        }
    }

    /// Adds all of another, or takes it away.
    pub(super) fn merge(&mut self, other: &Self, sign: i32) {
        other.0.iter().for_each(|&(bucket, count)| self.add_to(bucket, sign * count));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let words = text.split(' ').filter(|word| !word.is_empty());
        let read = |word: &str| {
            let (bucket, count) = word.split_once('x').unwrap_or((word, "1"));
            let bucket: u16 = bucket.parse().ok()?;
            (usize::from(bucket) < BUCKETS).then_some((bucket, count.parse().ok()?))
        };
        words.map(read).collect::<Option<_>>().map(Self)
    }
}

/// `12 40x3`: one thing in bucket 12 and three in 40.
impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (bucket, count)) in self.0.iter().enumerate() {
            let space = if place == 0 { "" } else { " " };
            match count {
                1 => write!(f, "{space}{bucket}")?,
                count => write!(f, "{space}{bucket}x{count}")?,
            }
        }
        Ok(())
    }
}

/// Every bucket: what many histograms are added up in.
#[derive(Debug, Clone, Default)]
pub(super) struct Sum(Vec<i64>);

impl Sum {
    pub(super) fn add(&mut self, histogram: &Histogram) {
        if self.0.is_empty() && !histogram.is_empty() {
            self.0.resize(BUCKETS, 0);
        }
        for &(bucket, count) in &histogram.0 {
            self.0[usize::from(bucket)] += i64::from(count);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
        } else {
            self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own += other);
        }
    }

    /// What this share of all took at most (nearest rank); none if there is nothing.
    pub(super) fn percentile(&self, share: f64) -> Option<f64> {
        let total: i64 = self.0.iter().sum();
        let rank = ((share * total as f64).ceil() as i64).max(1);
        let mut passed = 0;
        self.0.iter().enumerate().find_map(|(bucket, count)| {
            passed += count;
            (passed >= rank).then(|| middle(bucket))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_never_further_than_two_percent_from_what_is_in_it() {
        let mut last = 0;
        for ms in (0..70_000).chain((70_000..LONGEST).step_by(9_999_999_991)).chain([LONGEST]) {
            let bucket = bucket_of(ms);
            assert!(bucket >= last && bucket < BUCKETS);
            last = bucket;
            let off = (middle(bucket) - ms as f64).abs();
            assert!(off <= ms as f64 / 64.0, "{ms} is shown as {}", middle(bucket));
        }
    }

    #[test]
    fn what_is_added_can_be_taken_away_and_written_down() {
        let mut histogram = Histogram::default();
        [5, 5, 1_000, -3, i64::MAX].into_iter().for_each(|ms| histogram.record(ms));
        let before = histogram.clone();
        assert_eq!(Histogram::parse(&histogram.to_string()), Some(before.clone()));
        let mut other = Histogram::default();
        other.record(5);
        other.record(77);
        histogram.merge(&other, 1);
        histogram.merge(&other, -1);
        assert_eq!(histogram, before);
        histogram.merge(&before, -1);
        assert!(histogram.is_empty());
        for text in ["x", "1x", "70000", "-1", "1,2"] {
            assert_eq!(Histogram::parse(text), None, "{text}");
        }
    }

    #[test]
    fn percentiles_are_the_nearest_rank() {
        let mut sum = Sum::default();
        assert_eq!(sum.percentile(0.5), None);
        let mut histogram = Histogram::default();
        (1..=20).for_each(|ms| histogram.record(ms));
        sum.add(&histogram);
        assert_eq!((sum.percentile(0.5), sum.percentile(0.95)), (Some(10.0), Some(19.0)));
        let mut twice = sum.clone();
        twice.merge(&sum);
        assert_eq!(twice.percentile(0.5), Some(10.0));
    }
}
