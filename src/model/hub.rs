//! The hub: `fetch` brings a model from it into the cache that all of the hub's clients share. The doorman of the HTTP client.
//!
//! A branch or tag becomes a commit first; the files of that commit are found by reading the model's own settings, fetched in parallel,
//! and held to the sizes and hashes that the hub names, and to the registry's where it knows them. What is not whole ends in
//! `.incomplete`, and the next run goes on there.

mod address;
mod answer;
mod client;
mod download;
mod names;
mod repository;
mod settings;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use patina_backend::supported_architectures;
pub use settings::HubSettings;

use super::cache::Cache;
use super::files::{Layout, ModelFolder};
use super::hub_cache::{HubCache, MAIN};
use super::record::{self, Identity, Record};
use super::reference::ModelRef;
use super::registry;
use super::tree::Tree;
use super::turn;
use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use crate::progress::Job;
use crate::threads::start_in;
use answer::Listing;
use client::{Ask, Client, Subject};
use repository::{Kept, Repository};

/// The most bytes of config.json.
const MAX_CONFIG: u64 = 4 << 20;
/// How many files are fetched at a time.
const WORKERS: usize = 4;

/// What came of a fetch.
#[derive(Debug)]
pub struct Fetched {
    /// The model.
    pub folder: ModelFolder,
    /// Its commit on the hub, where it came from the hub.
    pub commit: Option<String>,
    /// How many of its files this run fetched.
    pub files: usize,
    /// The bytes of these.
    pub bytes: u64,
}

/// Fetches a model from the hub, or finds that it is here.
///
/// Two processes that want the same model do one transfer: the second waits. Interrupted, it keeps what came for the next run. Without
/// the network ([`HubSettings`]) it only finds what is here.
///
/// Errors: [`ErrorKind::Usage`] if the reference names no model of the hub; [`ErrorKind::Missing`] if the hub does not have the model,
/// revision or file, or the network is off and the model not here; [`ErrorKind::Corrupt`] if a file is not what the hub or the registry
/// says, with both hashes, and nothing of it is kept; [`ErrorKind::Failed`] if the hub refuses or cannot be reached.
pub fn fetch(cache: &Cache, reference: &ModelRef, settings: &HubSettings, job: Job<'_>) -> Result<Fetched> {
    let Some(id) = reference.hub_id() else {
        let error = Error::usage(format!("`{reference}` is no model of the hub"));
        let nearest = registry::nearest(&reference.to_string()).map(|nearest| format!("did you mean `{nearest}`?"));
        return Err(error.hint(nearest.unwrap_or_else(|| "name one that `patina model list` shows, or a hub id `owner/name`".to_owned())));
    };
    if settings.offline {
        let here = |folder: ModelFolder| Fetched { commit: folder.commit().map(str::to_owned), folder, files: 0, bytes: 0 };
        return cache.find(reference, cache.root()).map(here).map_err(|error| match error.kind() {
            ErrorKind::Missing => {
                error.hint("the network is off (`--offline` or HF_HUB_OFFLINE): run the command without it to fetch the model")
            }
            _ => error,
        });
    }
    let Some(hub) = cache.hub() else {
        return Err(Error::missing("there is no folder for the hub's cache").hint("set HF_HOME to a folder"));
    };
    let locks = hub.locks(&id);
    let _turn = turn::take(&locks.join("patina.lock"), "model fetch", "fetches the same model", || job.check(), job)?;
    let client = Client::new(settings, job);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _done = WhenDropped(&done);
        start_in(scope, "look for a stop", || client.watch(&done))?;
        bring(cache, hub, reference, &id, &client, job)
    })
}

/// Sets a flag at the end of a scope, after a panic too: who waits for it would wait for ever.
struct WhenDropped<'a>(&'a AtomicBool);

impl Drop for WhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn bring(cache: &Cache, hub: &HubCache, reference: &ModelRef, id: &str, client: &Client<'_>, job: Job<'_>) -> Result<Fetched> {
    let revision = reference.revision().unwrap_or(MAIN);
    // A commit says what it is: if it is here whole, nobody need be asked.
    let mut commit = Some(revision).filter(|revision| answer::is_commit(revision)).map(str::to_owned);
    if let Some(here) = commit.as_deref().and_then(|commit| fetched_before(cache, reference, commit, job)) {
        return Ok(here);
    }
    let listing = list(client, id, revision, job)?;
    if commit.as_ref().is_some_and(|commit| *commit != listing.commit) {
        return Err(Error::corrupt(format!("the hub's answer is about another commit: it must be {revision} and is {}", listing.commit)));
    }
    let commit = commit.get_or_insert_with(|| listing.commit.clone()).clone();
    let refs = hub.repository(id).join("refs").join(revision);
    let point = || if revision == commit { Ok(()) } else { fs::write_atomic(&refs, |out| out.write_all(commit.as_bytes())) };
    let mut repository = Repository::new(client, hub, id, revision, listing, reference.pinned(), job);
    let layout = Layout::read(&mut repository)?;
    check_architecture(&mut repository, &layout)?;
    names::check(layout.files.iter().map(String::as_str))?;
    // An older Patina may have taken fewer files.
    if let Some(here) = fetched_before(cache, reference, &commit, job).filter(|here| here.folder.files() == layout.files) {
        point()?;
        let (files, bytes) = repository.fetched();
        return Ok(Fetched { files, bytes, ..here });
    }
    let kept = bring_all(&repository, &layout.files, job)?;
    repository.link(&kept)?;
    let identity = Identity::of(kept.iter().map(|kept| kept.hashed.clone()).collect());
    let record = Record {
        version: record::VERSION,
        name: reference.to_string(),
        hub_id: Some(id.to_owned()),
        revision: Some(commit.clone()),
        licence: reference.known().map(|known| known.licence.to_owned()),
        source: client.endpoint().below(id.split('/')).to_string(),
        identity: identity.sha256,
        files: identity.files,
    };
    record::write_to(&cache.hub_record(id, &commit), &record)?;
    point()?;
    let (files, bytes) = repository.fetched();
    Ok(Fetched { folder: cache.hub_model(reference, &commit)?, commit: Some(commit), files, bytes })
}

