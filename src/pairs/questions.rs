//! Questions that the project's texts hold and answer themselves: headings, lines that ask, and doc comments.
//!
//! A question is a short text of its own, as a user would ask it, and its answer the chunk that it stands in. It becomes a chunk that is
//! only trained and judged with and never searched; its group is that of its answer, so that both are on the same side of a split. The
//! answer's text still holds the question's words, as most texts hold some of the words that they are searched with.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use super::eligible::{key, keys};
use super::within::{HEADING_SEPARATOR, spread};
use crate::store::{Chunk, Kind, Symbol};

/// A question of fewer words says too little ("Next steps").
pub(super) const MIN_QUESTION_WORDS: usize = 3;
/// A longer line is a paragraph that ends in a question mark.
pub(super) const MAX_QUESTION_CHARACTERS: usize = 300;
/// An answer has at least so many characters beside the question.
pub(super) const MIN_ANSWER_CHARACTERS: usize = 40;
/// The most questions that one file or session asks.
pub(super) const MAX_QUESTIONS_PER_GROUP: usize = 12;
/// The most questions of a project: each is embedded, whenever a projection is trained.
pub const MAX_QUESTIONS: usize = 4000;

/// The questions with the ids of their answers, ordered by id. `chunks` are all that may answer, `symbols` those of the project.
///
/// A text that asks in two groups is left out: it would be on two sides of a split, and what every session asks ("Next steps") asks
/// nothing. So is one that is all that a chunk of another group says, which would be on two sides as well.
pub(super) fn find(chunks: &[&Chunk], symbols: &[Symbol]) -> Vec<(Chunk, u64)> {
    let mut files: BTreeMap<&str, Vec<&Chunk>> = BTreeMap::new();
    for chunk in chunks {
        files.entry(&chunk.path).or_default().push(chunk);
    }
    let mut found: Vec<(String, &Chunk)> = Vec::new();
    for pieces in files.values_mut() {
        pieces.sort_by_key(|chunk| (chunk.line, chunk.id));
        headings(pieces, &mut found);
        lines(pieces, &mut found);
    }
    let by_id: BTreeMap<u64, &Chunk> = chunks.iter().map(|chunk| (chunk.id, *chunk)).collect();
    for symbol in symbols {
        if let Some(chunk) = symbol.chunk.and_then(|id| by_id.get(&id).copied())
            && let Some(said) = first_sentence(&symbol.doc)
        {
            found.push((said, chunk));
        }
    }
    let mut asked: BTreeMap<[u8; 32], Vec<(String, &Chunk)>> = BTreeMap::new();
    for (text, answer) in found.into_iter().filter(|(text, _)| says_enough(text)) {
        asked.entry(key(&text)).or_default().push((text, answer));
    }
    let said = said_whole(chunks, &asked);
    let mut groups: BTreeMap<&str, Vec<(String, &Chunk)>> = BTreeMap::new();
    for (key, mut places) in asked {
        let (text, answer) = places.swap_remove(0);
        let elsewhere = said.get(&key).is_some_and(|groups| groups.iter().any(|group| *group != answer.group));
        if !elsewhere && places.iter().all(|(_, other)| other.group == answer.group) {
            groups.entry(&answer.group).or_default().push((text, answer));
        }
    }
    let mut all: Vec<(Chunk, u64)> = Vec::new();
    for asked in groups.values_mut() {
        asked.sort_by(|a, b| (a.1.line, &a.0, a.1.id).cmp(&(b.1.line, &b.0, b.1.id)));
        let kept = spread(&(0..asked.len()).collect::<Vec<_>>(), MAX_QUESTIONS_PER_GROUP);
        all.extend(kept.into_iter().map(|at| (question(&asked[at].0, asked[at].1), asked[at].1.id)));
    }
    let kept = spread(&(0..all.len()).collect::<Vec<_>>(), MAX_QUESTIONS);
    let mut kept: Vec<(Chunk, u64)> = kept.into_iter().map(|at| all[at].clone()).collect();
    kept.sort_by_key(|(question, _)| question.id);
    kept.dedup_by_key(|(question, _)| question.id);
    kept
}

