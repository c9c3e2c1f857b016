//! Questions that people wrote and judged: a file of JSON, `{"name": ..., "queries": [{"id": ..., "query": ..., "relevant_docs": [...]}]}`.
//!
//! A relevant document is a file of the project by its path, a place in one (`path:line`, `path#heading`), or a commit by its hash (seven
//! digits or more). Whatever is wrong with the file is an error with its place; nothing is measured then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::{Query, Set, Unit};
use crate::error::{Error, Result};
use crate::fs;
use crate::recipe::suggest;
use crate::store::{Chunk, Store};

/// A file of labels of more bytes is not read.
pub const MAX_BYTES: u64 = 16 << 20;
/// The most questions of a file.
pub const MAX_QUERIES: usize = 10_000;
/// The most documents that one question may have.
pub const MAX_RELEVANT: usize = 1000;
/// The fewest digits of a commit's hash.
const MIN_HASH: usize = 7;
/// Labels that point nowhere are named up to so many.
const SHOWN: usize = 5;

const FORM: &str =
    "expected {\"name\": \"...\", \"queries\": [{\"id\": \"...\", \"query\": \"...\", \"relevant_docs\": [\"path\", ...]}, ...]}";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed {
    name: String,
    queries: Vec<TypedQuery>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedQuery {
    id: String,
    query: String,
    relevant_docs: Vec<String>,
}

/// A file of labels whose form is right; what it points at was not looked for yet.
pub struct Labels {
    typed: Typed,
}

impl Labels {
    /// Reads and checks everything that needs no project.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) for a wrong form, empty lists and texts, and ids that stand twice.
    pub fn read(path: &Path) -> Result<Labels> {
        if !path.exists() {
            return Err(Error::missing("there is no file here; questions and their answers were expected").at(path).hint(FORM));
        }
        let bytes = fs::read_limited(path, MAX_BYTES)?;
        let typed: Typed = serde_json::from_slice(&bytes).map_err(|e| {
            Error::usage(format!("the labels do not have the form that is expected: {}", told(&e)))
                .at_line(path, e.line().max(1), e.column().max(1))
                .hint(FORM)
        })?;
        match fault(&typed) {
            Some(fault) => Err(Error::usage(fault).at(path).hint(FORM)),
            None => Ok(Labels { typed }),
        }
    }

    /// Looks for everything that the labels point at.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) if a label points nowhere.
    pub fn resolve(self, path: &Path, store: &Store) -> Result<Set> {
        let mut found = Targets::new(store)?;
        let mut nowhere = Vec::new();
        let mut queries = Vec::with_capacity(self.typed.queries.len());
        for (number, typed) in (1..).zip(self.typed.queries) {
            let mut query = Query {
                group: typed.id.clone(),
                id: typed.id,
                text: typed.query,
                relevant: BTreeSet::new(),
                without: BTreeSet::new(),
                places: BTreeMap::new(),
            };
            for label in &typed.relevant_docs {
                let added = match found.target(label)? {
                    Some(target) => target.add_to(&mut query),
                    None => {
                        nowhere.push(format!("query {number} ({:?}): {label:?}", query.id));
                        continue;
                    }
                };
                if let Err(why) = added {
                    return Err(Error::usage(format!("query {number} ({:?}): {label:?} {why}", query.id))
                        .at(path)
                        .hint("a label is a whole file or a place in one, and says what no other label says"));
                }
            }
            queries.push(query);
        }
        if !nowhere.is_empty() {
            let more = nowhere.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            let first = nowhere.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
            return Err(Error::usage(format!("labels that point nowhere: {first}{more}")).at(path).hint(found.hint()));
        }
        let about = "questions and judgements written by hand".to_owned();
        Ok(Set { name: self.typed.name, about, queries, kinds: Vec::new(), unit: Unit::File, left_out: Vec::new(), notes: Vec::new() })
    }
}

/// What serde says, without the place, which stands before it.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| what.to_owned())
}

/// What no file of labels may have.
fn fault(typed: &Typed) -> Option<String> {
    if typed.name.trim().is_empty() {
        return Some("`name` is empty".into());
    }
    if typed.queries.is_empty() {
        return Some("`queries` is empty".into());
    }
    if typed.queries.len() > MAX_QUERIES {
        return Some(format!("there are {} queries; at most {MAX_QUERIES} are taken", typed.queries.len()));
    }
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, query) in (1..).zip(&typed.queries) {
        let name = format!("query {number} ({:?})", query.id);
        if query.id.trim().is_empty() {
            return Some(format!("query {number}: `id` is empty"));
        }
        if let Some(first) = ids.insert(&query.id, number) {
            return Some(format!("{name}: query {first} has the same id"));
        }
        if query.query.trim().is_empty() {
            return Some(format!("{name}: `query` is empty"));
        }
        if query.relevant_docs.is_empty() {
            return Some(format!("{name}: `relevant_docs` is empty, so that nothing could be found"));
        }
        if query.relevant_docs.len() > MAX_RELEVANT {
            return Some(format!("{name}: {} relevant documents; at most {MAX_RELEVANT} are taken", query.relevant_docs.len()));
        }
        let mut labels = BTreeSet::new();
        if let Some(twice) = query.relevant_docs.iter().find(|label| !labels.insert(label.as_str())) {
            return Some(format!("{name}: {twice:?} stands twice"));
        }
    }
    None
}

