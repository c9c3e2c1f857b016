//! Checking single values: ranges, words, patterns, names; every failure says what is valid.

use std::path::{Component, Path};

use super::suggest;
use super::typed::At;
use super::yaml::wrong;
use crate::error::{Error, Result};

/// The most bytes of a text value: a prompt, a path, a pattern.
const MAX_TEXT_BYTES: usize = 4096;
/// The most entries of a list of patterns.
const MAX_PATTERNS: usize = 1000;
/// The longest name of a projection, which becomes a file name.
const MAX_NAME: usize = 64;

/// The file in which values are checked.
#[derive(Clone, Copy)]
pub(super) struct Checker<'a> {
    path: &'a Path,
}

impl<'a> Checker<'a> {
    pub(super) fn new(path: &'a Path) -> Checker<'a> {
        Checker { path }
    }

    /// An error at a value.
    pub(super) fn wrong<T>(&self, at: &At<T>, message: impl Into<String>) -> Error {
        wrong(message, (at.line, at.column), self.path)
    }

    /// A whole number from `low` to `high`, or `default` if the key is absent.
    pub(super) fn whole(&self, key: &str, at: Option<&At<i64>>, default: usize, low: i64, high: i64) -> Result<usize> {
        let Some(at) = at else { return Ok(default) };
        self.ranged(&format!("`{key}`"), at, low, high, &format!(", or remove the key for {default}"))
    }

    /// A whole number from `low` to `high`; `or` ends the hint.
    pub(super) fn ranged(&self, key: &str, at: &At<i64>, low: i64, high: i64, or: &str) -> Result<usize> {
        match usize::try_from(at.value) {
            Ok(value) if (low..=high).contains(&at.value) => Ok(value),
            _ => Err(self
                .wrong(at, format!("{key} is {}; it must be from {low} to {high}", at.value))
                .hint(format!("write a whole number from {low} to {high}{or}"))),
        }
    }

    /// A number from `low` to `high`, or `default` if the key is absent. NaN is in no range.
    pub(super) fn number(&self, key: &str, at: Option<&At<f64>>, default: f64, low: f64, high: f64) -> Result<f64> {
        let Some(at) = at else { return Ok(default) };
        if (low..=high).contains(&at.value) {
            return Ok(at.value);
        }
        Err(self
            .wrong(at, format!("`{key}` is {}; it must be from {low} to {high}", at.value))
            .hint(format!("write a number from {low} to {high}, or remove the key for {default}")))
    }

    /// One of some words, each with its meaning, or `default` if the key is absent.
    pub(super) fn word<T: Copy>(&self, key: &str, at: Option<&At<String>>, default: T, valid: &[(&str, T)]) -> Result<T> {
        let Some(at) = at else { return Ok(default) };
        if let Some((_, meaning)) = valid.iter().find(|(word, _)| *word == at.value) {
            return Ok(*meaning);
        }
        let words: Vec<&str> = valid.iter().map(|(word, _)| *word).collect();
        let hint = match suggest::closest(&at.value, words.iter().copied()) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if words.len() == 1 => format!("the only value that is valid now is `{}`", words[0]),
            None => format!("valid are {}", suggest::list(&words)),
        };
        Err(self.wrong(at, format!("`{key}` cannot be `{}`", shown(&at.value))).hint(hint))
    }

    /// `on` or `off`; YAML writers put `true` and `false` (and `yes` and `no`) in their place.
    pub(super) fn switch(&self, key: &str, at: Option<&At<String>>, default: bool) -> Result<bool> {
        let Some(at) = at else { return Ok(default) };
        match at.value.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" => Ok(true),
            "off" | "false" | "no" => Ok(false),
            _ => Err(self.wrong(at, format!("`{key}` cannot be `{}`", shown(&at.value))).hint("write `on` or `off`")),
        }
    }

    /// A text that is not too long and has no control characters but line breaks and tabs.
    pub(super) fn text<'v>(&self, key: &str, at: &'v At<String>) -> Result<&'v str> {
        if at.value.len() > MAX_TEXT_BYTES {
            let message = format!("`{key}` has {} bytes; at most {MAX_TEXT_BYTES} are taken", at.value.len());
            return Err(self.wrong(at, message).hint("shorten the text"));
        }
        if at.value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            return Err(self.wrong(at, format!("`{key}` holds a control character")).hint("remove it"));
        }
        Ok(&at.value)
    }

    /// A text of one line that says something.
    pub(super) fn line<'v>(&self, key: &str, at: &'v At<String>) -> Result<&'v str> {
        let text = self.text(key, at)?.trim();
        if text.is_empty() {
            return Err(self.wrong(at, format!("`{key}` is empty")).hint("write a value, or remove the key"));
        }
        if text.contains(['\n', '\t']) {
            return Err(self.wrong(at, format!("`{key}` has more than one line")).hint("write it on one line"));
        }
        Ok(text)
    }

    /// Paths or patterns inside the project.
    pub(super) fn patterns(&self, key: &str, at: Option<&At<Vec<At<String>>>>) -> Result<Vec<String>> {
        let Some(list) = at else { return Ok(Vec::new()) };
        if list.value.len() > MAX_PATTERNS {
            let message = format!("`{key}` has {} entries; at most {MAX_PATTERNS} are taken", list.value.len());
            return Err(self.wrong(list, message).hint("name folders instead of single files"));
        }
        let mut out = Vec::with_capacity(list.value.len());
        for entry in &list.value {
            let text = self.line(key, entry)?;
            let inside = !text.contains('\\')
                && Path::new(text.trim_start_matches('!')).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
            if !inside || text.as_bytes().get(1) == Some(&b':') {
                return Err(self
                    .wrong(entry, format!("`{key}` has `{}`, which leaves the project", shown(text)))
                    .hint("write a path or pattern relative to the project's root, with forward slashes and without `..`"));
            }
            out.push(text.to_owned());
        }
        Ok(out)
    }

    /// A name that becomes a file name on every system.
    pub(super) fn name(&self, at: &At<String>) -> Result<String> {
        // Windows takes these for devices whatever follows the first dot.
        const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
        let name = &at.value;
        let plain = (1..=MAX_NAME).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
            && !name.starts_with('-');
        let numbered = name.len() == 4 && (name.starts_with("com") || name.starts_with("lpt")) && name.as_bytes()[3].is_ascii_digit();
        if plain && !numbered && !DEVICES.contains(&name.as_str()) {
            return Ok(name.clone());
        }
        Err(self
            .wrong(at, format!("`{}` cannot be the name of a projection", shown(name)))
            .hint("use 1 to 64 of a-z, 0-9, `_` and `-`, not a leading `-`, and no device name of Windows"))
    }
}

fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let plain: String = text.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().count() > MOST { plain + "..." } else { plain }
}
