//! Results that say nearly the same folded into the best of them: copies of a template, a section and its translation to another file, a file
//! and its older twin.
//!
//! Two texts are near duplicates if their sets of word shingles agree by at least [`NEAR`] of their union (Jaccard; Broder, "On the
//! resemblance and containment of documents", 1997). The sets are compared exactly, among the results of one search only: there are too
//! few of them for sketches to pay.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::lexical::is_word_character;

/// Words of a shingle.
pub const SHINGLE_WORDS: usize = 3;
/// How much of their shingles two texts must share to be folded. A word that differs costs [`SHINGLE_WORDS`] shingles on each side: of 30
/// words one may differ, of 60 two that stand apart.
pub const NEAR: f64 = 0.8;
/// Texts of fewer shingles are folded only if they are equal: too little is left to agree by chance or not.
pub const MIN_SHINGLES: usize = 12;
/// Words of a text that are looked at; a longer one is told by its beginning.
const MAX_WORDS: usize = 4000;

/// The texts that were kept so far, in the order in which they came.
#[derive(Default)]
pub(super) struct Fold {
    /// The shingles of each kept text, rising; none of one that has too few.
    shingles: Vec<Vec<u64>>,
    /// Which kept texts have a shingle among their first. Two sets that share so much as [`NEAR`] share one of those (Chaudhuri, Ganti and
    /// Kaushik, "A primitive operator for similarity joins in data cleaning", 2006), so that the others need not be looked up.
    first: HashMap<u64, Vec<u32>, BuildHasherDefault<Hashed>>,
    /// The kept text that is equal but for its spaces.
    same: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
}

/// What became of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Folded {
    /// It was kept, under this number, from 0.
    Kept(usize),
    /// It says what an earlier one says.
    Into {
        /// The number of that one.
        kept: usize,
        /// How much of their shingles they share; 1 for equal texts.
        agreement: f64,
    },
}

impl Fold {
    /// Folds a text into the kept one that it agrees with most, or keeps it.
    pub fn add(&mut self, text: &str) -> Folded {
        let whole = text.split_whitespace().fold(0, |hash, word| joined(hash, hash_of(word)));
        if let Some(&kept) = self.same.get(&whole) {
            return Folded::Into { kept: kept as usize, agreement: 1.0 };
        }
        let shingles = shingles(text);
        let first = &shingles[..first_ones(shingles.len())];
        let mut near: Vec<u32> = first.iter().filter_map(|shingle| self.first.get(shingle)).flatten().copied().collect();
        near.sort_unstable();
        near.dedup();
        let agreement = |kept: u32| {
            let other = &self.shingles[kept as usize];
            let shared = shared(&shingles, other);
            (shared as f64 / (shingles.len() + other.len() - shared) as f64, kept)
        };
        // Of two that agree as much the earlier one, which is the better result.
        let nearest = near.into_iter().map(agreement).max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        if let Some((agreement, kept)) = nearest.filter(|(agreement, _)| *agreement >= NEAR) {
            return Folded::Into { kept: kept as usize, agreement };
        }
        let number = self.shingles.len() as u32;
        for shingle in first {
            self.first.entry(*shingle).or_default().push(number);
        }
        self.shingles.push(shingles);
        self.same.insert(whole, number);
        Folded::Kept(number as usize)
    }
}

/// How many of so many shingles are looked up: all but those that two texts which agree must share, and one of these.
fn first_ones(shingles: usize) -> usize {
    // What is left of a sum of binary fractions must not cost one.
    let least = (shingles as f64 * NEAR - 1e-9).ceil() as usize;
    (shingles - least + 1).min(shingles)
}

/// How many numbers two rising lists share.
fn shared(a: &[u64], b: &[u64]) -> usize {
    let (mut at, mut of, mut count) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(at), b.get(of)) {
        count += usize::from(x == y);
        at += usize::from(x <= y);
        of += usize::from(y <= x);
    }
    count
}

/// The hashes of the shingles of a text, rising, each once; none if they are too few.
fn shingles(text: &str) -> Vec<u64> {
    let words = text.split(|c| !is_word_character(c)).filter(|word| !word.is_empty()).take(MAX_WORDS);
    let words: Vec<u64> = words.map(|word| if word.is_ascii() { hash_of_ascii(word) } else { hash_of(&word.to_lowercase()) }).collect();
    let mut shingles: Vec<u64> = words.windows(SHINGLE_WORDS).map(|words| words.iter().fold(0, |hash, word| joined(hash, *word))).collect();
    shingles.sort_unstable();
    shingles.dedup();
    if shingles.len() < MIN_SHINGLES {
        shingles.clear();
    }
    shingles
}

/// FNV-1a: words are short, and a search looks at some hundred thousand.
fn hash_of(word: &str) -> u64 {
    fnv(word.bytes())
}

