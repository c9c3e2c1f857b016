//! What each retriever counts in this project's search: what the recipe says, else what `oxidize` chose, else the usual.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cli::pins::Depth;
use crate::cli::projections::{self, Outcome};
use crate::cli::report::{Style, count};
use crate::cli::setup::Setup;
use crate::embed::Embedder;
use crate::error::{Error, Result};
use crate::eval::project::choice::{self, Choice};
use crate::eval::project::{self, Joined, Projected, Searched, Set, history, sentences};
use crate::fs;
use crate::index::{Change, Index};
use crate::metrics::Interval;
use crate::progress::Job;
use crate::recipe::ProjectionPlan;
use crate::recipe::lock::FusionPins;
use crate::search::fusion::By;
use crate::search::{Exact, VectorIndex, Weights};
use crate::store::Store;

/// Bytes of a record that are read.
const RECORD_LIMIT: u64 = 1 << 20;

/// What was chosen, kept beside the index.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Of what the choice rests on beside the project's texts: another choice is made where it differs.
    pub inputs: String,
    /// Of the project that it was made or kept for.
    #[serde(default)]
    pub structure: String,
    /// Chunks of that project.
    #[serde(default)]
    pub chunks: usize,
    /// Chunks that came or went since it was made.
    #[serde(default)]
    pub changed: usize,
    /// The SHA-256 of the index that it was made or kept with: an update of it that did not come here is seen by that.
    #[serde(default)]
    pub index: String,
    /// The projection that joined the search; the choice holds for it alone.
    pub projection: Option<String>,
    /// What was chosen.
    #[serde(flatten)]
    pub choice: Choice,
}

/// Once more than one of so many chunks came or went, weights are chosen anew: it takes some hundred searches, and a file that changed should
/// cost what its own chunks cost.
const ANEW_SHARE: usize = 10;

impl Record {
    /// Whether it was made or kept for this.
    fn is_of(&self, setup: &Setup, store: &Store) -> Result<bool> {
        Ok(self.inputs == inputs(setup)? && self.structure == store.structure_hash()?)
    }

    /// Keeps it for a project in which little changed. A choice that no question judged is made anew, which costs nothing.
    fn kept(mut self, structure: &str, chunks: usize, updated: &Updated) -> Option<Record> {
        let changed = match updated.change {
            Change::Unchanged => 0,
            Change::Patched { added, removed } => added + removed,
            Change::Rebuilt => return None,
        };
        // A run that was interrupted after it updated the index told nobody what it changed.
        if self.index != updated.before {
            return None;
        }
        self.changed += changed;
        (self.choice.figures.is_some() && self.changed * ANEW_SHARE <= chunks).then(|| {
            self.structure = structure.to_owned();
            self.chunks = chunks;
            self.index = updated.after.clone();
            self
        })
    }

    /// What is kept, if anything is.
    pub fn read(path: &Path) -> Result<Option<Record>> {
        let bytes = match fs::read_limited(path, RECORD_LIMIT) {
            Ok(bytes) => bytes,
            Err(_) if !path.exists() => return Ok(None),
            Err(e) => return Err(e),
        };
        let record: Record = serde_json::from_slice(&bytes)
            .map_err(|e| Error::corrupt(format!("the record of the fusion does not parse: {e}")).at(path).hint("run `patina oxidize`"))?;
        let Weights { lexical, vector, projection, by } = record.choice.weights;
        let k = match by {
            By::Ranks { k } => k,
            By::Scores => 0.0,
        };
        match [lexical, vector, projection, k].iter().all(|number| number.is_finite() && *number >= 0.0) && lexical + vector > 0.0 {
            true => Ok(Some(record)),
            false => Err(Error::corrupt("the record of the fusion has weights that weigh nothing").at(path).hint("run `patina oxidize`")),
        }
    }
}

/// What a run did to the index of the model's own vectors.
pub(super) struct Updated {
    pub change: Change,
    /// The SHA-256 of the index before it, nothing if there was none.
    pub before: String,
    /// The SHA-256 of the index now.
    pub after: String,
}

