//! Sections of documents: where the headings of Markdown, reStructuredText and AsciiDoc are, and what stands below each.

use std::ops::Range;

use super::pieces::{Joint, Line, split};
use crate::store::Piece;

/// A piece of prose has about this many characters: what the small embedding models read at once (256 tokens).
pub const CHUNK_CHARS: usize = 1_000;

/// A heading is cut to this many characters in titles; the whole of a longer one is in the text.
pub const HEADING_CHARS: usize = 100;

/// A line that is underlined is a heading only up to this length; longer ones are paragraphs above a rule.
const SETEXT_CHARS: usize = 120;

/// Between the headings of a title.
const PATH_SEPARATOR: &str = " > ";

/// How headings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Markup {
    /// `# A`, or `A` above a line of `=` or `-`.
    Markdown,
    /// `A` above a line of punctuation.
    Rst,
    /// `== A`
    AsciiDoc,
    /// No headings.
    Plain,
}

/// A heading and the lines that it takes.
#[derive(Debug)]
pub(super) struct Heading {
    /// From 1, the highest.
    pub level: usize,
    pub text: String,
    /// Indexes of lines.
    pub at: Range<usize>,
}

/// The headings of a document in order. Lines in fenced code blocks and before `from` are none.
pub(super) fn headings(lines: &[Line<'_>], markup: Markup, from: usize) -> Vec<Heading> {
    let fenced = fenced(lines, markup);
    let mut out: Vec<Heading> = Vec::new();
    // reStructuredText has no fixed levels: the order in which the underlines appear gives them.
    let mut underlines: Vec<char> = Vec::new();
    let mut at = from;
    while at < lines.len() {
        let after_heading = out.last().is_some_and(|heading| heading.at.end == at);
        let free = at == from || after_heading || lines[at - 1].is_blank();
        let found = match markup {
            _ if fenced[at] => None,
            Markup::Plain => None,
            Markup::Markdown => atx(lines[at].text, '#').map(|(level, text)| (level, text, at..at + 1)).or_else(|| {
                let under = lines.get(at + 1).filter(|_| free && is_prose(lines[at].text) && !fenced[at + 1])?;
                setext_level(under.text).map(|level| (level, lines[at].text.trim(), at..at + 2))
            }),
            Markup::AsciiDoc => atx(lines[at].text, '=').map(|(level, text)| (level, text, at..at + 1)),
            Markup::Rst => rst(lines, at, free).map(|(sign, text, range)| {
                let level = underlines.iter().position(|&known| known == sign).unwrap_or_else(|| {
                    underlines.push(sign);
                    underlines.len() - 1
                });
                (level + 1, text, range)
            }),
        };
        match found {
            Some((level, text, range)) => {
                at = range.end;
                out.push(Heading { level, text: text.to_owned(), at: range });
            }
            None => at += 1,
        }
    }
    out
}

/// The pieces of a document: its sections, each titled with the path of headings above it, long ones cut at blank lines and
/// list items. `root` is the title of what stands above the first heading; `prefix` comes before all other titles.
///
/// Every line with text is in the text of exactly one piece, or is a heading and in the title of one at least. A section without a body
/// is a piece of its own unless there are sections below it.
pub(super) fn pieces(lines: &[Line<'_>], headings: &[Heading], markup: Markup, root: &str, prefix: Option<&str>) -> Vec<Piece> {
    let fenced = fenced(lines, markup);
    let mut out = Vec::new();
    let first = headings.first().map_or(lines.len(), |heading| heading.at.start);
    section(&mut out, lines, &fenced, 0..first, root, None);
    let mut path: Vec<(usize, String)> = Vec::new();
    for (at, heading) in headings.iter().enumerate() {
        path.retain(|(level, _)| *level < heading.level);
        path.push((heading.level, clip(&heading.text, HEADING_CHARS)));
        let next = headings.get(at + 1);
        let body = heading.at.end..next.map_or(lines.len(), |next| next.at.start);
        let parts = prefix.into_iter().chain(path.iter().map(|(_, text)| text.as_str()).filter(|text| !text.is_empty()));
        let title = parts.collect::<Vec<_>>().join(PATH_SEPARATOR);
        let title = if title.is_empty() { root } else { &title };
        // Some section below has a piece, whose title holds this heading.
        let has_below =
            headings[at + 1..].iter().zip(at + 2..).take_while(|(below, _)| below.level > heading.level).any(|(below, after)| {
                let end = headings.get(after).map_or(lines.len(), |after| after.at.start);
                !below.text.is_empty() || lines[below.at.end..end].iter().any(|line| !line.is_blank())
            });
        section(&mut out, lines, &fenced, body, title, Some((heading, has_below)));
    }
    out
}

fn section(out: &mut Vec<Piece>, lines: &[Line<'_>], fenced: &[bool], body: Range<usize>, title: &str, heading: Option<(&Heading, bool)>) {
    let start = body.start;
    let joint = |at: usize| {
        let at = start + at;
        match lines.get(at) {
            Some(_) if fenced[at] && fenced[at - 1] => Joint::None,
            Some(line) if line.is_blank() || lines[at - 1].is_blank() => Joint::Strong,
            Some(line) if is_item(line.text) => Joint::Weak,
            _ => Joint::None,
        }
    };
    let mut cuts = split(&lines[body], joint, CHUNK_CHARS);
    if let Some((heading, has_below)) = heading {
        let line = lines[heading.at.start].number;
        let clipped = heading.text.chars().count() > HEADING_CHARS;
        match cuts.first_mut() {
            Some(first) if !clipped => first.line = line,
            first => {
                // The heading itself is the text: of a section without a body, or because the title does not hold all of it.
                if clipped || (first.is_none() && !has_below && !heading.text.is_empty()) {
                    let own = [Line { text: &heading.text, number: line }];
                    cuts.splice(0..0, split(&own, |_| Joint::None, CHUNK_CHARS));
                }
            }
        }
    }
    out.extend(cuts.into_iter().map(|cut| Piece { title: title.to_owned(), text: cut.text, line: cut.line, end_line: cut.end_line }));
}

/// The first characters of a text, with an ellipsis if there are more.
pub(super) fn clip(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", text[..at].trim_end()),
        None => text.to_owned(),
    }
}

/// Which lines are in a fenced code block, the fences included. A fence that is never closed goes to the end, as in CommonMark.
fn fenced(lines: &[Line<'_>], markup: Markup) -> Vec<bool> {
    let mut open: Option<(char, usize)> = None;
    let one = |line: &Line<'_>| {
        let found = fence_of(line.text, markup);
        match open {
            Some((sign, length)) => {
                if found.is_some_and(|(other, run, rest)| other == sign && run >= length && rest.is_empty()) {
                    open = None;
                }
                true
            }
            None => {
                // "```code``` in a line" opens nothing.
                open = found.filter(|(sign, _, rest)| *sign != '`' || !rest.contains('`')).map(|(sign, run, _)| (sign, run));
                open.is_some()
            }
        }
    };
    lines.iter().map(one).collect()
}

/// The sign, the length and what follows of a line that may open or close a code block.
fn fence_of(text: &str, markup: Markup) -> Option<(char, usize, &str)> {
    match markup {
        Markup::Markdown => fence(text.trim_start(), &['`', '~'], 3),
        Markup::AsciiDoc => fence(text, &['-', '.'], 4).filter(|(_, _, rest)| rest.is_empty()),
        Markup::Rst | Markup::Plain => None,
    }
}

/// The sign, the length and what follows, if the line begins with at least `least` of one of the signs.
fn fence<'a>(text: &'a str, signs: &[char], least: usize) -> Option<(char, usize, &'a str)> {
    let sign = text.chars().next().filter(|c| signs.contains(c))?;
    let rest = text.trim_start_matches(sign);
    let run = text.len() - rest.len();
    (run >= least).then_some((sign, run, rest.trim()))
}

/// Level and text of `## A ##`.
fn atx(text: &str, sign: char) -> Option<(usize, &str)> {
    let inner = text.trim_start_matches(' ');
    let rest = inner.trim_start_matches(sign);
    let level = inner.len() - rest.len();
    if text.len() - inner.len() > 3 || !(1..=6).contains(&level) || !(rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return None;
    }
    let rest = rest.trim();
    let closed = rest.trim_end_matches(sign);
    Some((level, if closed.is_empty() || closed.ends_with([' ', '\t']) { closed.trim_end() } else { rest }))
}

fn setext_level(text: &str) -> Option<usize> {
    let text = text.strip_prefix("   ").or(text.strip_prefix("  ")).or(text.strip_prefix(' ')).unwrap_or(text).trim_end();
    match text.chars().next()? {
        sign @ ('=' | '-') if text.len() >= 3 && text.chars().all(|c| c == sign) => Some(if sign == '=' { 1 } else { 2 }),
        _ => None,
    }
}

/// Whether a line may be the text of an underlined heading: not a list item, quote, table row, or rule.
fn is_prose(text: &str) -> bool {
    let inner = text.trim_start();
    !inner.is_empty()
        && text.len() - inner.len() <= 3
        && !inner.starts_with(['>', '|', '#', '<'])
        && !is_item(text)
        && setext_level(text).is_none()
        && inner.chars().count() <= SETEXT_CHARS
}

/// Whether a line begins a list item.
fn is_item(text: &str) -> bool {
    let text = text.trim_start();
    let after_number = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let marker = if after_number.len() < text.len() { after_number.strip_prefix(['.', ')']) } else { text.strip_prefix(['-', '*', '+']) };
    marker.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

/// The sign of the underline, the text and the lines of a reStructuredText heading whose text or overline is line `at`.
fn rst<'a>(lines: &[Line<'a>], at: usize, free: bool) -> Option<(char, &'a str, Range<usize>)> {
    let rule = |at: usize| {
        let text = lines.get(at)?.text.trim_end();
        let sign = text.chars().next().filter(char::is_ascii_punctuation)?;
        (text.len() >= 3 && text.chars().all(|c| c == sign)).then_some((sign, text.len()))
    };
    if !free {
        return None;
    }
    let over = rule(at);
    let text_at = if over.is_some() { at + 1 } else { at };
    let text = lines.get(text_at).filter(|line| !line.is_blank() && rule(text_at).is_none())?.text;
    let (sign, length) = rule(text_at + 1)?;
    let sound = over.is_none_or(|over| over == (sign, length)) && (over.is_some() || !text.starts_with([' ', '\t']));
    (sound && length >= text.trim_end().chars().count()).then_some((sign, text.trim(), at..text_at + 2))
}

