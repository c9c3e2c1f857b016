//! Which chunks a search is about: kinds, paths, dates, languages.
//!
//! What is asked for is looked up before anything is ranked: [`Filter::allowed`] gives the ids that pass, and the retrievers rank those
//! alone. So a filter never hides a match that stood too far down an unfiltered list, and one that nothing passes can be told apart
//! from a question that nothing matches.

use std::path::Path;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::language::Language;
use crate::error::{Error, Result};
use crate::store::{Kind, Store};

/// The most patterns of one search.
pub const MAX_PATTERNS: usize = 100;
/// The longest pattern in bytes.
pub const MAX_PATTERN_BYTES: usize = 4096;
/// The most of a unit that a relative date goes back.
pub const MAX_AGO: i64 = 100_000;

const HOURS_OF_A_DAY: i64 = 24;
/// The units of a relative date, with their hours. A year is one of 365 days.
const UNITS: [(char, i64); 4] = [('h', 1), ('d', HOURS_OF_A_DAY), ('w', 7 * HOURS_OF_A_DAY), ('y', 365 * HOURS_OF_A_DAY)];

/// What chunks must be to be found. The default lets every chunk pass.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these kinds; all if empty.
    pub kinds: Vec<Kind>,
    /// Only these paths.
    pub paths: Option<Paths>,
    /// Only what was written then or later.
    pub since: Option<Moment>,
    /// Only what was written then or earlier.
    pub until: Option<Moment>,
    /// Only files of one of these languages; all chunks if empty.
    pub languages: Vec<&'static Language>,
}

/// What a filter lets pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The chunks that pass, by rising id.
    pub ids: Vec<u64>,
    /// How it came about.
    pub report: FilterReport,
}

/// A filter as it was applied, for answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FilterReport {
    /// Kinds that pass; all if empty.
    pub kinds: Vec<Kind>,
    /// Patterns of paths, as typed.
    pub paths: Vec<String>,
    /// The first instant that passes, RFC 3339 in UTC.
    pub since: Option<String>,
    /// The last instant that passes, RFC 3339 in UTC.
    pub until: Option<String>,
    /// Names of languages that pass; all if empty.
    pub languages: Vec<&'static str>,
    /// How many chunks pass.
    pub passing: usize,
    /// Of how many.
    pub chunks: usize,
    /// Sources (files, commits) that pass all but the dates, and have none.
    pub undated_sources: usize,
}

impl Filter {
    /// Whether every chunk passes, whatever it is.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.paths.is_none() && !self.has_dates() && self.languages.is_empty()
    }

    fn has_dates(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// Whether something can pass.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) if `since` is after `until`.
    pub fn check(&self) -> Result<()> {
        match (&self.since, &self.until) {
            (Some(since), Some(until)) if since.first > until.last => {
                Err(Error::usage(format!("--since {} is after --until {}: nothing was written between", since.first, until.last))
                    .hint("swap the two"))
            }
            _ => Ok(()),
        }
    }

    /// The chunks that pass; `None` if there is nothing to pass. A commit has the paths of the files that it touches and no language; what
    /// has no date passes no filter of dates.
    ///
    /// # Errors
    /// As [`Filter::check`].
    pub fn allowed(&self, store: &Store) -> Result<Option<Allowed>> {
        if self.is_empty() {
            return Ok(None);
        }
        self.check()?;
        let mut undated_sources = 0;
        let ids = store.chunk_ids_where(self.has_dates(), |kind, path, date| {
            if !self.passes_place(store, kind, path)? {
                return Ok(false);
            }
            if !self.has_dates() {
                return Ok(true);
            }
            let Some(span) = date.and_then(Moment::of_chunk) else {
                undated_sources += 1;
                return Ok(false);
            };
            let since = self.since.as_ref().is_none_or(|since| span.last >= since.first);
            Ok(since && self.until.as_ref().is_none_or(|until| span.first <= until.last))
        })?;
        let report = FilterReport {
            kinds: self.kinds.clone(),
            paths: self.paths.as_ref().map(|paths| paths.patterns.clone()).unwrap_or_default(),
            since: self.since.map(|since| since.first.to_string()),
            until: self.until.map(|until| until.last.to_string()),
            languages: self.languages.iter().map(|language| language.name).collect(),
            passing: ids.len(),
            chunks: store.chunk_count()?,
            undated_sources,
        };
        Ok(Some(Allowed { ids, report }))
    }

    fn passes_place(&self, store: &Store, kind: Kind, path: &str) -> Result<bool> {
        if !self.kinds.is_empty() && !self.kinds.contains(&kind) {
            return Ok(false);
        }
        if !self.languages.is_empty() && (kind == Kind::Commit || !self.languages.iter().any(|language| language.is_of(path))) {
            return Ok(false);
        }
        match (&self.paths, kind) {
            (None, _) => Ok(true),
            (Some(paths), Kind::Commit) => Ok(store.files_of_commit(path)?.iter().any(|path| paths.has(path))),
            (Some(paths), _) => Ok(paths.has(path)),
        }
    }
}

