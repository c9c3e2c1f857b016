//! Source files: whole if they are short, else cut at blank lines, best before a line that begins at the left edge.

use super::pieces::{Joint, Line, split};
use crate::store::Piece;

/// A piece of source has about this many characters.
pub const CODE_CHARS: usize = 1_500;

/// A source file with a line of more bytes than this was not written by hand.
const LONGEST_LINE: usize = 5_000;
/// Nor was one of this many bytes or more ...
const LONG_FILE: usize = 10_000;
/// ... whose lines have more bytes than this on average.
const LONG_LINES: usize = 300;

/// The pieces of a source file, all titled with its path.
pub(super) fn pieces(lines: &[Line<'_>], path: &str) -> Vec<Piece> {
    let joint = |at: usize| match (lines.get(at), lines[at - 1].is_blank()) {
        (Some(line), true) if !line.is_blank() && !line.text.starts_with([' ', '\t', '}', ')', ']']) => Joint::Strong,
        (Some(_), true) => Joint::Weak,
        _ => Joint::None,
    };
    let cuts = split(lines, joint, CODE_CHARS).into_iter();
    cuts.map(|cut| Piece { title: path.to_owned(), text: cut.text, line: cut.line, end_line: cut.end_line }).collect()
}

/// Whether the text looks as if a program wrote it (minified, generated data).
pub(super) fn looks_made(text: &str) -> bool {
    let lines = text.lines().count().max(1);
    text.lines().any(|line| line.len() > LONGEST_LINE) || (text.len() >= LONG_FILE && text.len() / lines > LONG_LINES)
}

#[cfg(test)]
mod tests {
    use super::super::pieces::lines;
    use super::*;

    #[test]
    fn a_short_file_is_one_piece_and_a_long_one_is_cut_between_functions() {
        assert_eq!(pieces(&lines("fn a() {}\n\nfn b() {}\n"), "a.rs").len(), 1);
        let function = format!("fn f() {{\n{}\n\n    more();\n}}\n\n", "    call(1, 2, 3);\n".repeat(20));
        let text = function.repeat(12);
        let pieces = pieces(&lines(&text), "src/a.rs");
        assert!(pieces.len() > 2);
        for piece in &pieces {
            assert!(piece.text.starts_with("fn f() {") && piece.text.ends_with('}'), "{}", piece.text);
            assert_eq!(piece.title, "src/a.rs");
        }
    }

    #[test]
    fn minified_text_is_seen() {
        assert!(looks_made(&"a".repeat(LONGEST_LINE + 1)));
        assert!(looks_made(&format!("{}\n", "a".repeat(400)).repeat(40)));
        assert!(!looks_made(&format!("{}\n", "a".repeat(80)).repeat(400)));
        assert!(!looks_made(""));
    }
}