#[cfg(test)]
mod tests {
    use super::super::pieces::lines;
    use super::*;
    use proptest::prelude::*;

    fn cut(text: &str, markup: Markup) -> Vec<(String, String, u32, u32)> {
        let lines = lines(text);
        let headings = headings(&lines, markup, 0);
        pieces(&lines, &headings, markup, "file", None).into_iter().map(|p| (p.title, p.text, p.line, p.end_line)).collect()
    }

    fn titles(text: &str, markup: Markup) -> Vec<String> {
        cut(text, markup).into_iter().map(|piece| format!("{}: {}", piece.0, piece.1.replace('\n', "|"))).collect()
    }

    #[test]
    fn every_section_is_kept_also_of_the_same_name() {
        let text = "intro\n# A\n## Key Decisions\nfirst\n\n## Key Decisions\nsecond\n### Deep ###\nx\n# B\n";
        let expected = ["file: intro", "A > Key Decisions: first", "A > Key Decisions: second", "A > Key Decisions > Deep: x", "B: B"];
        assert_eq!(titles(text, Markup::Markdown), expected);
        let lines: Vec<_> = cut(text, Markup::Markdown).into_iter().map(|piece| (piece.2, piece.3)).collect();
        assert_eq!(lines, [(1, 1), (3, 4), (6, 7), (8, 9), (10, 10)]);
    }

