//! The lines of a chunk that answer best, safe to print on any terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::lexical::{is_stop_word, is_word_character};
use crate::store::split_identifiers;

/// The most lines of a snippet.
pub const MAX_LINES: usize = 3;
/// The most characters of a line of a snippet, the marks of a cut included.
pub const MAX_LINE_CHARACTERS: usize = 160;
/// Lines beyond this are not looked at: a chunk is a section or a piece of a file.
const MAX_LINES_READ: usize = 2000;
/// Of a longer line (minified code) only this much is looked at.
const MAX_CHARACTERS_READ: usize = 4000;
/// How many characters of a cut line stand before its first match.
const BEFORE_MATCH: usize = 40;
/// Stands where something was cut.
const CUT: char = '\u{2026}';

/// Some neighbouring lines of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// The lines without the indentation that all of them have, with line feeds between; see [`printable`] for what they cannot hold.
    pub text: String,
    /// Which line of the text comes first, from 0.
    pub first: usize,
    /// Where in `text` the wanted words are: bytes, rising, none over a line feed.
    pub marks: Vec<Range<usize>>,
}

/// The words of a question as snippets look for them: stems of words and of the parts of identifiers.
#[derive(Clone, Debug, Default)]
pub struct Wanted(BTreeSet<String>);

impl Wanted {
    /// From the terms of [`lexical::terms`](super::lexical::terms).
    pub fn new(terms: &[String]) -> Wanted {
        Wanted(terms.iter().flat_map(|term| term.split(' ')).flat_map(stems).collect())
    }
}

/// The neighbouring lines that hold the most different wanted words, rare words of the text counting more; the first lines that are
/// not blank if none holds any.
pub fn snippet(text: &str, wanted: &Wanted) -> Snippet {
    let lines: Vec<String> = text.lines().take(MAX_LINES_READ).map(|line| printable(head(line, MAX_CHARACTERS_READ))).collect();
    let matches: Vec<BTreeSet<String>> = lines.iter().map(|line| found(line, wanted)).collect();
    let mut lines_with: BTreeMap<&str, usize> = BTreeMap::new();
    for word in matches.iter().flatten() {
        *lines_with.entry(word).or_default() += 1;
    }
    let worth = |from: usize, to: usize| -> f64 {
        let words: BTreeSet<&str> = matches[from..to].iter().flatten().map(String::as_str).collect();
        words.iter().map(|word| 1.0 / (1.0 + (lines_with.get(word).copied().unwrap_or(1) as f64).ln())).sum()
    };
    let mut best = (0.0, lines.iter().position(|line| !line.trim().is_empty()).unwrap_or(0));
    for from in (0..lines.len()).filter(|&from| !matches[from].is_empty()) {
        // The first line counts once more: of two windows with the same words the one that starts with more of them.
        let value = worth(from, (from + MAX_LINES).min(lines.len())) + 0.5 * worth(from, from + 1);
        if value > best.0 {
            best = (value, from);
        }
    }
    let first = best.1;
    let shown = lines.iter().skip(first).take(MAX_LINES).map(|line| line.trim_end());
    let shown: Vec<&str> = shown.filter(|line| !line.is_empty()).collect();
    // What all lines are indented by says nothing; what one is indented further than another shows where it belongs.
    let indentation = shown.iter().map(|line| line.len() - line.trim_start_matches(' ').len()).min().unwrap_or(0);
    let shown: Vec<String> = shown.iter().map(|line| cut(&line[indentation..], wanted)).collect();
    let text = shown.join("\n");
    let marks = words(&text).filter(|(_, word)| is_wanted(word, wanted)).map(|(at, word)| at..at + word.len()).collect();
    Snippet { text, first, marks }
}

/// A text without what a terminal would obey or hide: escape sequences are left out whole; line feeds, tabs and separators become a
/// space; other control characters, marks that turn the direction of writing, and invisible ones are left out.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_escape(&mut rest),
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut rest),
            '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => out.push(' '),
            _ if c.is_control() || is_deceptive(c) => {}
            _ => out.push(c),
        }
    }
    out
}

/// Marks that turn the direction of writing, tags, and characters without width that hide differences. Joiners stay: emoji and
/// several scripts need them.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// After ESC: a control sequence, a string (title, hyperlink, device control), or a short escape.
fn skip_escape(rest: &mut Rest) {
    match rest.next_if(|c| matches!(c, '\u{20}'..='\u{7e}')) {
        Some('[') => skip_control_sequence(rest),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(rest),
        Some('\u{20}'..='\u{2f}') => {
            while rest.next_if(|c| matches!(c, '\u{20}'..='\u{2f}')).is_some() {}
            rest.next_if(|c| matches!(c, '\u{30}'..='\u{7e}'));
        }
        _ => {}
    }
}

/// Parameters, intermediates and the final byte of ECMA-48.
fn skip_control_sequence(rest: &mut Rest) {
    while rest.next_if(|c| matches!(c, '\u{20}'..='\u{3f}')).is_some() {}
    rest.next_if(|c| matches!(c, '\u{40}'..='\u{7e}'));
}

