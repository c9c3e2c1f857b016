//! Splitting compound identifiers into the words that people search for.

use std::collections::HashSet;

/// The words of a text in lower case and in order, with compound identifiers split at underscores and at changes of case; digits stay
/// with the letters before them. `HTTPServerError_kind2` gives `http`, `server`, `error`, `kind2`.
pub fn split_identifiers(text: &str) -> Vec<String> {
    tokens(text).flat_map(parts).collect()
}

/// The words of the compound identifiers of a text, without repetition: what FTS5 would not find by itself, because it does not
/// split at changes of case.
pub(super) fn compound_words(text: &str) -> String {
    let mut seen = HashSet::new();
    let mut out = String::new();
    for token in tokens(text) {
        let parts = parts(token);
        if parts.len() < 2 {
            continue;
        }
        for part in parts {
            if seen.contains(&part) {
                continue;
            }
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(&part);
            seen.insert(part);
        }
    }
    out
}

/// Runs of letters, digits and underscores.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|token| !token.is_empty())
}

fn parts(token: &str) -> Vec<String> {
    let mut out = Vec::new();
    for word in token.split('_') {
        let chars: Vec<char> = word.chars().collect();
        let mut part = String::new();
        for (at, &c) in chars.iter().enumerate() {
            let after_small = at > 0 && !chars[at - 1].is_uppercase();
            // The last capital of a run belongs to the word that it begins: HTTPServer.
            let before_small = at > 0 && chars.get(at + 1).is_some_and(|next| next.is_lowercase());
            if c.is_uppercase() && (after_small || before_small) && !part.is_empty() {
                out.push(std::mem::take(&mut part));
            }
            part.extend(c.to_lowercase());
        }
        if !part.is_empty() {
            out.push(part);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_split_at_case_and_underscores() {
        for (text, words) in [
            ("HTTPServerError_kind2", "http server error kind2"),
            ("parseJSON", "parse json"),
            ("utf8Decode", "utf8 decode"),
            ("__init__", "init"),
            ("a/b.rs: TokenBatch::from_rows()", "a b rs token batch from rows"),
            ("plain words", "plain words"),
            ("ÜberGröße", "über größe"),
            ("X", "x"),
            ("IOError", "io error"),
            ("___", ""),
            ("", ""),
        ] {
            assert_eq!(split_identifiers(text).join(" "), words, "{text}");
        }
    }

    #[test]
    fn only_compound_identifiers_are_added_to_the_index_and_once() {
        assert_eq!(compound_words("The TokenBatch is a token_batch; plain words stay"), "token batch");
    }
}