impl Allowed {
    /// Whether a chunk passes.
    pub fn has(&self, id: u64) -> bool {
        self.ids.binary_search(&id).is_ok()
    }
}

/// Patterns of paths, as in `.gitignore`: `src/` is a folder anywhere, `/src` the one at the root, `*.rs` a file anywhere, `**` any folders.
/// What begins with `!` takes out what an earlier pattern brought in, or, with nothing before it, out of everything; the last one that
/// matches decides.
#[derive(Clone, Debug)]
pub struct Paths {
    patterns: Vec<String>,
    matcher: Gitignore,
    /// There are patterns that bring something in.
    chosen: bool,
}

impl Paths {
    /// Patterns in the order of the command line; `None` if there are none.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) if one is no pattern, too long, or if there are too many.
    pub fn new(patterns: &[String]) -> Result<Option<Paths>> {
        if patterns.is_empty() {
            return Ok(None);
        }
        if patterns.len() > MAX_PATTERNS {
            return Err(Error::usage(format!("--path stands {} times; at most {MAX_PATTERNS} are taken", patterns.len()))
                .hint("name folders in place of single files"));
        }
        let refuse = |pattern: &str, why: String| {
            Error::usage(format!("--path is {pattern:?}, which is no pattern: {why}"))
                .hint("patterns are as in .gitignore: `src/**/*.rs`, `docs/`, or `!tests/` to leave a folder out")
        };
        let mut builder = GitignoreBuilder::new("");
        for pattern in patterns {
            // People write the path as their shell completes it.
            let plain = pattern.trim().trim_start_matches("./");
            if plain.trim_start_matches('!').is_empty() {
                return Err(refuse(pattern, "it is empty".into()));
            }
            if pattern.len() > MAX_PATTERN_BYTES {
                return Err(refuse(&pattern[..pattern.floor_char_boundary(60)], format!("it has more than {MAX_PATTERN_BYTES} bytes")));
            }
            // A pattern is a line of a file, where this begins a comment.
            let line = if plain.starts_with('#') { format!("\\{plain}") } else { plain.to_owned() };
            builder.add_line(None, &line).map_err(|e| refuse(pattern, reason(&e)))?;
        }
        let matcher = builder.build().map_err(|e| refuse(&patterns.join(" "), reason(&e)))?;
        let chosen = patterns.iter().any(|pattern| !pattern.trim().starts_with('!'));
        Ok(Some(Paths { patterns: patterns.to_vec(), matcher, chosen }))
    }

    /// Whether a path, relative to the project, passes.
    pub fn has(&self, path: &str) -> bool {
        let path = Path::new(path);
        // The matcher takes relative paths alone.
        if path.has_root() {
            return !self.chosen;
        }
        match self.matcher.matched_path_or_any_parents(path, false) {
            Match::Ignore(_) => true,
            Match::Whitelist(_) => false,
            Match::None => !self.chosen,
        }
    }
}

/// What is wrong with a pattern, without the pattern and without a place that nobody typed.
fn reason(error: &ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => err.clone(),
        ignore::Error::WithLineNumber { err, .. } | ignore::Error::WithPath { err, .. } => reason(err),
        other => other.to_string(),
    }
}

/// A span of time: a day in UTC, or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Its first instant.
    pub first: Timestamp,
    /// Its last instant.
    pub last: Timestamp,
}

impl Moment {
    /// An instant in RFC 3339, a day (`2025-08-16`), or how long before `now` (`12h`, `30d`, `6w`, `1y`). `option` is for errors.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) if it is none of them.
    pub fn parse(option: &str, text: &str, now: Timestamp) -> Result<Moment> {
        let text = text.trim();
        Moment::of_chunk(text).or_else(|| Moment::ago(text, now)).ok_or_else(|| {
            Error::usage(format!("{option} is {text:?}, which is no date"))
                .hint("dates are days (2025-08-16), instants (2025-08-16T09:30:00Z), or how long ago: 12h, 30d, 6w, 1y")
        })
    }