/// As of the word in lower case.
fn hash_of_ascii(word: &str) -> u64 {
    fnv(word.bytes().map(|byte| byte.to_ascii_lowercase()))
}

fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The hash of a sequence and of what follows it, with every bit of both in every bit (the finalizer of SplitMix64).
fn joined(before: u64, next: u64) -> u64 {
    let mut hash = before.rotate_left(23).wrapping_add(next).wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Hashes what is a hash: it stays as it is.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| joined(hash, u64::from(*byte)));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The words of a text in lower case.
    fn words(text: &str) -> Vec<String> {
        text.split(|c| !is_word_character(c)).filter(|word| !word.is_empty()).take(MAX_WORDS).map(str::to_lowercase).collect()
    }

    fn sentence(words: std::ops::Range<usize>) -> String {
        words.map(|word| format!("word{word}")).collect::<Vec<_>>().join(" ")
    }

    fn agreement(a: &str, b: &str) -> Option<f64> {
        let mut fold = Fold::default();
        assert_eq!(fold.add(a), Folded::Kept(0));
        match fold.add(b) {
            Folded::Kept(number) => {
                assert_eq!(number, 1);
                None
            }
            Folded::Into { kept, agreement } => {
                assert_eq!(kept, 0);
                Some(agreement)
            }
        }
    }

    /// Jaccard by its definition.
    fn jaccard(a: &str, b: &str) -> f64 {
        let shingles = |text: &str| -> BTreeSet<Vec<String>> { words(text).windows(SHINGLE_WORDS).map(<[String]>::to_vec).collect() };
        let (a, b) = (shingles(a), shingles(b));
        a.intersection(&b).count() as f64 / a.union(&b).count() as f64
    }

    #[test]
    fn texts_are_folded_from_the_threshold_on() {
        // One other word costs three shingles on each side: 25 of 31 and 28 of 34.
        let (thirty, other) = (sentence(0..30), format!("{} other {}", sentence(0..15), sentence(16..30)));
        assert!((jaccard(&thirty, &other) - 25.0 / 31.0).abs() < 1e-12);
        assert_eq!(agreement(&thirty, &other), Some(jaccard(&thirty, &other)));
        let (short, other) = (sentence(0..25), format!("{} other {}", sentence(0..12), sentence(13..25)));
        assert!(jaccard(&short, &other) < NEAR);
        assert_eq!(agreement(&short, &other), None);
        // Case, marks and spaces are no words.
        assert_eq!(agreement(&thirty, &thirty.to_uppercase().replace(' ', ", ")), Some(1.0));
    }

    #[test]
    fn short_texts_are_folded_only_if_they_are_equal() {
        assert_eq!(agreement("let x = a + b;", "let  x = a + b;\n"), Some(1.0));
        assert_eq!(agreement("let x = a + b;", "let x = a - b;"), None);
        assert_eq!(agreement(&sentence(0..13), &sentence(0..13).to_uppercase()), None);
        assert_eq!(agreement("----", "===="), None);
    }

    #[test]
    fn a_text_is_folded_into_the_nearest_that_was_kept() {
        let mut fold = Fold::default();
        let base = sentence(0..60);
        assert_eq!(fold.add(&base), Folded::Kept(0));
        assert_eq!(fold.add(&sentence(500..540)), Folded::Kept(1));
        let far = format!("{} {}", sentence(0..50), sentence(100..110));
        assert_eq!(fold.add(&far), Folded::Kept(2), "{}", jaccard(&base, &far));
        let near = format!("{} {}", sentence(0..50), sentence(100..109));
        assert_eq!(fold.add(&near), Folded::Into { kept: 2, agreement: jaccard(&far, &near) });
        // What was folded is no text that others are folded into.
        assert!(matches!(fold.add(&base), Folded::Into { kept: 0, agreement: 1.0 }));
    }

    proptest::proptest! {
        /// Against the definition, over texts that share much.
        #[test]
        fn the_agreement_is_jaccards(a in proptest::collection::vec(0u8..4, 14..60), b in proptest::collection::vec(0u8..4, 0..3)) {
            let text = |words: &[u8]| words.iter().map(|word| format!("w{word}")).collect::<Vec<_>>().join(" ");
            let (first, second) = (text(&a), text(&[&a[..a.len() - b.len()], &b[..]].concat()));
            let sizes = |text: &str| words(text).windows(SHINGLE_WORDS).map(<[String]>::to_vec).collect::<BTreeSet<_>>().len();
            let enough = sizes(&first) >= MIN_SHINGLES && sizes(&second) >= MIN_SHINGLES;
            let found = agreement(&first, &second);
            if first == second {
                proptest::prop_assert_eq!(found, Some(1.0));
            } else if enough && jaccard(&first, &second) >= NEAR {
                proptest::prop_assert!((found.expect("folded") - jaccard(&first, &second)).abs() < 1e-12);
            } else {
                proptest::prop_assert_eq!(found, None);
            }
        }
    }
}
