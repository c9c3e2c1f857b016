//! The cache that the hub's own clients share, `models--OWNER--NAME/{blobs,refs,snapshots}`: where it is, and what is in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::fs;

/// The most bytes of a file in `refs`: a commit has forty.
const MAX_REF: u64 = 256;

/// The branch that is meant when none is named.
pub(super) const MAIN: &str = "main";

/// The folder of the hub's clients, under which their token lies: `HF_HOME`, or else `huggingface` in `$XDG_CACHE_HOME` or `~/.cache`, on
/// every system.
pub(super) fn home_from(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = || set(if cfg!(windows) { "USERPROFILE" } else { "HOME" });
    if let Some(home) = set("HF_HOME") {
        return match home.strip_prefix("~") {
            Ok(rest) => Some(user()?.join(rest)),
            Err(_) => std::path::absolute(home).ok(),
        };
    }
    let caches = set("XDG_CACHE_HOME").or_else(|| user().map(|home| home.join(".cache")))?;
    std::path::absolute(caches.join("huggingface")).ok()
}

/// The cache of the hub's clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubCache {
    root: PathBuf,
}

impl HubCache {
    /// The one of this user, whether it is there or not: `HF_HUB_CACHE`, or else `hub` in the folder of the hub's clients.
    pub fn of_this_user() -> Option<HubCache> {
        HubCache::from_variables(&|name| std::env::var_os(name))
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<HubCache> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = match set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE")) {
            Some(root) => std::path::absolute(root).ok()?,
            None => home_from(variable)?.join("hub"),
        };
        Some(HubCache { root })
    }

    /// The one at a folder.
    pub fn at(root: impl Into<PathBuf>) -> HubCache {
        HubCache { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a repository, as it is there already whatever its case, or as it would be made.
    pub(super) fn repository(&self, id: &str) -> PathBuf {
        let name = folder_name(id);
        let there = || self.folders().into_iter().find(|there| there.eq_ignore_ascii_case(&name));
        let exact = self.root.join(&name);
        if exact.is_dir() { exact } else { self.root.join(there().unwrap_or(name)) }
    }

    /// Where locks on a repository lie, for all clients.
    pub(super) fn locks(&self, id: &str) -> PathBuf {
        self.root.join(".locks").join(self.repository(id).file_name().unwrap_or_default())
    }

    /// The commit that a revision was when it was fetched last, and the folder of that commit, if it is there.
    pub(super) fn snapshot(&self, id: &str, revision: Option<&str>) -> Option<(String, PathBuf)> {
        let repository = self.repository(id);
        let revision = revision.unwrap_or(MAIN);
        let named = fs::read_limited(&repository.join("refs").join(revision), MAX_REF).ok();
        let commit = match named.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(commit) => commit.trim().to_owned(),
            None => revision.to_owned(),
        };
        // What a file says is no path.
        if commit.len() != 40 || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let folder = repository.join("snapshots").join(&commit);
        folder.is_dir().then_some((commit, folder))
    }

    /// The models that are there, as `owner/name`, sorted.
    pub(super) fn ids(&self) -> Vec<String> {
        let id = |folder: &String| folder.strip_prefix("models--")?.split_once("--").map(|(owner, name)| format!("{owner}/{name}"));
        let mut ids: Vec<String> = self.folders().iter().filter_map(id).collect();
        ids.sort();
        ids
    }

    fn folders(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.starts_with("models--")).collect()
    }
}

fn folder_name(id: &str) -> String {
    format!("models--{}", id.replace('/', "--"))
}

/// The hash that the clients' cache gives for a file of a snapshot: the name of the blob that it links to, 64 digits of SHA-256 or 40 of
/// git's SHA-1.
pub(super) fn blob_name(file: &Path) -> Option<String> {
    let target = std::fs::read_link(file).ok()?;
    let name = target.file_name()?.to_str()?;
    let is_hash = matches!(name.len(), 40 | 64) && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let in_blobs = target.parent().and_then(Path::file_name).is_some_and(|folder| folder == "blobs");
    (is_hash && in_blobs).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(variables: &[(&str, &str)]) -> Option<PathBuf> {
        let variable = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        HubCache::from_variables(&variable).map(|cache| cache.root)
    }

    #[cfg(unix)]
    #[test]
    fn the_variables_of_the_hubs_clients_say_where_it_is() {
        for (variables, place) in [
            (&[("HOME", "/h")][..], Some("/h/.cache/huggingface/hub")),
            (&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")], Some("/x/huggingface/hub")),
            (&[("HOME", "/h"), ("HF_HOME", "/hf")], Some("/hf/hub")),
            (&[("HOME", "/h"), ("HF_HOME", "~/hf")], Some("/h/hf/hub")),
            (&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")], Some("/c")),
            (&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "")], Some("/old")),
            (&[], None),
        ] {
            assert_eq!(root(variables), place.map(PathBuf::from), "{variables:?}");
        }
    }

    #[test]
    fn a_revision_is_found_by_branch_or_commit_and_a_file_is_no_path() {
        let folder = tempfile::tempdir().expect("folder");
        let cache = HubCache::at(folder.path());
        let commit = "a".repeat(40);
        assert_eq!(cache.snapshot("me/mine", None), None);
        let repository = folder.path().join("models--me--mine");
        let put = |name: &str, text: &str| fs::write_atomic(&repository.join(name), |out| out.write_all(text.as_bytes())).expect(name);
        put(&format!("snapshots/{commit}/config.json"), "{}");
        put("refs/main", &commit);
        put("refs/hostile", "../../../..");
        put("refs/gone", &"b".repeat(40));
        let found = Some((commit.clone(), repository.join("snapshots").join(&commit)));
        assert_eq!(cache.snapshot("me/mine", None), found);
        assert_eq!(cache.snapshot("Me/MINE", Some("main")), found);
        assert_eq!(cache.snapshot("me/mine", Some(&commit)), found);
        for none in ["hostile", "gone", "v1", ".."] {
            assert_eq!(cache.snapshot("me/mine", Some(none)), None, "{none}");
        }
        assert_eq!(cache.ids(), ["me/mine"]);
    }
}
