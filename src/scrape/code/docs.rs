//! Doc comments as plain text.

use super::DOC_CHARS;
use super::language::Docs;

/// Whether a comment is documentation by its mark.
pub(super) fn is_doc(docs: Docs, comment: &str) -> bool {
    match docs {
        // `////` and `/***` are rulers.
        Docs::Marked(marks) => marks.iter().any(|mark| {
            let after = comment.strip_prefix(mark).and_then(|rest| rest.chars().next());
            comment.starts_with(mark) && !(after == mark.chars().next_back() && after.is_some_and(|c| matches!(c, '/' | '*')))
        }),
        Docs::Any | Docs::Attribute { .. } => !comment.starts_with("#!"),
        Docs::Docstring => false,
    }
}

/// A comment, or several under one another, without its marks and the white space around, at most [`DOC_CHARS`] characters.
pub(super) fn plain(comment: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in comment.lines() {
        let mut line = line.trim();
        for open in ["/**", "/*!", "/*", "///", "//!", "//", "\"\"\"", "{-|", "{-", "--[[", "---", "--", "=begin", "=end"] {
            if let Some(rest) = line.strip_prefix(open) {
                line = rest;
                break;
            }
        }
        if line.starts_with("* ") || line == "*" || line == "*/" || line == "**/" {
            line = &line[1..];
        }
        line = line.trim_start_matches('#');
        // Haddock.
        line = line.trim_start().strip_prefix("| ").unwrap_or(line);
        for close in ["*/", "\"\"\"", "-}", "]]"] {
            line = line.strip_suffix(close).unwrap_or(line);
        }
        for tag in ["<summary>", "</summary>"] {
            line = line.trim().trim_start_matches(tag).trim_end_matches(tag);
        }
        lines.push(line.trim_matches(|c: char| c.is_whitespace() || c == '/'));
    }
    clip(&lines)
}

/// The text of a string literal that documents, at most [`DOC_CHARS`] characters.
pub(super) fn string(literal: &str) -> String {
    let inner = literal.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '~');
    let quote = if inner.starts_with("\"\"\"") || inner.starts_with("'''") { 3 } else { 1 };
    let inner = inner.get(quote..inner.len().saturating_sub(quote)).unwrap_or_default();
    clip(&inner.lines().map(str::trim).collect::<Vec<_>>())
}

fn clip(lines: &[&str]) -> String {
    let text = lines.join("\n");
    let text = text.trim();
    match text.char_indices().nth(DOC_CHARS) {
        Some((at, _)) => text[..at].trim_end().to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_no_part_of_a_doc_comment() {
        for (comment, expected) in [
            ("/// Opens it.\n///\n/// # Errors\n/// None.", "Opens it.\n\n# Errors\nNone."),
            ("/** Opens it. */", "Opens it."),
            ("/**\n * Opens it.\n *\n * @param path where\n */", "Opens it.\n\n@param path where"),
            ("# Opens it.\n# Twice.", "Opens it.\nTwice."),
            ("// Opens it.", "Opens it."),
            ("-- | Opens it.", "Opens it."),
            ("/* a * b */", "a * b"),
            ("//", ""),
        ] {
            assert_eq!(plain(comment), expected, "{comment}");
        }
        assert_eq!(string("r\"\"\"Opens it.\n\n    Twice.\n    \"\"\""), "Opens it.\n\nTwice.");
        assert_eq!(string("'one'"), "one");
        assert_eq!(string("\""), "");
        assert_eq!(plain(&format!("/// {}", "a".repeat(DOC_CHARS + 10))).chars().count(), DOC_CHARS);
    }

    #[test]
    fn rulers_are_no_documentation() {
        let docs = Docs::Marked(&["///", "/**"]);
        for (comment, expected) in
            [("/// a", true), ("///", true), ("////", false), ("/** a */", true), ("/*** a */", false), ("// a", false)]
        {
            assert_eq!(is_doc(docs, comment), expected, "{comment}");
        }
    }
}