/// To the terminator (BEL or ST). Where there is none on the line, only the introducer is left out, so that a stray one hides nothing.
fn skip_string(rest: &mut Rest) {
    let mut ahead = rest.clone();
    while let Some(c) = ahead.next() {
        match c {
            '\n' => return,
            '\u{7}' | '\u{9c}' => {
                *rest = ahead;
                return;
            }
            '\u{1b}' if ahead.next_if_eq(&'\\').is_some() => {
                *rest = ahead;
                return;
            }
            _ => {}
        }
    }
}

/// One line, cut to [`MAX_LINE_CHARACTERS`] around the wanted words that stand nearest together.
fn cut(line: &str, wanted: &Wanted) -> String {
    let total = line.chars().count();
    if total <= MAX_LINE_CHARACTERS {
        return line.to_owned();
    }
    let at = densest(line, wanted);
    let start = if at + BEFORE_MATCH < MAX_LINE_CHARACTERS { 0 } else { at - BEFORE_MATCH };
    let room = MAX_LINE_CHARACTERS - usize::from(start > 0);
    let to_the_end = total - start <= room;
    let mut out: String = if start > 0 { CUT.to_string() } else { String::new() };
    // A mark without its letter would sit on the sign of the cut.
    let body = line.chars().skip(start).take(if to_the_end { room } else { room - 1 });
    out.extend(
        body.skip_while(|c| start > 0 && (('\u{300}'..='\u{36f}').contains(c) || matches!(c, '\u{200d}' | '\u{fe00}'..='\u{fe0f}'))),
    );
    if !to_the_end {
        out.push(CUT);
    }
    out
}

/// The character of a long line at which the part begins that holds the most different wanted words, the first such; 0 if it holds none.
fn densest(line: &str, wanted: &Wanted) -> usize {
    const ROOM: usize = MAX_LINE_CHARACTERS - BEFORE_MATCH - 2;
    let (mut characters, mut bytes) = (0, 0);
    let mut matches: Vec<(usize, Vec<String>)> = Vec::new();
    for (at, word) in words(line) {
        let stems: Vec<String> = stems(word).into_iter().filter(|stem| wanted.0.contains(stem)).collect();
        if !stems.is_empty() {
            characters += line[bytes..at].chars().count();
            bytes = at;
            matches.push((characters, stems));
        }
    }
    let mut best = (0, 0);
    for (number, (at, _)) in matches.iter().enumerate() {
        let near = matches[number..].iter().take_while(|(other, _)| other - at <= ROOM);
        let different: BTreeSet<&str> = near.flat_map(|(_, stems)| stems).map(String::as_str).collect();
        if different.len() > best.0 {
            best = (different.len(), *at);
        }
    }
    best.1
}

fn is_wanted(word: &str, wanted: &Wanted) -> bool {
    stems(word).iter().any(|stem| wanted.0.contains(stem))
}

fn found(line: &str, wanted: &Wanted) -> BTreeSet<String> {
    words(line).flat_map(|(_, word)| stems(word)).filter(|stem| wanted.0.contains(stem)).collect()
}

/// The words of a line with the byte that each begins at.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    line.split_inclusive(|c| !is_word_character(c)).filter_map(move |piece| {
        let begin = at;
        at += piece.len();
        let word = piece.trim_end_matches(|c| !is_word_character(c));
        (!word.is_empty()).then_some((begin, word))
    })
}

/// The stem of a word, and those of its parts if it is a compound identifier.
fn stems(word: &str) -> Vec<String> {
    let mut out = vec![stem(&word.to_lowercase())];
    let parts = split_identifiers(word);
    if parts.len() > 1 {
        out.extend(parts.iter().filter(|part| !is_stop_word(part)).map(|part| stem(part)));
    }
    out
}

/// A rough English stem, good enough to choose lines; the ranking has FTS5's porter stemmer.
fn stem(lower: &str) -> String {
    const ENDINGS: [&str; 12] = ["ations", "ation", "ings", "ing", "ies", "ied", "ers", "ed", "er", "es", "s", "e"];
    const MIN_STEM_CHARACTERS: usize = 3;
    let cut = ENDINGS.iter().find_map(|ending| lower.strip_suffix(ending).filter(|stem| stem.chars().count() >= MIN_STEM_CHARACTERS));
    let stem = cut.unwrap_or(lower);
    stem.strip_suffix('y').filter(|stem| stem.chars().count() >= MIN_STEM_CHARACTERS).unwrap_or(stem).to_owned()
}

fn head(line: &str, characters: usize) -> &str {
    line.char_indices().nth(characters).map_or(line, |(at, _)| &line[..at])
}

#[cfg(test)]
mod tests {
    use super::super::lexical::terms;
    use super::*;

    fn of(text: &str, question: &str) -> Snippet {
        snippet(text, &Wanted::new(&terms(question)))
    }

