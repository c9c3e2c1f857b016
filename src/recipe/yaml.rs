//! Reading YAML with bounds, and turning the parser's errors into ours.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_yaml::{Budget, DuplicateKeyPolicy, Error as YamlError, Options, UserMessageFormatter};

use super::suggest;
use super::typed::At;
use crate::error::{Error, ErrorKind, Result};
use crate::fs;

/// The most bytes of a recipe. The longest real ones have a few kilobytes.
pub(super) const MAX_BYTES: u64 = 256 * 1024;
/// The deepest nesting. A recipe needs four levels.
const MAX_DEPTH: usize = 16;
/// The most parser events and nodes, before and after aliases are followed.
const MAX_NODES: usize = 50_000;
/// The most anchors, and the most aliases.
const MAX_ALIASES: usize = 64;
/// The most events that all aliases together may repeat: what makes an alias bomb harmless.
const MAX_REPEATED: usize = 2_000;
/// The most characters of a found value in a message.
const MAX_QUOTED: usize = 40;

/// The version of the recipe's format.
pub(super) const VERSION: i64 = 1;

/// Reads a recipe's text.
pub(super) fn read(path: &Path) -> Result<String> {
    if !path.exists() {
        return Err(Error::missing("there is no recipe").at(path).hint("run `patina init` to write one"));
    }
    if path.metadata().is_ok_and(|meta| meta.len() > MAX_BYTES) {
        return Err(Error::new(ErrorKind::Recipe, format!("the recipe has more than {MAX_BYTES} bytes"))
            .at(path)
            .hint("is this the right file? a recipe has a few kilobytes"));
    }
    let bytes = fs::read_limited(path, MAX_BYTES)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        wrong("the recipe is not UTF-8 text", (line, column), path).hint("save the file as UTF-8")
    })
}

/// An error at a place of the recipe; a place that is not known is left out.
pub(super) fn wrong(message: impl Into<String>, (line, column): (usize, usize), path: &Path) -> Error {
    let error = Error::new(ErrorKind::Recipe, message);
    if line == 0 { error.at(path) } else { error.at_line(path, line, column.max(1)) }
}

/// Parses a whole recipe. The version is looked at first, so that a recipe of a later version is not blamed for its new keys.
pub(super) fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    #[derive(Deserialize)]
    struct Head {
        version: Option<At<i64>>,
    }
    if text.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("the recipe has more than {MAX_BYTES} bytes"), (0, 0), path).hint("a recipe has a few kilobytes"));
    }
    match serde_yaml::from_str_with_options::<Head>(text, options()) {
        Ok(Head { version: Some(version) }) if version.value != VERSION => {
            let message = format!("the recipe has version {}; this Patina reads version {VERSION}", version.value);
            let hint = "write `version: 1`, or use a Patina that knows this version";
            return Err(wrong(message, (version.line, version.column), path).hint(hint));
        }
        Err(error) if is_limit(&error) => return Err(translate(&error, text, path)),
        // Whatever else is wrong is reported by the whole parse, which knows more.
        _ => {}
    }
    serde_yaml::from_str_with_options(text, options()).map_err(|error| translate(&error, text, path))
}

/// Whether a recipe asks for more than any recipe needs.
fn is_limit(error: &YamlError) -> bool {
    match error.without_snippet() {
        YamlError::AliasError { error, .. } => is_limit(error),
        error => matches!(
            error,
            YamlError::Budget { .. }
                | YamlError::AliasReplayLimitExceeded { .. }
                | YamlError::AliasExpansionLimitExceeded { .. }
                | YamlError::AliasReplayStackDepthExceeded { .. }
                | YamlError::AliasReplayCounterOverflow { .. }
        ),
    }
}

fn options() -> Options {
    serde_yaml::options! {
        budget: budget(),
        duplicate_keys: DuplicateKeyPolicy::Error,
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: MAX_REPEATED,
            max_replay_stack_depth: MAX_DEPTH,
            max_alias_expansions_per_anchor: MAX_ALIASES,
        },
        reject_unsupported_tags: true,
        reject_tagged_field_names: true,
        with_snippet: false,
    }
}

fn budget() -> Option<Budget> {
    serde_yaml::budget! {
        max_reader_input_bytes: Some(MAX_BYTES as usize),
        max_events: 2 * MAX_NODES,
        max_nodes: MAX_NODES,
        max_aliases: MAX_ALIASES,
        max_anchors: MAX_ALIASES,
        max_recorded_anchor_events: MAX_NODES,
        max_recorded_anchor_bytes: MAX_BYTES as usize,
        max_depth: MAX_DEPTH,
        max_documents: 1,
        max_total_scalar_bytes: 2 * MAX_BYTES as usize,
        max_merge_keys: MAX_ALIASES,
    }
}