/// The weights that the recipe says itself.
pub(super) fn explicit(setup: &Setup) -> Option<Weights> {
    Weights::of_recipe(&setup.plan.fusion)
}

/// What search uses with the projection of this name, or without any; `None` for the usual weights. A record that cannot be read, or is of
/// another state, promises nothing.
pub(super) fn weights(setup: &Setup, store: &Store, joined: Option<&str>) -> Result<Option<Weights>> {
    if let Some(weights) = explicit(setup) {
        return Ok(Some(weights));
    }
    let Ok(Some(record)) = Record::read(&setup.embeddings.fusion()) else { return Ok(None) };
    let holds = record.choice.chosen && record.projection.as_deref() == joined && record.is_of(setup, store)?;
    Ok(holds.then_some(record.choice.weights))
}

/// The hash of everything that a choice depends on, but for the project's texts.
fn inputs(setup: &Setup) -> Result<String> {
    let joined = joined(setup)?;
    let projection = joined.map(|(plan, sha256)| format!("{} {sha256}", plan.name)).unwrap_or_default();
    Ok(fs::sha256(format!("{}\n{}\n{projection}", choice::VERSION, setup.fingerprint).as_bytes()))
}

/// The projection that joins hybrid search, and the hash of its file.
fn joined(setup: &Setup) -> Result<Option<(&ProjectionPlan, String)>> {
    let Some(plan) = projections::best_published(setup) else { return Ok(None) };
    let outcome = Outcome::read(&setup.embeddings.verdict(&plan.name))?;
    Ok(outcome.and_then(|outcome| outcome.sha256).map(|sha256| (plan, sha256)))
}

/// Chooses, unless the recipe says the weights, or they were chosen before and little changed since. Needs the indexes as they are to be searched.
pub(super) fn make(setup: &Setup, store: &Store, updated: &Updated, job: Job<'_>) -> Result<Option<Record>> {
    let path = setup.embeddings.fusion();
    if explicit(setup).is_some() {
        fs::remove_file(&path)?;
        return Ok(None);
    }
    let (inputs, structure, chunks) = (inputs(setup)?, store.structure_hash()?, store.chunk_count()?);
    let old = Record::read(&path).ok().flatten().filter(|record| record.inputs == inputs);
    if let Some(record) = &old
        && record.structure == structure
    {
        return Ok(old);
    }
    let record = match old.and_then(|record| record.kept(&structure, chunks, updated)) {
        Some(record) => record,
        None => {
            let (choice, projection) = chosen(setup, store, job)?;
            Record { inputs, structure, chunks, changed: 0, index: updated.after.clone(), projection, choice }
        }
    };
    let json = serde_json::to_vec_pretty(&record).map_err(|e| Error::bug(format!("the choice has no JSON form: {e}")))?;
    fs::write_atomic(&path, |out| out.write_all(&json))?;
    Ok(Some(record))
}

/// Whether the record is of what is here now.
pub(super) fn is_current(setup: &Setup, store: &Store) -> Result<bool> {
    if explicit(setup).is_some() {
        return Ok(!setup.embeddings.fusion().exists());
    }
    let Ok(Some(record)) = Record::read(&setup.embeddings.fusion()) else { return Ok(false) };
    record.is_of(setup, store)
}

/// What a lockfile tells of the choice; nothing if there is none of what is here now.
pub(super) fn pins(setup: &Setup, store: &Store) -> Result<Option<FusionPins>> {
    let Ok(Some(record)) = Record::read(&setup.embeddings.fusion()) else { return Ok(None) };
    if explicit(setup).is_some() || !record.is_of(setup, store)? {
        return Ok(None);
    }
    let Choice { weights, chosen, judging, figures, .. } = &record.choice;
    Ok(Some(FusionPins {
        chosen: *chosen,
        lexical: weights.lexical,
        vector: weights.vector,
        projection: weights.projection,
        queries: judging.queries,
        gain: figures.map(|figures| [figures.gain.mean, figures.gain.low, figures.gain.high]),
    }))
}

