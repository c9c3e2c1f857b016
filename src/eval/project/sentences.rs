//! Sentences to files: a sentence of a note or a document asks for its file, without the piece that it stands in.
//!
//! It is the one question that every project with notes or documents can answer, with or without a history: the file's other pieces are about
//! the same matter in other words. Sentences are as short as what people ask.

use std::collections::{BTreeMap, BTreeSet};

use super::{Query, Set, Unit};
use crate::error::Result;
use crate::search::lexical;
use crate::store::{Chunk, Kind, Store};

/// A sentence of fewer words says too little.
pub const MIN_WORDS: usize = 5;
/// A longer sentence is cut after so many words.
pub const MAX_WORDS: usize = 14;
/// The most questions of one file: long files would dominate.
pub const MAX_PER_FILE: usize = 4;
/// The most chunks that are read for questions: whole files, as good as drawn by chance.
const MOST_CHUNKS: usize = 100_000;
/// A sentence that stands in more chunks than this is a template's.
const MOST_HOLDERS: usize = 2;

/// The questions, at most `limit`. `trained` are the groups of all pairs that a projection of the project was trained on: none of their
/// sentences asks, for pieces of one file were taught to be near each other.
pub fn sentences(store: &Store, trained: &BTreeSet<String>, limit: usize) -> Result<Set> {
    let mut set = Set {
        name: "sentences".to_owned(),
        about: "a sentence of a note or document asks for its file, without its own piece".to_owned(),
        queries: Vec::new(),
        kinds: vec![Kind::Session, Kind::Document, Kind::Code],
        unit: Unit::File,
        left_out: Vec::new(),
        notes: Vec::new(),
    };
    let mut files: BTreeMap<String, Vec<Chunk>> = BTreeMap::new();
    for chunk in store.sample(MOST_CHUNKS)? {
        if matches!(chunk.kind, Kind::Session | Kind::Document) {
            files.entry(chunk.path.clone()).or_default().push(chunk);
        }
    }
    let (mut short, mut seen, mut template) = (0, 0, 0);
    for (path, mut chunks) in files {
        if chunks.len() < 2 {
            short += 1;
            continue;
        }
        if trained.contains(&path) {
            seen += 1;
            continue;
        }
        chunks.sort_by_key(|chunk| (chunk.line, chunk.id));
        let mut asked = 0;
        // Spread over the file: its beginning is not what all of it is about.
        for at in spread(chunks.len(), MAX_PER_FILE * 2) {
            let chunk = &chunks[at];
            let Some(text) = sentence(&chunk.text).filter(|_| asked < MAX_PER_FILE) else { continue };
            let holders = match lexical::phrase(&text) {
                Some(phrase) => store.lexical(&phrase, MOST_HOLDERS + 1)?,
                None => continue,
            };
            if holders.len() > MOST_HOLDERS {
                template += 1;
                continue;
            }
            let without: BTreeSet<u64> = holders.into_iter().map(|(id, _)| id).chain([chunk.id]).collect();
            if chunks.iter().all(|chunk| without.contains(&chunk.id)) {
                continue;
            }
            let (id, relevant) = (format!("{path}:{}", chunk.line), BTreeSet::from([path.clone()]));
            set.queries.push(Query { id, text, group: path.clone(), relevant, without, places: BTreeMap::new() });
            asked += 1;
        }
    }
    set.left_out("files", "of one piece", short);
    set.left_out("files", "a projection was trained on pairs of them", seen);
    set.left_out("sentences", "stand in more than two pieces", template);
    set.draw(limit, "sentences");
    Ok(set)
}

/// At most `most` places, evenly spaced over a list of `len`.
fn spread(len: usize, most: usize) -> impl Iterator<Item = usize> {
    let taken = len.min(most);
    (0..taken).map(move |at| at * len / taken)
}

/// The first sentence or line of a text that has words enough, without the marks of Markdown, and no longer than a question.
fn sentence(text: &str) -> Option<String> {
    let ends = |c: char| matches!(c, '\n' | '!' | '?' | ';') || c == '.';
    let mut rest = text;
    while !rest.is_empty() {
        // A full stop inside a word ends nothing: `main.rs`, `0.3`.
        let end = rest
            .char_indices()
            .find(|&(at, c)| ends(c) && (c == '\n' || rest[at + c.len_utf8()..].starts_with(|c: char| c.is_whitespace())));
        let (line, after) = match end {
            Some((at, c)) => (&rest[..at], &rest[at + c.len_utf8()..]),
            None => (rest, ""),
        };
        let words: Vec<&str> = line
            .split_whitespace()
            .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
            .filter(|word| word.chars().any(char::is_alphabetic))
            .collect();
        if words.len() >= MIN_WORDS {
            return Some(words[..words.len().min(MAX_WORDS)].join(" "));
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_as_long_as_a_question() {
        let asked = |text: &str| sentence(text).unwrap_or_default();
        assert_eq!(
            asked("## Goals\n- [ ] **Short** one.\n- `main.rs` of v0.3 reads the whole file at once! And more."),
            "main.rs of v0.3 reads the whole file at once"
        );
        assert_eq!(asked("too short. still short\n\nno"), "");
        let long = "word ".repeat(40);
        assert_eq!(asked(&long).split(' ').count(), MAX_WORDS);
        assert_eq!(asked(""), "");
    }

    #[test]
    fn places_are_spread_over_the_file() {
        assert_eq!(spread(3, 8).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(spread(16, 8).collect::<Vec<_>>(), [0, 2, 4, 6, 8, 10, 12, 14]);
    }
}