fn translate(error: &YamlError, text: &str, path: &Path) -> Error {
    let error = error.without_snippet();
    if let YamlError::AliasError { error, locations, .. } = error {
        let place = locations.primary_location().map_or((0, 0), |place| (place.line() as usize, place.column() as usize));
        let inner = translate(error, text, path);
        let out = wrong(inner.message(), place, path);
        return match inner.hint_text() {
            Some(hint) => out.hint(hint),
            None => out,
        };
    }
    let place = error.location().map_or((1, 1), |place| (place.line() as usize, place.column() as usize));
    let place = if place.0 == 0 { (1, 1) } else { place };
    let found = found(text, place);
    let (message, hint) = match error {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            let hint = match suggest::closest(field, expected.iter().copied()) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("keys that can stand here: {}", suggest::list(expected)),
            };
            (format!("unknown key `{}`", shorten(field)), hint)
        }
        YamlError::SerdeMissingField { field, .. } => (format!("the key `{field}` is missing"), example(field)),
        YamlError::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().map_or("a key".to_owned(), |key| format!("the key `{}`", shorten(key)));
            (format!("{key} stands twice"), "keep one of the two".to_owned())
        }
        YamlError::InvalidScalar { ty, .. } => expected(scalar_type(ty), &found),
        YamlError::SerdeInvalidType { expected: wanted, unexpected, .. } => {
            (format!("expected {wanted}, found {unexpected}"), "check the indentation and the value".to_owned())
        }
        YamlError::SerdeInvalidValue { expected: wanted, unexpected, .. } => {
            (format!("expected {wanted}, found {unexpected}"), "check the value".to_owned())
        }
        YamlError::NullIntoString { .. } => expected("text", &found),
        YamlError::Unexpected { expected: wanted, .. } => expected(node_type(wanted), &found),
        YamlError::Eof { .. } => (
            "the recipe is empty".to_owned(),
            "it begins with `version: 1` and `embedding_model: NAME`; `patina init` writes one".to_owned(),
        ),
        YamlError::MultipleDocuments { .. } => two_documents(),
        YamlError::UnknownAnchor { .. } => (
            "the alias has no anchor".to_owned(),
            "an alias `*name` needs an anchor `&name` before it; quote a text that begins with `*`".to_owned(),
        ),
        YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. }
        | YamlError::AliasReplayCounterOverflow { .. } => too_much("repeats too much through aliases"),
        YamlError::Budget { breach, .. } => {
            use serde_yaml::budget::BudgetBreach as Breach;
            match breach {
                Breach::Depth { .. } => too_much(&format!("is nested deeper than {MAX_DEPTH} levels")),
                Breach::Aliases { .. } | Breach::Anchors { .. } | Breach::AliasAnchorRatio { .. } | Breach::MergeKeys { .. } => {
                    too_much(&format!("has more than {MAX_ALIASES} aliases"))
                }
                Breach::RecordedAnchorEvents { .. } | Breach::RecordedAnchorBytes { .. } => too_much("repeats too much through aliases"),
                Breach::Documents { .. } => two_documents(),
                _ => too_much("has too many values"),
            }
        }
        YamlError::UnsupportedTag { tag, .. } | YamlError::TaggedStructFieldName { tag, .. } => {
            (format!("the tag `{}` has no meaning here", shorten(tag)), "remove it, or quote the text".to_owned())
        }
        other => {
            let rendered = other.render_with_formatter(&UserMessageFormatter);
            let first = rendered.lines().next().unwrap_or_default();
            // The place is ours to tell.
            let first = first.split(" at line ").next().unwrap_or(first).trim_start_matches("error: ").trim();
            (format!("not valid YAML: {}", shorten_to(first, 200)), "check the indentation, the quotes and the brackets".to_owned())
        }
    };
    wrong(message, place, path).hint(hint)
}

fn expected(wanted: &str, found: &str) -> (String, String) {
    // Where a value is missing, the parser points at the end of the key.
    if found.is_empty() || found.starts_with(':') {
        return (format!("expected {wanted}, found nothing"), "write a value after the colon, or remove the key".to_owned());
    }
    (format!("expected {wanted}, found `{found}`"), format!("write {wanted} here"))
}

fn two_documents() -> (String, String) {
    ("the file holds more than one document".to_owned(), "a recipe is one document: remove the line `---`".to_owned())
}

fn too_much(what: &str) -> (String, String) {
    (format!("the recipe {what}"), "no recipe needs that; write the values out".to_owned())
}

fn scalar_type(ty: &str) -> &'static str {
    match ty {
        "f64" | "f32" | "float" | "floating point" => "a number",
        "bool" | "boolean" => "`on` or `off`",
        _ => "a whole number",
    }
}

fn node_type(expected: &str) -> &'static str {
    if expected.contains("sequence") {
        "a list"
    } else if expected.contains("mapping") {
        "a mapping"
    } else {
        "a single value"
    }
}

fn example(field: &str) -> String {
    match field {
        "version" => "add the line `version: 1`".to_owned(),
        "embedding_model" => "add a line such as `embedding_model: all-MiniLM-L6-v2`".to_owned(),
        field => format!("add `{field}:`"),
    }
}

/// What stands at a place, up to the end of the value.
fn found(text: &str, (line, column): (usize, usize)) -> String {
    let line = text.lines().nth(line - 1).unwrap_or_default();
    let rest: Vec<char> = line.chars().skip(column.saturating_sub(1)).collect();
    let quoted = rest.first().is_some_and(|c| matches!(c, '"' | '\''));
    let mut open = 0_usize;
    let mut end = rest.len();
    for (i, c) in rest.iter().enumerate() {
        match c {
            '#' if i > 0 && rest[i - 1] == ' ' => end = i,
            '[' | '{' => open += 1,
            ']' | '}' if open == 1 => end = i + 1,
            ']' | '}' if open > 1 => open -= 1,
            ']' | '}' | ',' if open == 0 && !quoted => end = i,
            _ => {}
        }
        if end < rest.len() {
            break;
        }
    }
    shorten(rest[..end].iter().collect::<String>().trim())
}

fn shorten(text: &str) -> String {
    shorten_to(text, MAX_QUOTED)
}

fn shorten_to(text: &str, most: usize) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if plain.chars().count() <= most { plain } else { plain.chars().take(most).chain("...".chars()).collect() }
}
