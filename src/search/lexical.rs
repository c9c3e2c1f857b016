//! From a question in plain words to an FTS5 MATCH expression that cannot be a syntax error.
//!
//! Only letters, digits and combining marks of the question reach the expression, always inside quotes; FTS5's own language
//! (`AND`, `NEAR`, `*`, `^`, `:`, parentheses) is not offered. Words are OR-ed, so that BM25 ranks by how many and how rare they are.

use std::collections::BTreeSet;

use crate::store::split_identifiers;

/// Of a longer question only this much is read: a pasted log is not a question, and each term costs a list to merge.
pub const MAX_QUESTION_CHARACTERS: usize = 4096;
/// The most terms of an expression; the first ones of the question count.
pub const MAX_TERMS: usize = 64;
/// A longer word (a pasted blob) is left out; hashes and long paths pass.
pub const MAX_TERM_CHARACTERS: usize = 128;
/// A shorter part of a compound identifier (the `v` of `openDB_v`) is not searched alone: it is in every file. The compound's phrase
/// has it.
pub const MIN_PART_CHARACTERS: usize = 2;

/// What ties words to one compound inside a question: `all-MiniLM-L6-v2`, `std::fs::write`, `src/search/mod.rs`, `snake_case`.
const TIES: [char; 7] = ['_', '-', '.', '/', '\\', ':', '@'];

/// English words that say nothing about the matter, sorted; the single letters are what an apostrophe leaves ("what's", "don't").
pub const STOP_WORDS: [&str; 136] = [
    "a", "about", "above", "after", "again", "against", "all", "also", "am", "an", "and", "any", "are", "aren", "as", "at", "be",
    "because", "been", "before", "being", "below", "between", "both", "but", "by", "can", "cannot", "could", "couldn", "d", "did", "didn",
    "do", "does", "doesn", "doing", "don", "down", "during", "each", "few", "for", "from", "further", "had", "has", "have", "having", "he",
    "her", "here", "him", "his", "how", "i", "if", "in", "into", "is", "isn", "it", "its", "just", "ll", "m", "me", "more", "most", "my",
    "no", "nor", "not", "of", "off", "on", "once", "only", "or", "other", "our", "out", "over", "own", "please", "re", "s", "same", "she",
    "should", "so", "some", "such", "t", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those",
    "through", "to", "too", "under", "until", "up", "us", "ve", "very", "was", "wasn", "we", "were", "what", "when", "where", "which",
    "while", "who", "whom", "whose", "why", "will", "with", "within", "without", "won", "would", "you", "your", "yours",
];

/// What is searched for, in the order of the question: each term is one word, or the words of a compound with single spaces
/// between, which stand for a phrase. Letter case is as typed; no term is there twice in whatever case.
///
/// Stop-words are left out, unless the question has nothing else. Empty if the question has no letter and no digit.
pub fn terms(question: &str) -> Vec<String> {
    let mut found = Terms::default();
    found.read(question, true);
    if found.terms.is_empty() {
        found.read(question, false);
    }
    found.terms
}

/// The FTS5 MATCH expression of these terms; `None` if there are none, when nothing can match.
pub fn match_expression(terms: &[String]) -> Option<String> {
    let quoted: Vec<String> = terms.iter().map(|term| format!("\"{}\"", term.replace('"', "\"\""))).collect();
    (!quoted.is_empty()).then(|| quoted.join(" OR "))
}

/// The FTS5 MATCH expression of all words of a text in their order, stop-words too: what says the same, whatever its case and marks.
/// `None` if the text has no word.
pub fn phrase(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split(|c| !is_word_character(c)).filter(|word| word.chars().any(char::is_alphanumeric)).collect();
    (!words.is_empty()).then(|| format!("\"{}\"", words.join(" ")))
}

/// Whether a lower-case word is one of [`STOP_WORDS`].
pub(super) fn is_stop_word(lower: &str) -> bool {
    STOP_WORDS.binary_search(&lower).is_ok()
}

/// A letter, a digit, or a mark over one: what FTS5's `unicode61` takes for part of a token.
pub(super) fn is_word_character(c: char) -> bool {
    c.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&c)
}