/// What a label points at.
enum Target {
    File(String),
    Place { label: String, path: String, chunks: Vec<u64> },
}

impl Target {
    /// The error is why the query cannot have it.
    fn add_to(self, query: &mut Query) -> Result<(), &'static str> {
        match self {
            Target::File(path) if query.places.values().any(|place| is_in(place, &path)) => {
                Err("is a file that another label has a place in")
            }
            Target::File(path) => match query.relevant.insert(path) {
                true => Ok(()),
                false => Err("is what another label says already"),
            },
            Target::Place { path, .. } if query.relevant.contains(&path) => Err("is a place in a file that is there as a whole"),
            Target::Place { label, chunks, .. } => {
                if chunks.iter().any(|id| query.places.contains_key(id)) {
                    return Err("is in the same piece of the file as another label");
                }
                query.places.extend(chunks.into_iter().map(|id| (id, label.clone())));
                query.relevant.insert(label);
                Ok(())
            }
        }
    }
}

/// Whether a label of a place is one in this file.
fn is_in(place: &str, path: &str) -> bool {
    let place = place.strip_prefix("./").unwrap_or(place);
    place.strip_prefix(path).is_some_and(|rest| rest.starts_with([':', '#']))
}

/// Where labels may point.
struct Targets<'a> {
    store: &'a Store,
    files: BTreeSet<String>,
    commits: BTreeSet<String>,
    /// Of the last label that pointed nowhere.
    near: Option<String>,
}

impl<'a> Targets<'a> {
    fn new(store: &'a Store) -> Result<Targets<'a>> {
        let keys = |prefix: &str| -> Result<BTreeSet<String>> {
            Ok(store.known(prefix)?.into_keys().filter_map(|key| key.strip_prefix(prefix).map(str::to_owned)).collect())
        };
        Ok(Targets { store, files: keys("file:")?, commits: keys("commit:")?, near: None })
    }

    fn target(&mut self, label: &str) -> Result<Option<Target>> {
        let path = label.strip_prefix("./").unwrap_or(label);
        if self.files.contains(path) {
            return Ok(Some(Target::File(path.to_owned())));
        }
        if let Some(hash) = self.commit(path) {
            return Ok(Some(Target::File(hash)));
        }
        if let Some((path, line)) = path.rsplit_once(':')
            && let Ok(line) = line.parse::<u32>()
            && self.files.contains(path)
        {
            return self.place(label, path, |chunk| (chunk.line..=chunk.end_line).contains(&line));
        }
        if let Some((path, heading)) = path.split_once('#')
            && self.files.contains(path)
        {
            let heading = heading.trim().to_lowercase();
            return self.place(label, path, |chunk| {
                let title = chunk.title.to_lowercase();
                title == heading || title.split(" > ").any(|part| part.trim() == heading)
            });
        }
        let before_place = path.split(['#', ':']).next().unwrap_or(path);
        self.near = suggest::closest(before_place, self.files.iter().map(String::as_str)).map(str::to_owned).or(self.near.take());
        Ok(None)
    }

    fn commit(&self, label: &str) -> Option<String> {
        if label.len() < MIN_HASH || !label.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let label = label.to_lowercase();
        let mut with = self.commits.range(label.clone()..).take_while(|hash| hash.starts_with(&label));
        let first = with.next()?;
        with.next().is_none().then(|| first.clone())
    }

    fn place(&self, label: &str, path: &str, is_there: impl Fn(&Chunk) -> bool) -> Result<Option<Target>> {
        let chunks: Vec<u64> =
            self.store.chunks_of_source(&format!("file:{path}"))?.iter().filter(|chunk| is_there(chunk)).map(|chunk| chunk.id).collect();
        if chunks.is_empty() {
            return Ok(None);
        }
        Ok(Some(Target::Place { label: label.to_owned(), path: path.to_owned(), chunks }))
    }

    fn hint(&self) -> String {
        let forms =
            "labels are paths relative to the project (`docs/DESIGN.md`, `src/main.rs:12`, `docs/DESIGN.md#Search`) or hashes of commits";
        match &self.near {
            Some(near) => format!("did you mean `{near}`? {forms}; `patina scrape` reads what is new"),
            None => format!("{forms}; `patina scrape` reads what is new"),
        }
    }
}
