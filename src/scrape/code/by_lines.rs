//! Source without a grammar: whole if it is short, else cut at blank lines, best before a line that begins at the left edge.

use super::super::pieces::{Joint, Line, split};
use super::CODE_CHARS;
use crate::store::Piece;

/// The pieces of a source file, all titled with its path.
pub(super) fn pieces(lines: &[Line<'_>], path: &str) -> Vec<Piece> {
    let cuts = split(lines, |at| joint(lines, at), CODE_CHARS).into_iter();
    cuts.map(|cut| Piece { title: path.to_owned(), text: cut.text, line: cut.line, end_line: cut.end_line }).collect()
}

/// How good a place line `at` is to begin a piece with.
pub(super) fn joint(lines: &[Line<'_>], at: usize) -> Joint {
    match (lines.get(at), lines[at - 1].is_blank()) {
        (Some(line), true) if !line.is_blank() && !line.text.starts_with([' ', '\t', '}', ')', ']']) => Joint::Strong,
        (Some(_), true) => Joint::Weak,
        _ => Joint::None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::pieces::lines;
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
}
