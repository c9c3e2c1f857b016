//! What a Markdown file says about itself: whether it is a session note, its title and its date.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::headings::Heading;
use super::pieces::Line;

/// Front matter that does not end within this many lines is none.
const FRONT_MATTER_LINES: usize = 200;

/// Lines such as `**Started**: 2025-07-28` are looked for in this many lines at the top.
const METADATA_LINES: usize = 40;

/// Keys that tell when something was written, the most telling first.
const DATE_KEYS: &[&str] =
    &["started", "start", "start_timestamp", "started_at", "date", "created", "created_at", "timestamp", "started at"];

/// The `key: value` lines between `---` and `---` at the top of a file.
#[derive(Debug, Default)]
pub(super) struct FrontMatter {
    /// How many lines it takes, the two rules included; 0 if there is none.
    pub lines: usize,
    values: BTreeMap<String, String>,
}

impl FrontMatter {
    /// Reads it leniently: what is no `key: value` at the left edge (nested values, comments) is passed over.
    pub fn read(lines: &[Line<'_>]) -> FrontMatter {
        if lines.first().is_none_or(|line| line.text.trim_end() != "---") {
            return FrontMatter::default();
        }
        let inner = lines.iter().take(FRONT_MATTER_LINES).skip(1);
        let Some(end) = inner.clone().position(|line| matches!(line.text.trim_end(), "---" | "...")) else {
            return FrontMatter::default();
        };
        let mut values = BTreeMap::new();
        for line in inner.take(end) {
            if let Some((key, value)) = line.text.split_once(':')
                && !key.is_empty()
                && !key.starts_with([' ', '\t', '#', '-'])
            {
                values.entry(key.trim().to_lowercase()).or_insert_with(|| unquote(value).to_owned());
            }
        }
        if values.is_empty() { FrontMatter::default() } else { FrontMatter { lines: end + 2, values } }
    }

    /// The value of a key, unless it is blank.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A dated note: `type: session`, or a date together with an id or a title.
    fn is_session(&self) -> bool {
        let dated = DATE_KEYS.iter().any(|key| self.get(key).is_some());
        let named = ["id", "session_id", "session", "title"].iter().any(|key| self.get(key).is_some());
        self.get("type") == Some("session") || (dated && named)
    }
}

/// Whether Markdown is a session note by what it says: its first heading is `# Session: ...`, or its front matter dates and names it.
pub(super) fn is_session(front: &FrontMatter, headings: &[Heading]) -> bool {
    let header = headings.first().filter(|heading| heading.level == 1);
    front.is_session() || header.is_some_and(|heading| heading.text.to_lowercase().starts_with("session:"))
}

/// When it was written: as the front matter says, or a line such as `**Started**: ...` at the top, or the name of the file
/// (`20250728-182427.md`, `2025-07-28-title.md`; a time there has no zone and is left out).
pub(super) fn date(front: &FrontMatter, lines: &[Line<'_>], name: &str) -> Option<String> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for line in lines.iter().skip(front.lines).take(METADATA_LINES) {
        if let Some((key, value)) = metadata(line.text)
            && let Some(rank) = DATE_KEYS.iter().position(|known| *known == key)
            && let Some(date) = parse_date(value)
        {
            found.push((rank, date));
        }
    }
    found.sort_by_key(|(rank, _)| *rank);
    DATE_KEYS
        .iter()
        .find_map(|key| front.get(key).and_then(parse_date))
        .or_else(|| found.into_iter().next().map(|(_, date)| date))
        .or_else(|| date_of_name(name))
}

/// Key in lower case and value of `**Key**: value` or `**Key:** value`, in a list or not.
fn metadata(text: &str) -> Option<(String, &str)> {
    let inner = text.trim().trim_start_matches(['-', '*', ' ']);
    // Only bold keys count: prose is full of colons.
    if !text.contains("**") {
        return None;
    }
    let (key, value) = inner.split_once("**")?;
    let (key, value) = match value.trim_start().strip_prefix(':') {
        Some(value) => (key, value),
        None => (key.trim_end().strip_suffix(':')?, value),
    };
    Some((key.trim().to_lowercase(), value.trim()))
}

/// RFC 3339 if the value has a time with an offset, else `YYYY-MM-DD`.
fn parse_date(value: &str) -> Option<String> {
    let value = unquote(value);
    if let Ok(instant) = value.parse::<jiff::Timestamp>() {
        let as_written = value.len() <= 40 && value.contains('T') && !value.contains('[');
        return Some(if as_written { value.to_owned() } else { instant.to_string() });
    }
    if let Some(date) = value.get(..10).and_then(|day| day.parse::<Date>().ok()) {
        return Some(date.to_string());
    }
    ["%B %d, %Y", "%d %B %Y", "%b %d, %Y", "%d %b %Y", "%Y/%m/%d"]
        .iter()
        .find_map(|format| Date::strptime(format, value).ok())
        .map(|date| date.to_string())
}

fn date_of_name(name: &str) -> Option<String> {
    let day = name.get(..10).filter(|day| day.as_bytes().get(4) == Some(&b'-')).map(str::to_owned).or_else(|| {
        let digits = name.get(..8).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
        let ends = name[8..].chars().next().is_none_or(|c| !c.is_ascii_digit());
        ends.then(|| format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..8]))
    })?;
    day.parse::<Date>().ok().map(|date| date.to_string())
}

