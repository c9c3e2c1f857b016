//! Patina's cache folder: where it is, which models it holds, and finding one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::files::ModelFolder;
use super::reference::ModelRef;
use super::registry;
use crate::error::{Error, Result};
use crate::recipe::suggest;

/// The variable that puts the cache elsewhere.
pub const VARIABLE: &str = "PATINA_CACHE_DIR";

/// Patina's cache folder, whether it is there or not: `PATINA_CACHE_DIR`, or else `patina` in the system's folder for caches
/// (`$XDG_CACHE_HOME` or `~/.cache`; `~/Library/Caches`; `%LOCALAPPDATA%`). `None` if the system names no such folder.
pub fn cache_root() -> Option<PathBuf> {
    root_from(&|name| std::env::var_os(name))
}

fn root_from(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set(VARIABLE) {
        return std::path::absolute(folder).ok();
    }
    // The specification says that a relative one is to be ignored.
    let absolute = |name: &str| set(name).filter(|folder| folder.is_absolute());
    let folder = if cfg!(windows) {
        absolute("LOCALAPPDATA")?
    } else if cfg!(target_os = "macos") {
        absolute("HOME")?.join("Library/Caches")
    } else {
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?
    };
    Some(folder.join("patina"))
}

/// The cache folder. Models lie in `models/<name>`, runtimes in `runtime`, hashes of files in `stamps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache of this user; nothing is created.
    pub fn open() -> Result<Cache> {
        match cache_root() {
            Some(root) => Ok(Cache { root }),
            None => Err(Error::missing("there is no folder for Patina's cache").hint(format!("set {VARIABLE} to a folder"))),
        }
    }

    /// A cache at a folder.
    pub fn at(root: impl Into<PathBuf>) -> Cache {
        Cache { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the models.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// Every model in the cache, sorted by name; what cannot be opened comes with its error.
    pub fn list(&self) -> Result<Vec<(String, Result<ModelFolder>)>> {
        Ok(self.names()?.into_iter().map(|name| (name.clone(), ModelFolder::open(&self.models().join(name)))).collect())
    }

    /// The names of the folders in `models`, sorted; half-made ones begin with a dot.
    fn names(&self) -> Result<Vec<String>> {
        let models = self.models();
        let entries = match std::fs::read_dir(&models) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", &models, error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("read", &models, e))?;
            match entry.file_name().into_string() {
                Ok(name) if !name.starts_with('.') && entry.path().is_dir() => names.push(name),
                _ => {}
            }
        }
        names.sort();
        Ok(names)
    }

    /// The folder of a name, as it is there already whatever its case, or as it would be made.
    pub(super) fn place(&self, cache_name: &str) -> Result<PathBuf> {
        let there = self.names()?.into_iter().find(|name| name.eq_ignore_ascii_case(cache_name));
        Ok(self.models().join(there.as_deref().unwrap_or(cache_name)))
    }

    /// The model of a reference: a folder (relative ones from `project`), or a folder of the cache.
    ///
    /// Fails with [`ErrorKind::Missing`](crate::error::ErrorKind::Missing) and a hint that says how to get it.
    pub fn find(&self, model: &ModelRef, project: &Path) -> Result<ModelFolder> {
        let Some(cache_name) = model.cache_name() else {
            let ModelRef::Folder(folder) = model else { return Err(Error::bug("a model that is no folder has no name")) };
            // Without `.` in the middle and `/` at the end, as errors name it.
            return ModelFolder::open(&project.join(expand(folder)).components().collect::<PathBuf>());
        };
        let place = self.place(&cache_name)?;
        if place.is_dir() {
            return ModelFolder::open(&place);
        }
        let error = Error::missing(format!("the model {model} is not on this machine"));
        let text = model.to_string();
        if project.join(&text).join("config.json").is_file() {
            return Err(error.hint(format!("write `./{text}` if the folder is meant")));
        }
        Err(error.hint(match (model.hub_id(), &model) {
            (Some(hub_id), _) => format!(
                "bring it with `patina model import FOLDER --name {model}` from a folder that holds {hub_id}, or from a wheel (FILE.whl) that does"
            ),
            (None, _) => {
                let names = self.names()?;
                let nearest = registry::nearest(&text).or_else(|| suggest::closest(&text, names.iter().map(String::as_str)));
                match nearest {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None => format!(
                        "`patina model list` shows what there is; bring a model of your own with `patina model import FOLDER --name {text}`"
                    ),
                }
            }
        }))
    }
}

/// `~` is a shell's word, but recipes are no shell.
fn expand(folder: &Path) -> PathBuf {
    let home = std::env::var_os(if cfg!(windows) { "USERPROFILE" } else { "HOME" }).filter(|home| !home.is_empty());
    match (folder.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => folder.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(variables: &[(&str, &str)]) -> Option<PathBuf> {
        root_from(&|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn the_variable_comes_first_and_an_empty_one_is_none() {
        assert_eq!(root(&[(VARIABLE, "/c"), ("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("LOCALAPPDATA", "/l")]), Some(PathBuf::from("/c")));
        assert_eq!(root(&[(VARIABLE, "")]), None);
        assert!(root(&[(VARIABLE, "relative")]).is_some_and(|path| path.is_absolute() && path.ends_with("relative")));
    }

    #[cfg(not(any(windows, target_os = "macos")))]
    #[test]
    fn else_it_is_where_the_system_keeps_caches() {
        assert_eq!(root(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Some(PathBuf::from("/x/patina")));
        assert_eq!(root(&[("HOME", "/h"), ("XDG_CACHE_HOME", "x")]), Some(PathBuf::from("/h/.cache/patina")));
        assert_eq!(root(&[("XDG_CACHE_HOME", "x")]), None);
    }
}
