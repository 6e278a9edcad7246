//! Vectors as a model would make them, that knows some words by what they mean; on an [`Upstream`].

use serde_json::{Value, json};

use super::upstream::{Act, Asked, Upstream, answers};

/// Words that mean the same, whatever language they are in.
const MEANINGS: [&[&str]; 4] = [
    &["parcel", "package", "shipment", "pakket"],
    &["reimbursement", "refund", "money", "back"],
    &["sneaker", "shoe", "trainer"],
    &["invoice", "bill", "factuur"],
];

/// As many numbers as a vector has.
const DIMENSIONS: usize = 16;

/// An endpoint that makes such vectors.
pub(crate) fn model() -> Upstream {
    let upstream = Upstream::that(Vec::new());
    upstream.by(embed);
    upstream
}

/// The answer to a request for embeddings. Another model has other directions for the same meanings.
pub(crate) fn embed(asked: &Asked) -> Vec<Act> {
    answers("200 OK", &[], &embedded(asked, DIMENSIONS).to_string())
}

/// The same with so many numbers a vector.
pub(crate) fn embedded(asked: &Asked, dimensions: usize) -> Value {
    let turned = asked.body["model"].as_str().unwrap().bytes().map(usize::from).sum::<usize>();
    let data: Vec<_> = texts(asked)
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"index": index, "embedding": vector(text, turned, dimensions)}))
        .collect();
    json!({"object": "list", "data": data, "model": asked.body["model"]})
}

/// What is to be embedded.
pub(crate) fn texts(asked: &Asked) -> Vec<String> {
    let input = asked.body["input"].as_array().unwrap();
    input.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn vector(text: &str, turned: usize, dimensions: usize) -> Vec<f64> {
    let mut vector = vec![0.0; dimensions];
    // What any text has in common with any other.
    vector[dimensions - 1] = 0.1;
    let words = text.to_lowercase();
    for word in words.split(|c: char| !c.is_alphanumeric()) {
        if let Some(meaning) = MEANINGS.iter().position(|words| words.contains(&word)) {
            vector[(meaning + turned) % (dimensions - 1)] += 1.0;
        }
    }
    vector
}