fn unquote(value: &str) -> &str {
    value.trim().trim_matches(['"', '\'', '`']).trim()
}

#[cfg(test)]
mod tests {
    use super::super::headings::{Markup, headings};
    use super::super::pieces::lines;
    use super::*;

    fn look(text: &str, name: &str) -> (bool, Option<String>) {
        let lines = lines(text);
        let front = FrontMatter::read(&lines);
        let headings = headings(&lines, Markup::Markdown, front.lines);
        (is_session(&front, &headings), date(&front, &lines, name))
    }

    #[test]
    fn session_notes_and_their_dates() {
        let some = |date: &str| Some(date.to_owned());
        for (text, name, expected) in [
            ("# Session: x\n**ID**: 1\n**Started**: 2025-07-28T22:24:27Z\n", "n.md", (true, some("2025-07-28T22:24:27Z"))),
            ("# session: x\n- **Date:** July 27, 2025\n", "n.md", (true, some("2025-07-27"))),
            ("# Session: x\n", "20250728-182427.md", (true, some("2025-07-28"))),
            ("# Notes\n", "20250728-182427.md", (false, some("2025-07-28"))),
            (
                "---\nid: 7\ncreated: \"2026-01-15T08:00:00+01:00\"\ngit:\n  branch: x\n---\n# A\n",
                "n.md",
                (true, some("2026-01-15T08:00:00+01:00")),
            ),
            ("---\ntitle: A\ndate: 2026-01-15 08:00\n---\n", "n.md", (true, some("2026-01-15"))),
            ("---\ntype: session\n---\n", "n.md", (true, None)),
            ("---\ntitle: A\n---\n", "n.md", (false, None)),
            ("---\nno end: 1\n", "n.md", (false, None)),
            ("---\n\n---\ntext\n", "n.md", (false, None)),
            ("```\n# Session: x\n```\n", "n.md", (false, None)),
            ("## Session: x\n", "123456789.md", (false, None)),
            ("Date: 2025-01-01 in prose\n", "2025-02-30.md", (false, None)),
            ("**Date**: soon\n", "20251301-000000.md", (false, None)),
            ("**Date**: 2025-01-01\n**Started**: 2025-01-02\n", "é.md", (false, some("2025-01-02"))),
            ("", "", (false, None)),
        ] {
            assert_eq!(look(text, name), expected, "{text:?} {name}");
        }
    }
}
