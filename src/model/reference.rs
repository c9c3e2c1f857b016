//! What `embedding_model:` and `--model` can say: a known name, a hub id, a name given at import, or a folder.

use std::fmt;
use std::path::PathBuf;

use super::registry::{self, KnownModel};
use crate::error::{Error, Result};

/// The longest reference in bytes.
const MAX_BYTES: usize = 4096;
/// The longest owner, name or revision.
const MAX_PART: usize = 96;

/// A reference to a model.
///
/// A text is a folder if it begins with `.`, `/`, `~` or a drive, or has a backslash or two slashes; `owner/name` is a hub id (write
/// `./owner/name` for the folder); the rest is a name. `@revision` may follow a name or a hub id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelRef {
    /// A model of the registry, by its name or hub id.
    Known {
        /// Which.
        model: &'static KnownModel,
        /// A revision other than the registry's.
        revision: Option<String>,
    },
    /// A hub id that the registry does not know.
    Hub {
        /// Who publishes it.
        owner: String,
        /// Its name.
        name: String,
        /// The revision, if one was asked for.
        revision: Option<String>,
    },
    /// A name that was given when the model was imported.
    Named(String),
    /// A folder; relative paths are relative to the project's root.
    Folder(PathBuf),
}

impl ModelRef {
    /// Parses a reference. Fails with [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) if it can be no model's name; whether there
    /// is such a model is for [`Cache::find`](super::Cache::find) to say.
    pub fn parse(text: &str) -> Result<ModelRef> {
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_BYTES || text.contains('\0') {
            return Err(Error::usage("the model's name is empty, too long or holds a zero byte")
                .hint("name a model such as `all-MiniLM-L6-v2`, a hub id `owner/name`, or a folder"));
        }
        if is_folder(text) {
            return Ok(ModelRef::Folder(PathBuf::from(text)));
        }
        let (id, revision) = match text.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (text, None),
        };
        let parts: Vec<&str> = id.split('/').collect();
        if let Some(bad) = parts.iter().copied().chain(revision).find(|part| !is_plain(part)) {
            return Err(Error::usage(format!("`{text}` cannot be a model: `{bad}` is no name"))
                .hint("a name has letters, digits, `.`, `_` and `-`; a folder is written with `./` before it"));
        }
        if let Some(model) = registry::find(id) {
            let other = revision.filter(|&revision| model.revision != Some(revision));
            return Ok(ModelRef::Known { model, revision: other.map(str::to_owned) });
        }
        Ok(match (parts.as_slice(), revision) {
            ([owner, name], revision) => {
                ModelRef::Hub { owner: (*owner).to_owned(), name: (*name).to_owned(), revision: revision.map(str::to_owned) }
            }
            _ => ModelRef::Named(text.to_owned()),
        })
    }

    /// The folder in the cache that holds such a model, `None` for a reference to a folder. Safe as a file name, and told apart
    /// without upper and lower case.
    pub fn cache_name(&self) -> Option<String> {
        let with = |name: String, revision: &Option<String>| match revision {
            Some(revision) => format!("{name}@{revision}"),
            None => name,
        };
        match self {
            ModelRef::Known { model, revision } => Some(with(model.name.to_owned(), revision)),
            ModelRef::Hub { owner, name, revision } => Some(with(format!("{owner}--{name}"), revision)),
            ModelRef::Named(name) => Some(name.clone()),
            ModelRef::Folder(_) => None,
        }
    }

    /// The registry's entry.
    pub fn known(&self) -> Option<&'static KnownModel> {
        match self {
            ModelRef::Known { model, .. } => Some(model),
            _ => None,
        }
    }

    /// The registry's entry if its own revision is meant, which is known to the byte.
    pub(super) fn pinned(&self) -> Option<&'static KnownModel> {
        match self {
            ModelRef::Known { model, revision: None } => Some(model),
            _ => None,
        }
    }

    /// `owner/name` on the hub, as far as there is one.
    pub fn hub_id(&self) -> Option<String> {
        match self {
            ModelRef::Known { model, .. } => Some(model.hub_id.to_owned()),
            ModelRef::Hub { owner, name, .. } => Some(format!("{owner}/{name}")),
            _ => None,
        }
    }

    /// The revision that was asked for, or else the registry's.
    pub fn revision(&self) -> Option<&str> {
        match self {
            ModelRef::Known { model, revision } => revision.as_deref().or(model.revision),
            ModelRef::Hub { revision, .. } => revision.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = match self {
            ModelRef::Known { model, revision } => {
                f.write_str(model.name)?;
                revision
            }
            ModelRef::Hub { owner, name, revision } => {
                write!(f, "{owner}/{name}")?;
                revision
            }
            ModelRef::Named(name) => return f.write_str(name),
            ModelRef::Folder(path) => return write!(f, "{}", path.display()),
        };
        match revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

fn is_folder(text: &str) -> bool {
    let drive = text.as_bytes().get(1) == Some(&b':') && text.as_bytes()[0].is_ascii_alphabetic();
    text.starts_with(['.', '/', '~']) || drive || text.contains('\\') || text.matches('/').count() > 1 || text.ends_with('/')
}

/// Whether a part of a name is safe in a file name on every system, and cannot be taken for an option or a hidden file.
fn is_plain(part: &str) -> bool {
    (1..=MAX_PART).contains(&part.len())
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        && !part.starts_with(['.', '-'])
        && !part.ends_with('.')
        && !part.contains("--")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn name(text: &str) -> Option<String> {
        ModelRef::parse(text).expect(text).cache_name()
    }

    #[test]
    fn every_form_is_told_apart() {
        assert_eq!(name("ALL-MINILM-L6-V2").as_deref(), Some("all-MiniLM-L6-v2"));
        assert_eq!(name("sentence-transformers/all-minilm-l6-v2").as_deref(), Some("all-MiniLM-L6-v2"));
        assert_eq!(name("intfloat/e5-base-v2@abc").as_deref(), Some("e5-base-v2@abc"));
        assert_eq!(name("me/mine").as_deref(), Some("me--mine"));
        assert_eq!(name("me/mine@v1.0").as_deref(), Some("me--mine@v1.0"));
        assert_eq!(name("mine").as_deref(), Some("mine"));
        for folder in ["./mine", "../x", "/m", "~/m", "a/b/c", "a\\b", "C:\\m", "C:/m", "mine/", "."] {
            assert!(matches!(ModelRef::parse(folder), Ok(ModelRef::Folder(_))), "{folder}");
        }
    }

    #[test]
    fn names_that_are_not_safe_are_refused() {
        for bad in ["", "  ", "a b", "a/", "-x", "a@", "a@../b", "a/b@x/y", "ä", "ab:c", "a--b", "a/.b", "x@.", "a\0", &"a".repeat(5000)] {
            match ModelRef::parse(bad) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Usage, "{bad}"),
                // More than one slash makes a folder, which `find` looks for.
                Ok(ModelRef::Folder(_)) => assert!(bad.contains('/'), "{bad}"),
                Ok(other) => panic!("{bad}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_reference_is_shown_as_it_can_be_typed() {
        for text in ["all-MiniLM-L6-v2", "e5-base-v2@abc", "me/mine@v1", "mine", "./m"] {
            let model = ModelRef::parse(text).expect(text);
            assert_eq!(ModelRef::parse(&model.to_string()).expect(text), model);
        }
    }
}