    #[test]
    fn a_heading_above_nothing_but_empty_headings_is_kept() {
        assert_eq!(titles("## a\n###\n# b\n##\nx\n", Markup::Markdown), ["a: a", "b: x"]);
    }

    #[test]
    fn what_looks_like_a_heading_and_is_none() {
        let text =
            "# A\n```sh\n# comment\n```\n    # indented\n#hashtag\n####### seven\n~~~\n# x\n```\n# y\n~~~\n- list\n---\n| a |\n---\n";
        assert_eq!(cut(text, Markup::Markdown).len(), 1);
        let unclosed = "# A\n```\n# not\n";
        assert_eq!(titles(unclosed, Markup::Markdown), ["A: ```|# not"]);
        assert_eq!(titles("```inline``` code\n# A\nx", Markup::Markdown), ["file: ```inline``` code", "A: x"]);
    }

    #[test]
    fn underlined_headings() {
        assert_eq!(titles("Title\n=====\nbody\n\nPart\n---\nmore\n", Markup::Markdown), ["Title: body", "Title > Part: more"]);
        // A paragraph of two lines above a rule stays a paragraph.
        assert_eq!(titles("one\ntwo\n---\nmore\n", Markup::Markdown), ["file: one|two|---|more"]);
        let rst = "=====\nTitle\n=====\n\nintro\n\nPart\n----\n\nbody\n\nNext\n====\n\nlow\n";
        // `=` with and without an overline is one level here.
        assert_eq!(titles(rst, Markup::Rst), ["Title: intro", "Title > Part: body", "Next: low"]);
        assert_eq!(titles("= T\n\n== S\nx\n----\n== no\n----\n", Markup::AsciiDoc), ["T > S: x|----|== no|----"]);
        assert_eq!(titles("# no\n\ntext", Markup::Plain), ["file: # no||text"]);
    }

