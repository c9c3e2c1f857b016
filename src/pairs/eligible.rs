//! Which chunks may teach: long enough to mean something, and found in one place only.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::store::Chunk;

/// A chunk of fewer characters says too little to learn from ("- [ ] write tests").
pub(super) const MIN_CHARACTERS: usize = 40;

/// A text in more groups than this is left out. One: a text that stands in two groups would be in training and in the test when
/// the groups are on different sides, and what stands in every session is a template, which teaches that all sessions are alike.
pub(super) const MAX_GROUPS_OF_A_TEXT: usize = 1;

/// What makes two bodies the same text: letter case, spaces and numbers do not count, because templates are filled with dates,
/// times and counters.
pub(super) fn body_key(text: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut in_number = false;
    for word in text.split_whitespace() {
        for c in word.chars() {
            if c.is_numeric() {
                if !in_number {
                    hash.update(b"0");
                }
            } else {
                for lower in c.to_lowercase() {
                    hash.update(lower.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            in_number = c.is_numeric();
        }
        hash.update(b" ");
        in_number = false;
    }
    hash.finalize().into()
}

/// The chunks that may be on either side of a pair, ordered by id. Of equal texts within one group the first of the file stays.
pub(super) fn select(chunks: &[Chunk]) -> Vec<&Chunk> {
    let mut keys: BTreeMap<[u8; 32], (BTreeSet<&str>, &Chunk)> = BTreeMap::new();
    for chunk in chunks.iter().filter(|chunk| chunk.text.trim().chars().nth(MIN_CHARACTERS - 1).is_some()) {
        let (groups, first) = keys.entry(body_key(&chunk.text)).or_insert_with(|| (BTreeSet::new(), chunk));
        groups.insert(&chunk.group);
        if (&chunk.path, chunk.line, chunk.id) < (&first.path, first.line, first.id) {
            *first = chunk;
        }
    }
    let mut kept: Vec<&Chunk> =
        keys.into_values().filter(|(groups, _)| groups.len() <= MAX_GROUPS_OF_A_TEXT).map(|(_, chunk)| chunk).collect();
    kept.sort_unstable_by_key(|chunk| chunk.id);
    kept
}
