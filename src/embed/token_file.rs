//! What a `tokenizer.json` may ask for: it is a small program that a stranger wrote, and the tokenizers crate runs what it says. Here it is
//! looked through before that, for what would take memory or time without bound.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The longest regular expression in bytes; the longest of real tokenizers have some 600.
const PATTERN_LIMIT: usize = 16 << 10;
/// The most that the counts in a regular expression may come to together: `(a{100}){100}` is 10,000 copies of `a`. Real ones stay below 10.
const REPEAT_LIMIT: u64 = 1000;
/// How many times longer the normalizers may make a text. SentencePiece's own make 33 bytes of one letter (U+FDFA is a sentence), and some
/// replace a space by three bytes after it.
const GROWTH_LIMIT: usize = 160;
/// The longest token in bytes; real vocabularies have runs of spaces and dashes of at most some hundred.
const TOKEN_LIMIT: usize = 1024;
/// The longest mark of a part of a word; real ones have two letters.
const MARK_LIMIT: usize = 64;
/// The longest word that WordPiece takes apart, for which it needs the square of it; real ones say 100.
const WORD_LIMIT: u64 = 1000;
/// Tokens longer than this, and longer words, make the time for a text hard to foresee.
const USUAL_TOKEN: usize = 256;
const USUAL_WORD: u64 = 200;

/// Regular expressions of well-known tokenizers, for which no text takes long. Another one may need the square of a text or more.
const KNOWN_PATTERNS: &[&str] = &[
    " {2,}",
    "\\s+",
    "\\s",
    " ",
    // GPT-2
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    // Qwen 2 and 3
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    // GPT-4, Llama 3
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// What is known of a file that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Looked {
    /// Whether some text may take long: such a tokenizer is given a time for each.
    pub slow: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, expecting = "a tokenizer")]
struct File {
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    decoder: Value,
    model: Model,
}

#[derive(Default, Deserialize)]
#[serde(default, expecting = "a model of tokens")]
struct Model {
    vocab: Vocabulary,
    dropout: Value,
    max_input_chars_per_word: Value,
    continuing_subword_prefix: Value,
    end_of_word_suffix: Value,
}

/// Looks through the bytes of a `tokenizer.json`. What it does not know it leaves to the tokenizers crate.
pub(super) fn look(bytes: &[u8]) -> Result<Looked, String> {
    let file: File = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let mut slow = false;
    for part in [&file.normalizer, &file.pre_tokenizer, &file.decoder] {
        for pattern in found(part, "Regex") {
            let Value::String(pattern) = pattern else { continue };
            if pattern.len() > PATTERN_LIMIT {
                return Err(format!("a regular expression has {} bytes; the most are {PATTERN_LIMIT}", pattern.len()));
            }
            if repeats(pattern) > REPEAT_LIMIT {
                return Err(format!("the counts of a regular expression come to more than {REPEAT_LIMIT} repetitions"));
            }
            slow |= !KNOWN_PATTERNS.contains(&pattern.as_str());
        }
    }
    if growth(&file.normalizer)? > GROWTH_LIMIT {
        return Err(format!("the normalizers can make a text more than {GROWTH_LIMIT} times as long"));
    }
    for template in found(&file.post_processor, "single") {
        let texts = template.as_array().map_or(0, |parts| parts.iter().filter(|part| part.get("Sequence").is_some()).count());
        if texts > 1 {
            return Err(format!("the template has the text {texts} times"));
        }
    }
    if file.model.dropout.as_f64().is_some_and(|dropout| dropout != 0.0) {
        return Err("it leaves merges out at random (dropout), so that a text has no vector of its own".into());
    }
    for (name, mark) in
        [("continuing_subword_prefix", &file.model.continuing_subword_prefix), ("end_of_word_suffix", &file.model.end_of_word_suffix)]
    {
        if mark.as_str().is_some_and(|mark| mark.len() > MARK_LIMIT) {
            return Err(format!("{name} has more than {MARK_LIMIT} bytes"));
        }
    }
    let word = file.model.max_input_chars_per_word.as_u64().unwrap_or(0);
    if word > WORD_LIMIT {
        return Err(format!("max_input_chars_per_word is {word}; the most are {WORD_LIMIT}"));
    }
    let longest = file.model.vocab.longest;
    if longest > TOKEN_LIMIT {
        return Err(format!("a token has {longest} bytes; the most are {TOKEN_LIMIT}"));
    }
    Ok(Looked { slow: slow || longest > USUAL_TOKEN || word > USUAL_WORD })
}