    #[test]
    fn an_endless_heading_is_clipped_in_the_title_and_whole_in_the_text() {
        let long = "word ".repeat(1_000);
        let pieces = cut(&format!("# {long}\nbody\n"), Markup::Markdown);
        assert!(pieces.iter().all(|piece| piece.0.chars().count() <= HEADING_CHARS + 1));
        let text: String = pieces.iter().map(|piece| piece.1.as_str()).collect();
        assert_eq!(text.matches("word").count(), 1_000);
        assert!(text.ends_with("body"));
    }

    #[test]
    fn a_long_list_is_cut_between_its_items() {
        let item = format!("- {}\n  and a second line\n", "word ".repeat(30));
        let pieces = cut(&format!("# A\n{}", item.repeat(20)), Markup::Markdown);
        assert!(pieces.len() > 2);
        assert!(pieces.iter().all(|piece| piece.1.starts_with("- ") && piece.1.ends_with("second line")));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_repeated(
            parts in proptest::collection::vec(
                prop_oneof![
                    "#{1,7} ?[a-c]{0,3}( #)?", "[a-zé ]{0,30}", Just(String::new()), "(```|~~~)[a-z]{0,2}", "(===|---)", "- [a-z ]{1,60}",
                    "[a-z]{900,1300}",
                ],
                0..40,
            ),
        ) {
            let text = parts.join("\n");
            let lines = lines(&text);
            let headings = headings(&lines, Markup::Markdown, 0);
            let pieces = pieces(&lines, &headings, Markup::Markdown, "file", None);
            let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            // The body lines, in order, are the texts of the pieces, in order; a piece may be a heading without a body instead.
            let mut bodies = String::new();
            for (at, line) in lines.iter().enumerate() {
                match headings.iter().find(|heading| heading.at.contains(&at)) {
                    None => bodies.push_str(&solid(line.text)),
                    Some(heading) if heading.at.start == at => {
                        let last = heading.text.as_str();
                        let below = pieces.iter().any(|piece| piece.title.split(PATH_SEPARATOR).any(|part| part == last));
                        prop_assert!(last.is_empty() || below, "the heading {last:?} is in no title");
                        if pieces.iter().any(|piece| piece.line == line.number && piece.end_line == line.number && piece.text == last) {
                            bodies.push_str(&solid(last));
                        }
                    }
                    Some(_) => {}
                }
            }
            let texts: String = pieces.iter().map(|piece| solid(&piece.text)).collect();
            prop_assert_eq!(texts, bodies);
        }
    }
}
