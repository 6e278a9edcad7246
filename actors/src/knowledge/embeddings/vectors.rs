//! Vectors in eight bits a number: a quarter of the memory, and what is nearest stays nearest.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

/// Larger vectors are no model's: the largest in use have 4,096 numbers.
pub const MOST_DIMENSIONS: usize = 8_192;

/// What a text is known by: two texts that share one are as rare as collisions of 128 bits.
pub type Digest = [u8; 16];

/// A vector of length 1, its largest number made 127.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    /// What a step is worth; 0 of a text that says nothing.
    scale: f32,
    values: Box<[i8]>,
}

impl Vector {
    /// None of what is no direction: empty, too long, or with numbers that are none.
    #[must_use]
    pub fn of(numbers: &[f32]) -> Option<Self> {
        let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
        let is_one = !numbers.is_empty() && numbers.len() <= MOST_DIMENSIONS;
        if !is_one || !length.is_normal() {
            return None;
        }
        let largest = numbers.iter().fold(0.0_f32, |most, number| most.max(number.abs())) / length;
        let values = numbers.iter().map(|number| (number / length / largest * 127.0).round() as i8);
        Some(Self { scale: largest / 127.0, values: values.collect() })
    }

    /// Of how many numbers it is made.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.values.len()
    }
}

/// The vectors of an article's passages, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    /// Of the texts that they were made of.
    digest: Digest,
    dimensions: usize,
    scales: Box<[f32]>,
    values: Box<[i8]>,
}

impl Vectors {
    /// Those of a text that was embedded for each passage; `None` of one that says nothing. None at all if they differ
    /// in length.
    #[must_use]
    pub fn of(digest: Digest, vectors: &[Option<Vector>]) -> Option<Self> {
        let dimensions = vectors.iter().flatten().map(Vector::dimensions).next().unwrap_or_default();
        if vectors.iter().flatten().any(|vector| vector.dimensions() != dimensions) {
            return None;
        }
        let mut values = Vec::with_capacity(vectors.len() * dimensions);
        for vector in vectors {
            match vector {
                Some(vector) => values.extend_from_slice(&vector.values),
                None => values.resize(values.len() + dimensions, 0),
            }
        }
        let scales = vectors.iter().map(|vector| vector.as_ref().map_or(0.0, |vector| vector.scale));
        Some(Self { digest, dimensions, scales: scales.collect(), values: values.into() })
    }

    pub(in super::super) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Of how many numbers each is made.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Of how many passages they are.
    #[must_use]
    pub fn passages(&self) -> usize {
        self.scales.len()
    }

    /// How many bytes they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.values.len() + size_of_val(&*self.scales)
    }

    /// How near each passage is to the question: the cosine, from -1 to 1. Nothing if they cannot be compared.
    pub(in super::super) fn likeness(&self, question: &Vector) -> impl Iterator<Item = f32> {
        let comparable = self.dimensions > 0 && self.dimensions == question.dimensions();
        let passages = self.values.chunks_exact(self.dimensions.max(1)).zip(&self.scales);
        passages
            .take(if comparable { self.scales.len() } else { 0 })
            .map(|(values, scale)| dot(values, &question.values) as f32 * scale * question.scale)
    }

    /// As it is stored: of each passage its scale and its numbers.
    pub(in super::super) fn encoded(&self) -> String {
        let mut bytes = Vec::with_capacity(self.values.len() + 4 * self.scales.len());
        for (at, scale) in self.scales.iter().enumerate() {
            bytes.extend_from_slice(&scale.to_le_bytes());
            let values = &self.values[at * self.dimensions..(at + 1) * self.dimensions];
            bytes.extend(values.iter().map(|value| value.cast_unsigned()));
        }
        STANDARD_NO_PAD.encode(bytes)
    }

    /// What [`Vectors::encoded`] made; `None` if it is something else.
    pub(in super::super) fn decoded(digest: Digest, dimensions: usize, text: &str) -> Option<Arc<Self>> {
        let bytes = STANDARD_NO_PAD.decode(text).ok()?;
        if dimensions > MOST_DIMENSIONS || !bytes.len().is_multiple_of(dimensions + 4) {
            return None;
        }
        let passages = bytes.len() / (dimensions + 4);
        let mut scales = Vec::with_capacity(passages);
        let mut values = Vec::with_capacity(passages * dimensions);
        for passage in bytes.chunks_exact(dimensions + 4) {
            let (scale, numbers) = passage.split_first_chunk()?;
            scales.push(f32::from_le_bytes(*scale));
            values.extend(numbers.iter().map(|byte| byte.cast_signed()));
        }
        Some(Arc::new(Self { digest, dimensions, scales: scales.into(), values: values.into() }))
    }
}

/// In pieces of 32 numbers, which the compiler multiplies a dozen at a time; of other sizes it makes twice the work.
fn dot(one: &[i8], other: &[i8]) -> i32 {
    let product = |(a, b): (&i8, &i8)| i32::from(*a) * i32::from(*b);
    let (ones, others) = (one.chunks_exact(32), other.chunks_exact(32));
    let rest: i32 = ones.remainder().iter().zip(others.remainder()).map(product).sum();
    ones.zip(others).map(|(one, other)| one.iter().zip(other).map(product).sum::<i32>()).sum::<i32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random and are the same each time.
    fn numbers(seed: u32, count: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..count).map(next).collect()
    }

    fn cosine(one: &[f32], other: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
    }

    #[test]
    fn eight_bits_are_near_enough() {
        for dimensions in [1, 15, 384, 1_024] {
            let texts: Vec<_> = (0..20).map(|seed| numbers(seed, dimensions)).collect();
            let vectors: Vec<_> = texts.iter().map(|text| Vector::of(text)).collect();
            let all = Vectors::of([0; 16], &vectors).unwrap();
            let question = numbers(99, dimensions);
            let direction = Vector::of(&question).unwrap();
            for (text, likeness) in texts.iter().zip(all.likeness(&direction)) {
                assert!((cosine(text, &question) - likeness).abs() < 0.01, "{dimensions}");
            }
        }
    }

    #[test]
    fn what_is_stored_comes_back_and_nothing_else_is_taken() {
        let vectors = [Vector::of(&[1.0, -2.0, 0.5]), None, Vector::of(&[0.0, 3.0, 3.0])];
        let vectors = Vectors::of([7; 16], &vectors).unwrap();
        let stored = vectors.encoded();
        assert_eq!(*Vectors::decoded([7; 16], 3, &stored).unwrap(), vectors);
        assert_eq!(Vectors::decoded([7; 16], 4, &stored), None);
        assert_eq!(Vectors::decoded([7; 16], 3, "no base64!"), None);
        let question = Vector::of(&[0.0, 1.0, 1.0]).unwrap();
        let likeness: Vec<_> = vectors.likeness(&question).collect();
        assert!(likeness[2] > 0.99 && likeness[1] == 0.0 && likeness[0] < 0.0, "{likeness:?}");
        assert_eq!(vectors.likeness(&Vector::of(&[1.0]).unwrap()).count(), 0);
    }

    #[test]
    fn what_is_no_direction_is_no_vector() {
        for numbers in [&[][..], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY], &[f32::MAX, f32::MAX]] {
            assert_eq!(Vector::of(numbers), None, "{numbers:?}");
        }
        let mixed = [Vector::of(&[1.0]), Vector::of(&[1.0, 1.0])];
        assert_eq!(Vectors::of([0; 16], &mixed), None);
    }
}