/// In which groups what is asked is a whole chunk.
fn said_whole<'a, T>(chunks: &[&'a Chunk], asked: &BTreeMap<[u8; 32], T>) -> HashMap<[u8; 32], BTreeSet<&'a str>> {
    let mut said: HashMap<[u8; 32], BTreeSet<&str>> = HashMap::new();
    for chunk in chunks {
        for key in keys(chunk).into_iter().filter(|key| asked.contains_key(key)) {
            said.entry(key).or_default().insert(&chunk.group);
        }
    }
    said
}

/// The last heading above each section asks for its first piece.
fn headings<'a>(pieces: &[&'a Chunk], found: &mut Vec<(String, &'a Chunk)>) {
    let mut last = "";
    for chunk in pieces.iter().copied().filter(|chunk| matches!(chunk.kind, Kind::Document | Kind::Session)) {
        let heading = chunk.title.rsplit(HEADING_SEPARATOR).next().unwrap_or_default().trim();
        if chunk.title != last && chunk.text.trim().chars().nth(MIN_ANSWER_CHARACTERS - 1).is_some() {
            found.push((heading.to_owned(), chunk));
        }
        last = &chunk.title;
    }
}

/// A line that ends in a question mark asks for what comes after it: its own piece, or the next one of the section if it is the last line.
fn lines<'a>(pieces: &[&'a Chunk], found: &mut Vec<(String, &'a Chunk)>) {
    for (at, chunk) in pieces.iter().copied().enumerate().filter(|(_, chunk)| matches!(chunk.kind, Kind::Document | Kind::Session)) {
        let mut rest = chunk.text.as_str();
        while let Some((line, after)) = rest.split_once('\n').or_else(|| (!rest.is_empty()).then_some((rest, ""))) {
            rest = after;
            let Some(text) = asks(line) else { continue };
            let answers = |text: &str| text.trim().chars().nth(MIN_ANSWER_CHARACTERS - 1).is_some();
            let next = pieces.get(at + 1).copied().filter(|next| next.title == chunk.title && answers(&next.text));
            if answers(after) {
                found.push((text, chunk));
            } else if let (true, Some(next)) = (after.trim().is_empty(), next) {
                found.push((text, next));
            }
        }
    }
}

/// The question that a line is, without marks of lists, quotes and emphasis.
fn asks(line: &str) -> Option<String> {
    let marks = |c: char| c.is_whitespace() || matches!(c, '-' | '*' | '>' | '#' | '_' | '+' | '"' | '`' | '(' | ')');
    let text = line.trim_matches(marks).trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || marks(c));
    (text.ends_with('?') && text.chars().count() <= MAX_QUESTION_CHARACTERS).then(|| text.to_owned())
}

/// What a doc comment says first.
fn first_sentence(doc: &str) -> Option<String> {
    let paragraph = doc.split("\n\n").next()?.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = paragraph.split_once(". ").map_or(paragraph.as_str(), |(first, _)| first).trim_end_matches('.');
    (!sentence.is_empty()).then(|| sentence.chars().take(MAX_QUESTION_CHARACTERS).collect())
}

fn says_enough(text: &str) -> bool {
    let words = text.split_whitespace().filter(|word| word.chars().filter(|c| c.is_alphabetic()).count() > 1);
    words.count() >= MIN_QUESTION_WORDS
}

/// The question as a chunk: of the kind, place, date and group of its answer, with an id of its own.
fn question(text: &str, answer: &Chunk) -> Chunk {
    let hash =
        Sha256::new().chain_update("question\0").chain_update(answer.group.as_bytes()).chain_update("\0").chain_update(text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    // The top bit, which no chunk of the store has, says that it is none of them.
    let id = u64::from_be_bytes(first) | QUESTION_BIT;
    Chunk { id, title: String::new(), text: text.to_owned(), end_line: answer.line, ..answer.clone() }
}

/// Set in the id of every question, and of no chunk of the store.
pub const QUESTION_BIT: u64 = 1 << 63;