    #[test]
    fn the_lines_with_the_rarest_matches_are_shown_with_their_number() {
        let text =
            "# Notes\n\nThe scraper reads files.\nThe scraper reads more files.\n\n\n\nIt detects a lock on the files and waits.\nEnd.";
        let found = of(text, "How does the scraper handle locked files?");
        assert_eq!((found.first, found.text.as_str()), (7, "It detects a lock on the files and waits.\nEnd."));
        assert_eq!(of(text, "zebra").first, 0);
        assert_eq!(of("\n\n  body\n", "zebra"), Snippet { text: "body".to_owned(), first: 2, marks: vec![] });
        assert_eq!(of("", "zebra"), Snippet { text: String::new(), first: 0, marks: vec![] });
    }

    #[test]
    fn stems_and_identifier_parts_match() {
        assert_eq!(of("a\nb\nfn parseHeader() {}\n", "header parsing").first, 2);
        assert_eq!(of("a\nb\nqueries are embedded\n", "how is a query embedding made").first, 2);
    }

    #[test]
    fn terminal_escapes_and_deceptive_characters_do_not_pass() {
        assert_eq!(printable("a\u{1b}[31;1mred\u{1b}[0m b"), "ared b");
        assert_eq!(printable("\u{1b}]8;;http://x\u{7}link\u{1b}]8;;\u{1b}\\!"), "link!");
        assert_eq!(printable("\u{1b}]0;title without an end"), "0;title without an end");
        assert_eq!(printable("a\u{9b}2Jb\u{85}c\td\re\u{0}f\u{7f}g\u{8}"), "ab c d efg");
        assert_eq!(printable("\u{202e}txt.exe\u{2066}\u{feff}"), "txt.exe");
        assert_eq!(printable("\u{1b}\u{1b}[2J\u{1b}(Bx\u{1b}cy\u{1b}"), "xy");
        assert_eq!(
            printable("na\u{ef}ve \u{1f469}\u{200d}\u{1f4bb} \u{4f60}\u{597d}"),
            "na\u{ef}ve \u{1f469}\u{200d}\u{1f4bb} \u{4f60}\u{597d}"
        );
    }

    #[test]
    fn a_long_line_is_cut_around_its_match() {
        let line = format!("{} needle {}", "\u{e9}t\u{e9} ".repeat(200), "x ".repeat(200));
        let text = of(&line, "needle").text;
        assert!(text.contains("needle") && text.starts_with(CUT) && text.ends_with(CUT));
        assert_eq!(text.chars().count(), MAX_LINE_CHARACTERS);
    }

    #[test]
    fn of_a_long_line_the_part_with_the_most_words_is_shown() {
        let filler = "lorem ipsum dolor ".repeat(30);
        let line = format!("index {filler} the stale index is refused by the manifest {filler} index");
        let found = of(&line, "Why is a stale index refused?");
        assert!(found.text.contains("the stale index is refused"), "{}", found.text);
        assert_eq!(found.text.chars().count(), MAX_LINE_CHARACTERS);
        // One that is short enough is shown from its beginning.
        assert!(of(&format!("a stale index {filler}"), "stale").text.starts_with("a stale index"));
    }

    #[test]
    fn code_keeps_its_shape_and_loses_what_all_lines_are_indented_by() {
        let text = "impl Lock {\n\n        pub fn acquireLock() {\n            if held {\n                return;\n";
        let found = of(text, "acquire a lock that is held");
        assert_eq!((found.first, found.text.as_str()), (2, "pub fn acquireLock() {\n    if held {\n        return;"));
        // Tabs are a space each.
        assert_eq!(of("\t\tneedle()\n\t\t\tmore()", "needle").text, "needle()\n more()");
    }

    #[test]
    fn the_wanted_words_are_marked_where_they_stand() {
        let found = of("na\u{ef}ve \x1b[31mqueries\x1b[0m of acquireLock,\n  and the query's locks.", "how do I query a lock?");
        let marked: Vec<&str> = found.marks.iter().map(|range| &found.text[range.clone()]).collect();
        assert_eq!(marked, ["queries", "acquireLock", "query", "locks"]);
        assert!(of("nothing here", "zebra").marks.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_text_a_snippet_is_bounded_and_printable(text in "(?s).{0,400}|[\\x1b\\[\\]0-9;mP\u{9b}\u{9d}\u{202e}\\\\ ab\\n]{0,300}", question in ".{0,40}") {
            let found = of(&text, &question);
            proptest::prop_assert!(found.text.split('\n').count() <= MAX_LINES);
            for line in found.text.split('\n') {
                proptest::prop_assert!(line.chars().count() <= MAX_LINE_CHARACTERS);
                proptest::prop_assert!(!line.chars().any(|c| c.is_control() || is_deceptive(c)));
            }
            proptest::prop_assert!(found.first <= text.lines().count());
            for pair in found.marks.windows(2) {
                proptest::prop_assert!(pair[0].end <= pair[1].start);
            }
            for range in &found.marks {
                proptest::prop_assert!(!found.text[range.clone()].is_empty() && !found.text[range.clone()].contains('\n'));
            }
        }
    }
}
