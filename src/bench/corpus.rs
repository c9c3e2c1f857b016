//! The texts that a benchmark embeds: a file of them, a project's own, or those that ship with Patina; and the short queries made of them.

use std::path::Path;

use serde::Deserialize;

use crate::bench::result;
use crate::error::{Error, Result};
use crate::fs;
use crate::store::Store;

/// Bytes of a corpus that are read.
const LIMIT: u64 = 1 << 30;

/// Words of a query, at most: questions that people type have fewer.
const QUERY_WORDS: usize = 12;

/// Real texts of this repository (documentation, comments, code, recipes), as they were when the set was made: it changes only under another
/// name, for figures are compared over versions.
const BUILT_IN: &str = include_str!("corpus.jsonl");
/// Its name.
pub const BUILT_IN_NAME: &str = "built-in-1";
/// The name of a project's own texts.
pub const PROJECT_NAME: &str = "project";

const HINT: &str = "a .jsonl file has a JSON object with `text` on each line, a .txt file a text on each line";

/// Texts, none of which is blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// The file's name, or that of a built-in set.
    pub name: String,
    /// At least one.
    pub texts: Vec<String>,
}

/// Texts of a project, at most `most`: every n-th chunk by id, which is as good as by chance. None if it has no chunks.
pub fn project_texts(store: &Store, most: usize) -> Result<Vec<String>> {
    let keys = store.chunk_keys()?;
    let step = keys.len().div_ceil(most).max(1);
    let ids: Vec<u64> = keys.iter().step_by(step).map(|key| key.0).collect();
    Ok(store.chunks_by_id(&ids)?.iter().map(|chunk| chunk.embed_text()).collect())
}

#[derive(Deserialize)]
struct JsonLine {
    text: String,
}

impl Corpus {
    /// Reads a file of texts.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) with the place if a line is not what it must be, or if there is no text.
    pub fn read(path: &Path) -> Result<Corpus> {
        if !path.exists() {
            return Err(Error::missing("there is no such file; texts were expected").at(path).hint(HINT));
        }
        let lines_are_json = match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl") => true,
            Some("txt") => false,
            _ => return Err(Error::usage("the name of a corpus must end with .jsonl or .txt").at(path).hint(HINT)),
        };
        let text = String::from_utf8(fs::read_limited(path, LIMIT)?).map_err(|e| {
            let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
            let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
            Error::usage("the line is not UTF-8").at_line(path, line, 1).hint("convert the file to UTF-8")
        })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let texts = if lines_are_json { parse(&text, path)? } else { text.lines().map(str::to_owned).collect() };
        Corpus::of(name, texts).map_err(|e| e.at(path).hint(HINT))
    }

    /// The texts that ship with Patina.
    pub fn built_in() -> Result<Corpus> {
        Corpus::of(BUILT_IN_NAME.into(), parse(BUILT_IN, Path::new("corpus.jsonl"))?)
    }

    /// Given texts; blank ones are left out, for they have no token.
    pub fn of(name: String, mut texts: Vec<String>) -> Result<Corpus> {
        texts.retain(|text| !text.trim().is_empty());
        match texts.is_empty() {
            true => Err(Error::usage("the corpus holds no text")),
            false => Ok(Corpus { name, texts }),
        }
    }

    /// What the result says of it.
    pub fn report(&self) -> result::Corpus {
        result::Corpus { name: self.name.clone(), texts: self.texts.len(), sha256: self.sha256() }
    }

    /// The SHA-256 of the texts, each followed by a zero byte.
    pub fn sha256(&self) -> String {
        let mut bytes = Vec::with_capacity(self.texts.iter().map(|text| text.len() + 1).sum());
        for text in &self.texts {
            bytes.extend(text.as_bytes());
            bytes.push(0);
        }
        fs::sha256(&bytes)
    }

    /// `count` queries: the first words of texts from all over the corpus, which comes round again if it has fewer.
    pub fn queries(&self, count: usize) -> Vec<String> {
        let words = |text: &String| text.split_whitespace().take(QUERY_WORDS).collect::<Vec<_>>().join(" ");
        self.spread(count).iter().map(words).collect()
    }

    /// `count` texts from all over the corpus, in its order; with repetition if it has fewer.
    pub fn spread(&self, count: usize) -> Vec<String> {
        let n = self.texts.len();
        let at = |i: usize| if count <= n { i * n / count } else { i % n };
        (0..count).map(|i| self.texts[at(i)].clone()).collect()
    }
}