/// The length of the longest token: of a map of tokens, or of a list of pairs.
#[derive(Default)]
struct Vocabulary {
    longest: usize,
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Vocabulary, D::Error> {
        struct Tokens;
        impl<'de> Visitor<'de> for Tokens {
            type Value = Vocabulary;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
                let mut longest = 0;
                while let Some((token, _)) = map.next_entry::<String, IgnoredAny>()? {
                    longest = longest.max(token.len());
                }
                Ok(Vocabulary { longest })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocabulary, A::Error> {
                let mut longest = 0;
                while let Some((token, _)) = list.next_element::<(String, IgnoredAny)>()? {
                    longest = longest.max(token.len());
                }
                Ok(Vocabulary { longest })
            }
        }
        deserializer.deserialize_any(Tokens)
    }
}

/// Every value of this key, however deep.
fn found<'a>(part: &'a Value, key: &str) -> Vec<&'a Value> {
    match part {
        Value::Object(map) => {
            map.iter().flat_map(|(name, inner)| (name == key).then_some(inner).into_iter().chain(found(inner, key))).collect()
        }
        Value::Array(list) => list.iter().flat_map(|inner| found(inner, key)).collect(),
        _ => Vec::new(),
    }
}

/// The product of all counts `{n}`, `{n,}` and `{n,m}` of a regular expression. Where braces mean something else (`\p{L}`) nothing counts.
fn repeats(pattern: &str) -> u64 {
    let counts = pattern.split('{').skip(1).filter_map(|after| {
        let (inside, _) = after.split_once('}')?;
        let numbers: Option<Vec<u64>> = inside.split(',').map(str::trim).filter(|text| !text.is_empty()).map(number).collect();
        numbers?.into_iter().max()
    });
    counts.fold(1, |product, count| product.saturating_mul(count.max(1)))
}

/// A number of any length; one that is too long is as good as the greatest.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().unwrap_or(u64::MAX))
}

/// How many times longer the normalizers can make a text, at most.
fn growth(part: &Value) -> Result<usize, String> {
    match part {
        Value::Array(list) => list.iter().try_fold(1usize, |product, inner| Ok(product.saturating_mul(growth(inner)?))),
        Value::Object(map) => {
            let text = |key: &str| map.get(key).and_then(Value::as_str);
            let own = match (text("content"), text("prepend"), text("precompiled_charsmap")) {
                (Some(content), _, _) => match map.get("pattern").and_then(|pattern| pattern.get("String")).and_then(Value::as_str) {
                    Some(pattern) if !pattern.is_empty() => content.len().div_ceil(pattern.len()).max(1),
                    // It can be between all letters.
                    _ => content.len() + 1,
                },
                // Once for every part of a text between two added tokens, which have a letter at least.
                (_, Some(prepend), _) => prepend.len() + 1,
                (_, _, Some(map)) => longest_piece(map)?,
                _ => 1,
            };
            map.values()
                .filter(|inner| inner.is_array() || inner.is_object())
                .try_fold(own, |product, inner| Ok(product.saturating_mul(growth(inner)?)))
        }
        _ => Ok(1),
    }
}

/// The longest replacement of SentencePiece's compiled normalizer: the length of a trie, the trie, and replacements that end with NUL. The
/// crate that reads it makes room for as long a trie as it is told.
fn longest_piece(base64: &str) -> Result<usize, String> {
    let wrong = || "its precompiled_charsmap is damaged".to_owned();
    let bytes = decoded(base64).ok_or_else(wrong)?;
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(wrong)?;
    let replacements = rest.get(u32::from_le_bytes(*length) as usize..).ok_or_else(wrong)?;
    Ok(replacements.split(|&byte| byte == 0).map(<[u8]>::len).max().unwrap_or(0).max(1))
}

/// RFC 4648, with padding or without.
fn decoded(base64: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(base64.len() / 4 * 3 + 3);
    let (mut bits, mut held) = (0u32, 0);
    for letter in base64.trim_end_matches('=').bytes() {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_regular_expressions_are_multiplied() {
        let cases = [(r"\p{L}{2,}", 2), ("a{3}b{0,7}", 21), (r"\p{N}{1,3}", 3), ("{", 1), ("{}", 1), ("(a{1000}){1000}", 1_000_000)];
        for (pattern, product) in cases {
            assert_eq!(repeats(pattern), product, "{pattern}");
        }
        assert_eq!(repeats("(a{99999999999999999999}){2}"), u64::MAX);
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, bytes) in
            [("", &b""[..]), ("Zg==", b"f"), ("Zm8=", b"fo"), ("Zm9v", b"foo"), ("Zm9vYmE", b"fooba"), ("//+A", &[255, 255, 128])]
        {
            assert_eq!(decoded(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(decoded("Zm 9v"), None);
    }
}
