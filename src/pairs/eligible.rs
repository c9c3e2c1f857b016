//! Which chunks may teach: long enough to mean something, and found in one place only.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::store::{Chunk, Kind};

/// A chunk of fewer characters says too little to learn from ("- [ ] write tests").
pub(super) const MIN_CHARACTERS: usize = 40;

/// A text in more groups than this is left out. One: a text that stands in two groups would be in training and in the test when
/// the groups are on different sides, and what stands in every session is a template, which teaches that all sessions are alike.
pub(super) const MAX_GROUPS_OF_A_TEXT: usize = 1;

/// What makes two chunks the same text. Of all but commits the text alone does, and for all it is what is embedded, title
/// included; two commits of the same files have the same text but another subject.
pub(super) fn keys(chunk: &Chunk) -> Vec<[u8; 32]> {
    let mut keys = vec![key(&chunk.embed_text())];
    if chunk.kind != Kind::Commit {
        keys.push(key(&chunk.text));
    }
    keys
}

/// The same for texts that differ in letter case, spaces and numbers only: templates are filled with dates, times and counters.
pub(super) fn key(text: &str) -> [u8; 32] {
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
    let long: Vec<(&Chunk, Vec<[u8; 32]>)> = chunks.iter().filter(|chunk| is_long(chunk)).map(|chunk| (chunk, keys(chunk))).collect();
    let mut places: BTreeMap<[u8; 32], (BTreeSet<&str>, &Chunk)> = BTreeMap::new();
    for (chunk, keys) in &long {
        for key in keys {
            let (groups, first) = places.entry(*key).or_insert_with(|| (BTreeSet::new(), chunk));
            groups.insert(&chunk.group);
            if (&chunk.path, chunk.line, chunk.id) < (&first.path, first.line, first.id) {
                *first = chunk;
            }
        }
    }
    let is_only =
        |chunk: &Chunk, key| places.get(key).is_some_and(|(groups, first)| groups.len() <= MAX_GROUPS_OF_A_TEXT && first.id == chunk.id);
    let mut kept: Vec<&Chunk> =
        long.iter().filter(|(chunk, keys)| keys.iter().all(|key| is_only(chunk, key))).map(|(chunk, _)| *chunk).collect();
    kept.sort_unstable_by_key(|chunk| chunk.id);
    kept
}

fn is_long(chunk: &Chunk) -> bool {
    let long = |text: &str| text.trim().chars().nth(MIN_CHARACTERS - 1).is_some();
    long(&chunk.text) || (chunk.kind == Kind::Commit && long(&chunk.embed_text()))
}