fn parse(text: &str, path: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let line: JsonLine = serde_json::from_str(line).map_err(|e| {
            let message = e.to_string();
            // The place is told with the file.
            let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
            Error::usage(format!("the line does not fit: {reason}")).at_line(path, number, e.column().max(1)).hint(HINT)
        })?;
        texts.push(line.text);
    }
    Ok(texts)
}

/// As many texts as `texts`, each of exactly `length` tokens once it is cut there: a text that is too short is followed by the ones after it.
/// `tokens` counts those of a text after the cut.
pub(super) fn uniform(texts: &[String], length: usize, tokens: impl Fn(&str) -> Result<usize>) -> Result<Vec<String>> {
    /// More texts than this make no row longer: they have no tokens.
    const MOST_JOINED: usize = 10_000;
    let mut out = Vec::with_capacity(texts.len());
    for start in 0..texts.len() {
        let (mut text, mut joined) = (texts[start].clone(), 1);
        while tokens(&text)? < length {
            if joined > MOST_JOINED {
                return Err(Error::usage(format!("the corpus does not give a text of {length} tokens")));
            }
            // Twice as many each time, so that few of them are counted: what is too much is cut.
            for next in start + joined..start + 2 * joined {
                text.push(' ');
                text.push_str(&texts[next % texts.len()]);
            }
            joined *= 2;
        }
        out.push(text);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(texts: &[&str]) -> Corpus {
        Corpus::of("x".into(), texts.iter().map(|text| (*text).to_owned()).collect()).expect("a corpus")
    }

    #[test]
    fn the_texts_that_ship_are_many_real_and_the_same() {
        let built_in = Corpus::built_in().expect("texts");
        assert!(built_in.texts.len() >= 300, "{}", built_in.texts.len());
        let words = |text: &String| text.split_whitespace().count();
        let mut lengths: Vec<usize> = built_in.texts.iter().map(words).collect();
        lengths.sort_unstable();
        assert!(lengths[0] <= 8 && lengths[lengths.len() - 1] >= 150, "short and long: {lengths:?}");
        // A change of the texts would make figures of two versions look comparable that are not: give the new set a new name.
        assert_eq!(
            (BUILT_IN_NAME, built_in.sha256().as_str()),
            ("built-in-1", "78c869ac299f3b8b43c2bf2c4c4ccac10441ef1a6253b3096873db78327cf11d")
        );
    }

    #[test]
    fn the_hash_tells_texts_apart() {
        assert_eq!(corpus(&["a", "b"]).sha256(), fs::sha256(b"a\0b\0"));
        assert_ne!(corpus(&["ab"]).sha256(), corpus(&["a", "b"]).sha256());
    }

    #[test]
    fn queries_come_from_all_over() {
        let many = corpus(&["one two", "three", "four five six", "seven"]);
        assert_eq!(many.queries(2), ["one two", "four five six"]);
        assert_eq!(many.queries(5), ["one two", "three", "four five six", "seven", "one two"]);
        let long = corpus(&["a b c d e f g h i j k l m n o p"]);
        assert_eq!(long.queries(1), ["a b c d e f g h i j k l"]);
    }

    #[test]
    fn uniform_texts_have_the_length() {
        let texts = ["a b", "c", "d e f g h"].map(str::to_owned);
        let count = |text: &str| Ok(text.split(' ').count().min(4));
        assert_eq!(uniform(&texts, 4, count).expect("texts"), ["a b c d e f g h a b", "c d e f g h", "d e f g h"]);
        uniform(&["a".to_owned()], 4, |_| Ok(1)).expect_err("no text ever has four tokens");
    }

    #[test]
    fn what_is_no_corpus_is_said_with_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write_atomic(&path, |out| out.write_all(bytes)).expect("written");
            Corpus::read(&path)
        };
        assert_eq!(read("a.txt", b"one\n\ntwo\r\n").expect("texts").texts, ["one", "two"]);
        assert_eq!(read("a.jsonl", b"{\"text\": \"one\", \"id\": 4}\n").expect("texts").texts, ["one"]);
        for (name, bytes) in [("empty.txt", b"".as_slice()), ("blank.jsonl", b"{\"text\": \" \"}"), ("a.csv", b"one")] {
            let error = read(name, bytes).expect_err(name);
            assert_eq!(error.kind().exit_code(), 2, "{error}");
            assert!(error.hint_text().is_some());
        }
        for bytes in [b"{\"text\": \"a\"}\n{\"txt\": \"a\"}".as_slice(), b"{\"text\": \"a\"}\n\xff"] {
            let name = if bytes.ends_with(b"}") { "b.jsonl" } else { "b.txt" };
            assert_eq!(read(name, bytes).expect_err(name).place().and_then(|place| place.at).map(|at| at.0), Some(2));
        }
    }
}
