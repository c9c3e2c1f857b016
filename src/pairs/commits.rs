//! Pairs across groups: a commit and a piece of a file that it touched and that its message talks of.

use std::collections::{BTreeMap, BTreeSet};

use super::link::Link;
use crate::store::{Chunk, Commit, Kind, split_identifiers};

/// A commit of more files is a move, an import or a release, and says nothing about any of them.
pub(super) const MAX_FILES_PER_COMMIT: usize = 30;

/// The most files that one commit is paired with.
pub(super) const MAX_PAIRS_PER_COMMIT: usize = 3;

/// The most commits that one file is paired with, the best of them; a changelog would take all.
pub(super) const MAX_PAIRS_PER_FILE: usize = 4;

/// How many words the message and the piece of the file must have in common beside the file's name.
pub(super) const MIN_SHARED_WORDS: usize = 2;

/// A shorter word is seldom one of the matter ("the", "add", "fix").
const MIN_WORD_CHARACTERS: usize = 4;

/// File names that say nothing: the folder's name stands for them.
const NAMELESS: [&str; 5] = ["mod", "main", "lib", "index", "__init__"];

/// All links, the best first: by how plainly the message names the file, then by shared words, then by hash and path.
pub(super) fn links<'a>(groups: &BTreeMap<&'a str, Vec<&'a Chunk>>, commits: &[Commit]) -> Vec<Link<'a>> {
    let all = || groups.values().flatten().copied();
    let mut messages: BTreeMap<&str, &Chunk> = BTreeMap::new();
    let mut files: BTreeMap<&str, Vec<&Chunk>> = BTreeMap::new();
    for chunk in all() {
        match chunk.kind {
            Kind::Commit => _ = messages.entry(&chunk.path).or_insert(chunk),
            Kind::Document | Kind::Code => files.entry(&chunk.path).or_default().push(chunk),
            Kind::Session => {}
        }
    }
    // Most files are named by no message, so their words are not needed.
    let mut words_of: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let mut found = Vec::new();
    for commit in commits.iter().filter(|commit| commit.files.len() <= MAX_FILES_PER_COMMIT) {
        let Some(&message) = messages.get(commit.hash.as_str()) else { continue };
        let text = format!("{}\n{}", commit.subject, commit.body);
        let said = words(&text);
        for (path, pieces) in commit.files.iter().filter_map(|file| files.get_key_value(file.as_str())) {
            let named = naming(&text, &said, path);
            if named == 0 {
                continue;
            }
            let of_matter = |word: &&String| word.chars().nth(MIN_WORD_CHARACTERS - 1).is_some();
            let name_words = words(path);
            let mut best: Option<(usize, &Chunk)> = None;
            for &piece in pieces {
                let words = words_of.entry(piece.id).or_insert_with(|| words(&piece.text));
                let shared = words.intersection(&said).filter(of_matter).filter(|word| !name_words.contains(*word)).count();
                if shared >= MIN_SHARED_WORDS && best.is_none_or(|(most, _)| shared > most) {
                    best = Some((shared, piece));
                }
            }
            if let Some((shared, piece)) = best {
                found.push((named, shared, message, piece));
            }
        }
    }
    found.sort_by(|a, b| (b.0, b.1, &a.2.path, &a.3.path).cmp(&(a.0, a.1, &b.2.path, &b.3.path)));
    let mut of_commit: BTreeMap<u64, usize> = BTreeMap::new();
    let mut of_file: BTreeMap<&str, usize> = BTreeMap::new();
    let mut out = Vec::new();
    for (_, _, message, chunk) in found {
        let (commit, file) = (of_commit.entry(message.id).or_default(), of_file.entry(&chunk.path).or_default());
        if *commit < MAX_PAIRS_PER_COMMIT && *file < MAX_PAIRS_PER_FILE {
            *commit += 1;
            *file += 1;
            out.push(Link { anchor: message.id, positive: chunk.id, anchor_group: &message.group, positive_group: &chunk.group });
        }
    }
    out
}

/// How plainly a message names a file: 3 by its path, 2 by its name with extension, 1 by all words of its name, 0 not at all.
fn naming(message: &str, said: &BTreeSet<String>, path: &str) -> u8 {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    if path.contains('/') && stands_in(message, path) {
        return 3;
    }
    if name.contains('.') && stands_in(message, name) {
        return 2;
    }
    let stem = match path.rsplit('/').nth(1) {
        Some(folder) if NAMELESS.contains(&stem) => folder,
        _ => stem,
    };
    let mut parts = split_identifiers(stem);
    if parts.is_empty() {
        parts.extend(lower_words(stem));
    }
    let long = stem.chars().count() >= MIN_WORD_CHARACTERS && !NAMELESS.contains(&stem);
    u8::from(long && !parts.is_empty() && parts.iter().all(|part| said.contains(part)))
}

/// Whether `name` stands in the text with no letter, digit or path character grown onto it.
fn stands_in(text: &str, name: &str) -> bool {
    let grown = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/');
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let mut after = text[at + name.len()..].chars();
        let next = after.next();
        // "main.rs." ends a sentence; "main.rs.bak" is another file.
        let tail = next == Some('.') && after.next().is_some_and(char::is_alphanumeric);
        !before.is_some_and(|c| grown(c) || c == '.') && !next.is_some_and(grown) && !tail
    })
}

/// Whole words and split identifiers, in lower case.
fn words(text: &str) -> BTreeSet<String> {
    split_identifiers(text).into_iter().chain(lower_words(text)).collect()
}

fn lower_words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(message: &str, path: &str) -> u8 {
        super::naming(message, &words(message), path)
    }

    #[test]
    fn a_message_names_a_file_by_path_by_name_or_by_the_words_of_its_name() {
        assert_eq!(naming("move the parser to src/recipe/parse.rs.", "src/recipe/parse.rs"), 3);
        assert_eq!(naming("parse.rs: read it all", "src/recipe/parse.rs"), 2);
        assert_eq!(naming("parse.rs.bak, xparse.rs and a/parse.rs are others", "src/recipe/parse.rs"), 1);
        assert_eq!(naming("the session parser reads all sections", "src/session_parser.rs"), 1);
        assert_eq!(naming("the session reads all sections", "src/session_parser.rs"), 0);
        assert_eq!(naming("search folds equal texts", "src/search/mod.rs"), 1, "the folder stands for a nameless file");
        assert_eq!(naming("main things", "main.rs"), 0);
    }
}
