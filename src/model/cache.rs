//! Patina's cache folder: where it is, which models it holds, and finding one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::files::ModelFolder;
use super::hub_cache::HubCache;
use super::record;
use super::reference::ModelRef;
use super::registry;
use crate::error::{Error, ErrorKind, Result};
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

/// The cache folder. Imported models lie in `models/<name>`, runtimes in `runtime`, hashes of files in `stamps`, weights that a
/// backend derived in `derived/<identity>`, what was fetched from the
/// hub in `hub/<owner>--<name>/<commit>.json`; the fetched files themselves lie in the cache of the hub's clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
    hub: Option<HubCache>,
}

impl Cache {
    /// The cache of this user; nothing is created.
    pub fn open() -> Result<Cache> {
        match cache_root() {
            Some(root) => Ok(Cache { root, hub: HubCache::of_this_user() }),
            None => Err(Error::missing("there is no folder for Patina's cache").hint(format!("set {VARIABLE} to a folder"))),
        }
    }

    /// A cache at a folder, without the cache of the hub's clients.
    pub fn at(root: impl Into<PathBuf>) -> Cache {
        Cache { root: root.into(), hub: None }
    }

    /// The same with a cache of the hub's clients.
    pub fn with_hub(self, hub: HubCache) -> Cache {
        Cache { hub: Some(hub), ..self }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the models.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// The cache of the hub's clients, whether it is there or not.
    pub fn hub(&self) -> Option<&HubCache> {
        self.hub.as_ref()
    }

    /// Every model in the cache, sorted by name, then those in the cache of the hub's clients, whoever fetched them; what cannot be opened
    /// comes with its error.
    pub fn list(&self) -> Result<Vec<(String, Result<ModelFolder>)>> {
        let mut models: Vec<_> =
            self.names()?.into_iter().map(|name| (name.clone(), ModelFolder::open(&self.models().join(name)))).collect();
        let mut names: Vec<String> = models
            .iter()
            .flat_map(|(name, model)| [Some(name.clone()), model.as_ref().ok().map(|m| m.name().to_owned())])
            .flatten()
            .collect();
        for id in self.hub.iter().flat_map(HubCache::ids) {
            let Ok(reference) = ModelRef::parse(&id) else { continue };
            let name = reference.to_string();
            // Most of what others put there is no embedding model, or not whole, and none of our business.
            if !names.contains(&name)
                && let Some((commit, folder)) = self.snapshot(&reference)
                && let Ok(model) = self.hub_model(&reference, &commit)
                && is_whole(&model, &folder)
            {
                names.push(name.clone());
                models.push((name, Ok(model)));
            }
        }
        Ok(models)
    }

    fn snapshot(&self, reference: &ModelRef) -> Option<(String, PathBuf)> {
        self.hub.as_ref()?.snapshot(&reference.hub_id()?, reference.revision())
    }

    /// Where it is written down what was fetched.
    pub(super) fn hub_record(&self, id: &str, commit: &str) -> PathBuf {
        self.root.join("hub").join(id.replace('/', "--").to_lowercase()).join(format!("{commit}.json"))
    }

    /// The model of a commit in the cache of the hub's clients.
    pub(super) fn hub_model(&self, reference: &ModelRef, commit: &str) -> Result<ModelFolder> {
        let (Some(hub), Some(id)) = (&self.hub, reference.hub_id()) else { return Err(Error::bug("a model that is not the hub's")) };
        let record = record::read_from(&self.hub_record(&id, commit), &format!("run {}", fetch_hint(reference)))?;
        ModelFolder::open_snapshot(&hub.repository(&id).join("snapshots").join(commit), reference, &id, commit, record)
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

    /// The model of a reference: a folder (relative ones from `project`), a folder of the cache, or one in the cache of the hub's clients.
    /// Nothing is fetched.
    ///
    /// Fails with [`ErrorKind::Missing`] and a hint that says how to get it.
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
        if let Some((commit, folder)) = self.snapshot(model) {
            let part = || {
                Error::missing(format!("the hub's cache has only a part of the model {model}"))
                    .at(&folder)
                    .hint(format!("bring the rest with {}", fetch_hint(model)))
            };
            return match self.hub_model(model, &commit) {
                Ok(model) if is_whole(&model, &folder) => Ok(model),
                Err(error) if error.kind() != ErrorKind::Missing => Err(error),
                _ => Err(part()),
            };
        }
        let error = Error::missing(format!("the model {model} is not on this machine"));
        let text = model.to_string();
        if project.join(&text).join("config.json").is_file() {
            return Err(error.hint(format!("write `./{text}` if the folder is meant")));
        }
        Err(error.hint(match (model.hub_id(), &model) {
            (Some(hub_id), _) => format!(
                "run {}, or `patina model import FOLDER --name {model}` on a folder or a wheel (FILE.whl) that holds {hub_id}",
                fetch_hint(model)
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

/// Whether a model in the cache of the hub's clients can be relied on to be whole: Patina fetched it, or sentence-transformers did, which
/// takes all that the model says about texts. What others take of it may lack its prompts.
fn is_whole(model: &ModelFolder, folder: &Path) -> bool {
    model.record().is_some() || folder.join("modules.json").is_file()
}

fn fetch_hint(model: &ModelRef) -> String {
    format!("`patina model fetch {model}`")
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
