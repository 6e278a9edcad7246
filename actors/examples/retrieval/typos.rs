//! One typing error per question, the same ones every time.

/// Shorter words are seldom mistyped.
const MIN_LETTERS: usize = 4;

/// `text` with one letter of its longest word left out, doubled, replaced, or swapped with the next.
pub(super) fn with_one(text: &str, seed: u64) -> String {
    let words = text.split(|c: char| !c.is_alphabetic());
    let Some(longest) = words.max_by_key(|word| word.chars().count()) else { return text.to_owned() };
    let mut letters: Vec<char> = longest.chars().collect();
    if letters.len() < MIN_LETTERS {
        return text.to_owned();
    }
    let mut drawn = hash(&[text.as_bytes(), &seed.to_le_bytes()].concat());
    let mut draw = |below: usize| {
        drawn = hash(&drawn.to_le_bytes());
        (drawn % below as u64) as usize
    };
    let kind = draw(4);
    let at = draw(letters.len() - 1);
    match kind {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        2 => letters[at] = char::from(b'a' + draw(26) as u8),
        _ => letters.swap(at, at + 1),
    }
    text.replacen(longest, &letters.into_iter().collect::<String>(), 1)
}

/// FNV-1a with a last stir: the same everywhere and for ever.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let stirred = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    stirred ^ (stirred >> 33)
}