#[derive(Default)]
struct Terms {
    terms: Vec<String>,
    seen: BTreeSet<String>,
}

impl Terms {
    fn read(&mut self, question: &str, drop_stop_words: bool) {
        let end = question.char_indices().nth(MAX_QUESTION_CHARACTERS).map_or(question.len(), |(at, _)| at);
        let stop = |word: &str| drop_stop_words && is_stop_word(&word.to_lowercase());
        for compound in question[..end].split(|c: char| !is_word_character(c) && !TIES.contains(&c)) {
            let words: Vec<&str> = compound.split(|c| !is_word_character(c)).filter(|word| !word.is_empty()).collect();
            let told: Vec<&str> = words.iter().copied().filter(|word| !stop(word)).collect();
            if words.len() > 1 && !told.is_empty() {
                self.push(&words.join(" "));
            }
            for word in told {
                self.push(word);
                let parts = split_identifiers(word);
                if parts.len() > 1 {
                    self.push(&parts.join(" "));
                    let alone = |part: &&String| part.chars().count() >= MIN_PART_CHARACTERS && !part.chars().all(char::is_numeric);
                    for part in parts.iter().filter(alone).filter(|part| !stop(part)) {
                        self.push(part);
                    }
                }
            }
            if self.terms.len() >= MAX_TERMS {
                return;
            }
        }
    }

    fn push(&mut self, term: &str) {
        // What has only marks has no token.
        let fits = term.chars().nth(MAX_TERM_CHARACTERS).is_none() && term.chars().any(char::is_alphanumeric);
        if fits && self.terms.len() < MAX_TERMS && self.seen.insert(term.to_lowercase()) {
            self.terms.push(term.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(question: &str) -> String {
        match_expression(&terms(question)).unwrap_or_default()
    }

    #[test]
    fn words_are_quoted_and_ored_without_stop_words() {
        assert_eq!(expression("How does the scraper handle mojibake?"), r#""scraper" OR "handle" OR "mojibake""#);
        assert_eq!(expression("what's don't"), r#""what" OR "s" OR "don" OR "t""#, "nothing but stop-words is still a question");
        assert_eq!(expression("to be or not to be"), r#""to" OR "be" OR "or" OR "not""#);
        assert_eq!(expression("Cache cache CACHE"), r#""Cache""#);
    }

    #[test]
    fn compounds_are_kept_whole_and_split() {
        assert_eq!(expression("use std::fs::write"), r#""use" OR "std fs write" OR "std" OR "fs" OR "write""#);
        assert_eq!(expression("and/or, -x- ..."), r#""x""#);
        assert_eq!(expression("HTTPServerError"), r#""HTTPServerError" OR "http server error" OR "http" OR "server" OR "error""#);
        assert_eq!(
            expression("xOpenDB"),
            r#""xOpenDB" OR "x open db" OR "open" OR "db""#,
            "single letters are searched in the phrase only"
        );
    }

    #[test]
    fn the_query_language_is_plain_text() {
        assert_eq!(
            expression(r#"title:foo* NEAR(a "b", 3) ^x AND NOT {y} - "#),
            r#""title foo" OR "title" OR "foo" OR "NEAR" OR "b" OR "3" OR "x" OR "y""#
        );
        assert_eq!(expression("\"\"\" \0 ' ; -- \u{1b}[31m"), r#""31m""#);
        assert_eq!(expression("\u{1f600} \u{301} \n"), "");
    }

    #[test]
    fn a_phrase_has_every_word_and_no_mark() {
        assert_eq!(phrase("fix(search): the \"k\" of RRF, again").as_deref(), Some(r#""fix search the k of RRF again""#));
        assert_eq!(phrase(" -- \u{301} "), None);
    }

    #[test]
    fn a_long_question_is_bounded() {
        let many: String = (0..100_000).map(|i| format!("word{i} ")).collect();
        assert_eq!(terms(&many).len(), MAX_TERMS);
        assert_eq!(terms(&"x".repeat(1 << 20)), Vec::<String>::new());
        assert!(terms(&"\u{e9}/".repeat(1 << 19)).len() <= 2);
    }
}