/// The questions of the project that choose and judge: none for what the projection was trained on.
fn sets(store: &Store, joined: Option<&ProjectionPlan>) -> Result<Vec<Set>> {
    let trained = match joined {
        Some(plan) => projections::trained_on(plan, store, true)?,
        None => BTreeSet::new(),
    };
    Ok(vec![history::commits(store, &trained, choice::LIMIT)?, sentences::sentences(store, &trained, choice::LIMIT)?])
}

fn chosen(setup: &Setup, store: &Store, job: Job<'_>) -> Result<(Choice, Option<String>)> {
    let joined = joined(setup)?.map(|(plan, _)| plan);
    let name = joined.map(|plan| plan.name.clone());
    let sets = sets(store, joined)?;
    // Too few questions need no model.
    if let Some(mut kept) = choice::kept(&sets, joined.is_some()) {
        if joined.is_some() {
            kept.reason += "; files, sessions and commits that the projection was trained on do not ask";
        }
        return Ok((kept, name));
    }
    let base = Index::open(&setup.embeddings.base(), &setup.expected(store)?)?;
    let vectors = setup.vectors(store)?;
    let base = Exact { index: &base, vectors: &vectors };
    let opened = joined.map(|plan| projections::open(plan, &setup.embeddings, &setup.fingerprint, store, Depth::Stamps)).transpose()?;
    let projections = match (joined, &opened) {
        (Some(plan), Some((projection, index))) => {
            // A projection of questions alone has no index: its questions are asked of raw documents.
            let index = index.as_ref().map_or(&base as &dyn VectorIndex, |index| index as &dyn VectorIndex);
            vec![Projected { name: plan.name.clone(), note: String::new(), projection, index }]
        }
        _ => Vec::new(),
    };
    let fused = Joined { projection: (!projections.is_empty()).then_some(0), weights: None };
    let searched = Searched { store, base: &base, projections, joined: fused };
    let mut embedder = Embedder::open(setup.settings.clone())?;
    embedder.notes().iter().for_each(|note| job.progress.note(note));
    let mut asked = BTreeMap::new();
    for set in &sets {
        let vectors = project::embed(set, &mut embedder, job)?;
        asked.insert(set.name.clone(), choice::ask(&searched, set, &vectors, job)?);
    }
    Ok((choice::choose(&asked, joined.is_some(), job)?, name))
}

/// The choice with its figures.
pub(super) fn text(record: &Record, style: &Style) -> String {
    let Choice { weights, chosen, reason, choosing, judging, figures, .. } = &record.choice;
    let with = record.projection.is_some();
    let told = weights.told(with);
    let mut out = format!("fusion {}\n  {reason}\n", if *chosen { style.good(&told) } else { told });
    if record.changed > 0 {
        out += &format!(
            "  of an earlier state: {} came or went since, of {} chunks\n",
            count(record.changed as u64),
            count(record.chunks as u64)
        );
    }
    if let Some(figures) = figures {
        let kinds: Vec<String> = record.choice.questions.iter().map(|(kind, n)| format!("{} {kind}", count(*n as u64))).collect();
        out += &format!(
            "  {} questions chose, {} others judged ({}); nDCG@10 there, with 95 % intervals:\n",
            count(choosing.queries as u64),
            count(judging.queries as u64),
            kinds.join(", ")
        );
        let row = |name: &str, of: &Interval| format!("  {name:<28} {:.4} ({:.4} to {:.4})\n", of.mean, of.low, of.high);
        out += &row("words alone", &figures.lexical);
        out += &row("vectors alone", &figures.vector);
        out += &row("usual weights", &figures.usual);
        if let Some(best) = record.choice.best.filter(|best| *best != Weights::usual(with)) {
            out += &row(&best.told(with), &figures.best);
            let gain = figures.gain;
            out += &format!("  {:<28} {:+.4} ({:+.4} to {:+.4})\n", "gain over the usual", gain.mean, gain.low, gain.high);
        }
    }
    out
}