/// The model of a commit, if it was fetched whole before and nothing of it has changed.
fn fetched_before(cache: &Cache, reference: &ModelRef, commit: &str, job: Job<'_>) -> Option<Fetched> {
    let folder = cache.hub_model(reference, commit).ok()?;
    folder.record()?;
    // What was damaged since is fetched again.
    folder.identity(cache, job).ok()?;
    Some(Fetched { folder, commit: Some(commit.to_owned()), files: 0, bytes: 0 })
}

/// Refuses what no engine runs before its weights are fetched.
fn check_architecture(repository: &mut Repository<'_>, layout: &Layout) -> Result<()> {
    // A table of token vectors has none, or one that says nothing of its forward pass.
    let Some(name) = &layout.config else { return Ok(()) };
    let config = repository.read(name, MAX_CONFIG)?;
    let config: serde_json::Value = serde_json::from_slice(&config)
        .map_err(|e| Error::corrupt(format!("the model's config.json does not parse: {e}")).at(repository.path(name)).caused_by(e))?;
    match config.get("model_type").and_then(serde_json::Value::as_str) {
        Some(model_type) if !supported_architectures().any(|supported| supported == model_type) => {
            let supported: Vec<&str> = supported_architectures().collect();
            Err(Error::usage(format!("the architecture {model_type:?} (model_type) is not supported"))
                .at(repository.path(name))
                .hint(format!("supported are {}", supported.join(", "))))
        }
        _ => Ok(()),
    }
}

/// Asks the hub for a revision's commit and files.
fn list(client: &Client<'_>, id: &str, revision: &str, job: Job<'_>) -> Result<Listing> {
    let model = || ["api", "models"].into_iter().chain(id.split('/'));
    let subject = Subject { id, revision, file: None };
    let ask = |address: &address::Address| client.persist(id, || client.send(address, Ask::From(0), subject)?.read_all(answer::MAX_BYTES));
    job.progress.begin("asking the hub", None, "");
    let address = client.endpoint().below(model().chain(["revision", revision])).with_query("blobs=true");
    let bytes = ask(&address).map_err(|error| match error.kind() {
        // Not every mirror says what it is that it does not have.
        ErrorKind::Missing if revision != MAIN && ask(&client.endpoint().below(model())).is_ok() => {
            Error::missing(format!("{id} has no revision `{revision}` on {}", client.endpoint().host()))
                .hint(format!("{} lists them", client.endpoint().below(id.split('/'))))
        }
        _ => error,
    })?;
    job.progress.end("");
    Listing::parse(&bytes)
}

/// Fetches files, some at a time. The first failure ends the others, which keep what came.
fn bring_all(repository: &Repository<'_>, names: &[String], job: Job<'_>) -> Result<Vec<Kept>> {
    let wanted = names.iter().map(|name| repository.wanted(name)).collect::<Result<Vec<_>>>()?;
    job.progress.begin(
        "fetching",
        Some(wanted.iter().filter(|wanted| !repository.has_kept(&wanted.name)).map(|wanted| wanted.size).sum()),
        "B",
    );
    // The largest first, so that none is left alone at the end.
    let mut queue: Vec<_> = wanted.iter().collect();
    queue.sort_by_key(|wanted| std::cmp::Reverse(wanted.size));
    let queue = Mutex::new(VecDeque::from(queue));
    let first_error = Mutex::new(None);
    let done = Mutex::new(Vec::new());
    let fail = |error: Error| {
        first_error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        repository.client.halt();
    };
    let work = || {
        loop {
            let Some(next) = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { return };
            match repository.obtain(&next.name) {
                Ok(kept) => done.lock().unwrap_or_else(PoisonError::into_inner).push(kept),
                Err(error) => return fail(error),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WORKERS.min(names.len()) {
            if let Err(error) = start_in(scope, "fetch files", work) {
                return fail(error);
            }
        }
    });
    if let Some(error) = first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    job.progress.end("");
    let mut kept: Vec<Kept> = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    if kept.len() != names.len() {
        return Err(Error::bug("a file was left out"));
    }
    kept.sort_by(|a, b| a.hashed.path.cmp(&b.hashed.path));
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::tests::with_only;

    #[test]
    fn a_fetch_without_threads_is_an_error_before_anybody_is_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().join("cache")).with_hub(HubCache::at(folder.path().join("hub")));
        // Nobody listens there.
        let settings = HubSettings::from_variables(false, &|name| (name == "HF_ENDPOINT").then(|| "http://127.0.0.1:1".into()));
        let (reference, settings) = (ModelRef::parse("me/mine").expect("a name"), settings.expect("settings"));
        let error = with_only(0, || fetch(&cache, &reference, &settings, Job::silent())).expect_err("no thread");
        assert!(error.message().starts_with("a thread cannot be started to look for a stop: "), "{error}");
        assert!(error.hint_text().is_some());
    }
}