    /// The date of a chunk: RFC 3339 or `YYYY-MM-DD`.
    fn of_chunk(text: &str) -> Option<Moment> {
        if let Ok(instant) = text.parse::<Timestamp>() {
            return Some(Moment { first: instant, last: instant });
        }
        // A day parses out of longer texts, too.
        let day: Date = text.parse().ok().filter(|_| text.len() == "2025-08-16".len())?;
        let first = day.to_zoned(TimeZone::UTC).ok()?.timestamp();
        let last = first.checked_add(SignedDuration::from_hours(HOURS_OF_A_DAY)).ok()?;
        Some(Moment { first, last: last.checked_sub(SignedDuration::from_nanos(1)).ok()? })
    }

    fn ago(text: &str, now: Timestamp) -> Option<Moment> {
        let unit = text.chars().next_back()?;
        let &(_, hours) = UNITS.iter().find(|(name, _)| *name == unit.to_ascii_lowercase())?;
        let digits = &text[..text.len() - unit.len_utf8()];
        let number: i64 = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
        let ago = SignedDuration::from_hours(Some(number).filter(|number| *number <= MAX_AGO)?.checked_mul(hours)?);
        let instant = now.checked_sub(ago).ok()?;
        Some(Moment { first: instant, last: instant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn paths(patterns: &[&str]) -> Paths {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Paths::new(&patterns).expect("patterns").expect("some")
    }

    #[test]
    fn patterns_are_those_of_gitignore() {
        let has = |patterns: &[&str], path: &str| paths(patterns).has(path);
        for (patterns, inside, outside) in [
            (&["src/"][..], &["src/a.rs", "x/src/b/c.rs"][..], &["src", "srcs/a.rs"][..]),
            (&["/src"], &["src/a.rs"], &["x/src/a.rs"]),
            (&["./src"], &["src/a.rs"], &["docs/a.md"]),
            (&["*.rs"], &["a.rs", "x/b.rs"], &["a.rs.md"]),
            (&["docs/**/*.md"], &["docs/a.md", "docs/x/y/a.md"], &["a.md"]),
            (&["src/", "!src/tests/"], &["src/a.rs"], &["src/tests/a.rs", "b.rs"]),
            (&["!tests/"], &["src/a.rs", "b.md"], &["tests/a.rs", "x/tests/b"]),
            (&["*.rs", "!*_test.rs", "keep_test.rs"], &["a.rs", "keep_test.rs"], &["a_test.rs", "a.md"]),
            (&["#a.md"], &["#a.md"], &["a.md"]),
            (&["/etc"], &["etc/x"], &["/etc/x"]),
        ] {
            for path in inside {
                assert!(has(patterns, path), "{patterns:?} lacks {path}");
            }
            for path in outside {
                assert!(!has(patterns, path), "{patterns:?} has {path}");
            }
        }
        assert!(Paths::new(&[]).expect("none").is_none());
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_what_is() {
        let long = "a".repeat(MAX_PATTERN_BYTES + 1);
        for bad in ["", "  ", "!", "./", "a[z-a]", "{a", &long] {
            let error = Paths::new(&[bad.to_owned()]).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::Usage, "{bad}");
            assert!(error.message().len() < 300 && error.hint_text().is_some_and(|hint| hint.contains(".gitignore")), "{error}");
        }
        assert!(Paths::new(&vec!["a".to_owned(); MAX_PATTERNS + 1]).is_err());
    }

    #[test]
    fn dates_are_days_instants_or_how_long_ago() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().expect("now");
        let of = |text: &str| Moment::parse("--since", text, now).expect(text);
        let spans = |text: &str| (of(text).first.to_string(), of(text).last.to_string());
        let same = |text: &str, instant: &str| assert_eq!(spans(text), (instant.to_owned(), instant.to_owned()), "{text}");
        assert_eq!(spans("2025-08-16"), ("2025-08-16T00:00:00Z".to_owned(), "2025-08-16T23:59:59.999999999Z".to_owned()));
        same("2025-08-16T09:30:00+02:00", "2025-08-16T07:30:00Z");
        same("30d", "2026-01-30T12:00:00Z");
        same("12H", "2026-03-01T00:00:00Z");
        same("2w", "2026-02-15T12:00:00Z");
        same("1y", "2025-03-01T12:00:00Z");
        same("0d", "2026-03-01T12:00:00Z");
        for bad in
            ["", "soon", "30", "d", "-3d", "3 d", "1.5d", "100001d", "999999999999999999999d", "2025-02-30", "2025-13-01", "30m", "\u{e9}"]
        {
            let error = Moment::parse("--until", bad, now).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.message().starts_with("--until") && error.hint_text().is_some_and(|hint| hint.contains("30d")), "{error}");
        }
        // Far back is no overflow: a hundred thousand years are no date, and no panic.
        assert!(Moment::parse("--since", "100000y", now).is_err());
        assert!(Moment::parse("--since", "100000d", now).is_ok());
    }
}
