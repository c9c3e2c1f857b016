//! File names that come from the hub: what may become a file here. Names are checked for every system, so that a model that can be
//! fetched on one can be fetched on all.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// The longest part of a path in bytes; what most file systems take.
const MAX_PART: usize = 255;
/// The longest path in bytes.
const MAX_PATH: usize = 1024;

/// Names that Windows takes for devices, whatever comes after a dot.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// Whether no tree of git can have such a name: whoever lists it means harm.
pub(super) fn is_hostile(name: &str) -> bool {
    name.starts_with('/') || name.contains('\0') || name.split('/').any(|part| part == ".." || part == ".")
}

/// Why a name may not become a file, if so.
pub(super) fn fault(name: &str) -> Option<&'static str> {
    if is_hostile(name) {
        return Some("it leaves the model's folder");
    }
    if name.len() > MAX_PATH {
        return Some("it is too long");
    }
    name.split('/').find_map(part_fault)
}

fn part_fault(part: &str) -> Option<&'static str> {
    let stem = part.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let numbered =
        |port: &str| stem.strip_prefix(port).is_some_and(|n| matches!(n.chars().collect::<Vec<_>>()[..], ['1'..='9' | '¹' | '²' | '³']));
    if part.is_empty() {
        Some("a part of it is empty")
    } else if part.len() > MAX_PART {
        Some("a part of it is too long")
    } else if part.chars().any(|c| c.is_control() || matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')) {
        Some("it holds a character that a file's name cannot have everywhere")
    } else if part.ends_with(['.', ' ']) || part.starts_with(' ') {
        Some("a part of it begins or ends with a space, or ends with a dot")
    } else if DEVICES.contains(&stem.as_str()) || numbered("com") || numbered("lpt") {
        Some("a part of it is a device on Windows")
    } else {
        None
    }
}

/// Checks the names of the files that are to lie together: each by itself, and that none is another one in other letters, or a folder
/// of another one.
pub(super) fn check<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    // Every file and every folder above one, as a file system that knows no case sees them.
    let mut seen: BTreeMap<String, (String, bool)> = BTreeMap::new();
    for name in names {
        if let Some(fault) = fault(name) {
            return Err(refused(format!("the hub's file {name:?} cannot be kept here: {fault}")));
        }
        let ends = name.match_indices('/').map(|(at, _)| (at, false)).chain([(name.len(), true)]);
        for (end, is_file) in ends {
            let path = &name[..end];
            let other = seen.entry(path.to_lowercase()).or_insert_with(|| (path.to_owned(), is_file));
            if other.0 != path || other.1 != is_file {
                return Err(refused(format!("the hub's files {:?} and {path:?} cannot lie in one folder everywhere", other.0)));
            }
        }
    }
    Ok(())
}

fn refused(message: String) -> Error {
    Error::corrupt(message).hint("nothing was kept; tell whoever publishes the model")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_are_taken() {
        check([
            "config.json",
            "1_Pooling/config.json",
            "2_Dense/model.safetensors",
            "model-00001-of-00002.safetensors",
            "commons.json",
            "com10/auxiliary.json",
            "ünï.txt",
            ".gitattributes",
        ])
        .expect("all are plain");
    }

    #[test]
    fn names_that_no_file_may_have_are_refused() {
        let long = "a".repeat(256);
        let deep = "a/".repeat(600) + "b";
        for name in [
            "",
            "/etc/passwd",
            "../a",
            "a/../b",
            "a/./b",
            "a//b",
            "a/",
            "a\\..\\b",
            "C:\\a",
            "C:a",
            "a\0b",
            "a\nb",
            "a\u{1b}[31m",
            "a\u{85}",
            "NUL",
            "nul.json",
            "x/con/y",
            "Com1.safetensors",
            "lpt².txt",
            "aux .txt",
            "a.",
            "a ",
            " a",
            "a?b",
            "a*",
            "a|b",
            "a\"b",
            "<a>",
            &long,
            &deep,
        ] {
            let error = check([name]).expect_err(name);
            assert_eq!(error.kind(), crate::error::ErrorKind::Corrupt, "{name:?}");
            assert!(!error.message().chars().any(char::is_control), "{error:?}");
        }
        assert!(["/a", "../a", "a/..", "a\0"].iter().all(|name| is_hostile(name)));
        assert!(["a..b", "...", "a\\b", "nul"].iter().all(|name| !is_hostile(name)));
    }

    #[test]
    fn names_that_meet_on_some_system_are_refused() {
        for pair in [["Config.json", "config.json"], ["A/x", "a/y"], ["a", "a/b"], ["a/B/c", "a/b"], ["É", "é"]] {
            check(pair).expect_err(pair[0]);
        }
        check(["a/b", "a/c", "a/b2"]).expect("one folder");
        check(["a", "a"]).expect("the same name twice is one file");
    }
}
