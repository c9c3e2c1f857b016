//! `patina oxidize`: vectors, index, and the recipe's projections.

use std::collections::HashMap;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::measured::{self, Texts};
use crate::cli::pins::{self, Depth, Kept, Pinned};
use crate::cli::project::Project;
use crate::cli::projections::{self, Ground, Outcome};
use crate::cli::report::{Style, plural};
use crate::cli::setup::{self, Overrides, Setup};
use crate::cli::verdicts;
use crate::embed::select::{Choice, Purpose};
use crate::embed::{Embedder, Input, Order, TextKind};
use crate::error::{Error, ErrorKind, Result};
use crate::index::{Change, Expected, Index};
use crate::progress::Job;
use crate::store::{Chunk, Store};

/// Vectors that are stored at once. What is stored survives an interruption.
const STORED_AT_ONCE: usize = 256;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The runtime, in place of the recipe's: auto, onnx, mlx or measured.
    #[arg(long, value_name = "R")]
    runtime: Option<String>,
    /// Threads that compute one batch.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Tokens of one batch, padding included; 1024 if left out.
    #[arg(long, value_name = "N")]
    token_budget: Option<usize>,
    /// Fail unless everything is what .patina/oxidize.lock pins: before anything is made, and again when it is.
    #[arg(long)]
    locked: bool,
}

/// What a run did.
#[derive(Debug, Serialize)]
struct Summary {
    embedding_model: String,
    dimensions: usize,
    runtime: Choice,
    threads: usize,
    token_budget: usize,
    precision: String,
    fingerprint: String,
    chunks: usize,
    embedded: usize,
    index: &'static str,
    projections: Vec<Outcome>,
    /// What became of the lockfile.
    lockfile: Kept,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let project = Project::find(context.project.as_deref())?;
    let progress = context.report.progress();
    let job = Job::new(progress.as_ref(), &context.cancel);
    let lock = arguments.locked.then(|| pins::locked(&project, Depth::Bytes, job)).transpose()?;
    let overrides = Overrides {
        runtime: arguments.runtime,
        threads: arguments.threads,
        token_budget: arguments.token_budget,
        pinned: lock.as_ref().map(|lock| lock.runtime.name.clone()),
        ..Overrides::default()
    };
    let mut setup = setup::for_project(&project, &overrides, Purpose::Bulk)?;
    let _held = project.lock("oxidize")?;
    let store = Store::open_existing(&project.database())?;
    if let Some(lock) = &lock {
        let pinned = Pinned { setup: &setup, store: Some(&store) };
        pinned.hold_inputs(&project, lock, Depth::Stamps, job)?;
        refuse_damaged(&setup, &store)?;
    }
    setup.embeddings.sweep();

    let keys = store.chunk_keys()?;
    if keys.is_empty() {
        return Err(Error::missing("there is nothing to embed: the store has no chunks")
            .at(project.database())
            .hint("run `patina scrape`; if it found nothing, look at `scrape` in the recipe"));
    }
    setup.measure(|| Texts::of_project(Some(&store)), job)?;
    let setup = setup;
    let pinned = Pinned { setup: &setup, store: Some(&store) };
    let embedded = embed_missing(&store, &setup, job)?;
    let content_hash = store.content_hash()?;
    let dimensions = setup.plan.dimensions;
    let made_from =
        Expected { fingerprint: setup.fingerprint.clone(), dimensions, content_hash: content_hash.clone(), projection_sha256: None };

    // With nothing new, neither vectors nor texts are read.
    let base = setup.embeddings.base();
    let index_is_current = Index::open(&base, &made_from).is_ok();
    let mut kept = HashMap::new();
    for plan in &setup.plan.projections {
        let inputs = projections::inputs(plan, &setup.fingerprint, &store)?;
        // A record that cannot be read is made anew.
        let outcome = Outcome::read(&setup.embeddings.verdict(&plan.name)).ok().flatten();
        if let Some(outcome) =
            outcome.filter(|outcome| projections::is_current(outcome, &inputs, &setup.embeddings, &setup.fingerprint, &content_hash))
        {
            kept.insert(plan.name.clone(), outcome);
        }
    }
    let mut index = "up to date";
    let mut outcomes = Vec::new();
    if index_is_current && kept.len() == setup.plan.projections.len() {
        outcomes.extend(setup.plan.projections.iter().filter_map(|plan| kept.remove(&plan.name)));
    } else {
        let vectors = store.vectors(&setup.fingerprint, dimensions)?;
        if vectors.len() != keys.len() {
            return Err(Error::bug(format!("{} of {} chunks have a vector", vectors.len(), keys.len())));
        }
        if !index_is_current {
            let items: Vec<(u64, &[f32])> = vectors.iter().map(|(id, vector)| (*id, vector.as_slice())).collect();
            index = match Index::update(&base, &made_from, &items, job)?.1 {
                Change::Unchanged => "up to date",
                Change::Patched { .. } => "updated",
                Change::Rebuilt => "built",
            };
        }
        let chunks = store.chunks()?;
        let ground = Ground {
            store: &store,
            chunks: &chunks,
            vectors: &vectors,
            fingerprint: &setup.fingerprint,
            content_hash: &content_hash,
            embeddings: &setup.embeddings,
        };
        for plan in &setup.plan.projections {
            outcomes.push(match kept.remove(&plan.name) {
                Some(outcome) => outcome,
                None => projections::make(plan, &ground, job)?,
            });
        }
    }
    let lockfile = match &lock {
        Some(lock) => pinned.hold_made(&project, lock, job).map(|()| Kept::Held)?,
        None => match pinned.keep_or_write(&project, job) {
            // What was made before does not need the runtime, and is no worse without a lockfile.
            Err(error) if error.kind() == ErrorKind::Missing => {
                context.report.note(&format!("the lockfile was not written: {error}"));
                Kept::Unwritten
            }
            kept => kept?,
        },
    };
    let why = setup.measuring.is_some().then(|| measured::told(&setup.choice, &setup.settings));
    let summary = Summary {
        embedding_model: setup.plan.embedding_model.clone(),
        dimensions,
        runtime: setup.choice.clone(),
        threads: setup.settings.threads,
        token_budget: setup.settings.token_budget,
        precision: setup.settings.precision.name().to_owned(),
        fingerprint: setup.fingerprint.clone(),
        chunks: keys.len(),
        embedded,
        index,
        projections: outcomes,
        lockfile,
    };
    context.report.result(&summary, |style| text(&summary, why.as_deref(), style))
}

/// Under a lockfile a damaged file is an error: mended without a word, nobody would know that it was another.
fn refuse_damaged(setup: &Setup, store: &Store) -> Result<()> {
    let expected = Expected {
        fingerprint: setup.fingerprint.clone(),
        dimensions: setup.plan.dimensions,
        content_hash: store.content_hash()?,
        projection_sha256: None,
    };
    let index = Index::open(&setup.embeddings.base(), &expected).map(|_| ());
    let projections =
        setup.plan.projections.iter().map(|plan| projections::open(plan, &setup.embeddings, &setup.fingerprint, store).map(|_| ()));
    match std::iter::once(index).chain(projections).find_map(|opened| opened.err().filter(|error| error.kind() == ErrorKind::Corrupt)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Embeds every chunk that has no vector yet, and stores the vectors as they come. Loads no model if there is none.
fn embed_missing(store: &Store, setup: &Setup, job: Job<'_>) -> Result<usize> {
    let missing = store.missing_vectors(&setup.fingerprint)?;
    if missing.is_empty() {
        return Ok(0);
    }
    let mut chunks = store.chunks_by_id(&missing)?;
    // The same text in several places is embedded once.
    let mut seen = std::collections::HashSet::new();
    chunks.retain(|chunk| seen.insert(chunk.text_hash()));
    let mut embedder = Embedder::open(setup.settings.clone())?;
    job.progress.begin("embedding", Some(chunks.len() as u64), "chunks");
    let mut waiting: Vec<([u8; 32], Vec<f32>)> = Vec::with_capacity(STORED_AT_ONCE);
    let result = embedder.embed(
        chunks.iter().map(|chunk| Ok(Input::Text(chunk.embed_text()))),
        TextKind::Document,
        Order::AsComputed,
        job,
        |number| name(&chunks[number]),
        |number, vector| {
            waiting.push((chunks[number].text_hash(), vector.to_vec()));
            if waiting.len() == STORED_AT_ONCE { keep(store, &setup.fingerprint, &mut waiting) } else { Ok(()) }
        },
    );
    // What was finished before an error or a stop is kept too.
    let kept = keep(store, &setup.fingerprint, &mut waiting);
    result.and(kept)?;
    job.progress.end("");
    Ok(chunks.len())
}

fn keep(store: &Store, fingerprint: &str, waiting: &mut Vec<([u8; 32], Vec<f32>)>) -> Result<()> {
    let rows: Vec<([u8; 32], &[f32])> = waiting.iter().map(|(hash, vector)| (*hash, vector.as_slice())).collect();
    if !rows.is_empty() {
        store.put_vectors(fingerprint, &rows)?;
    }
    waiting.clear();
    Ok(())
}

fn name(chunk: &Chunk) -> String {
    match chunk.line {
        0 => format!("{} {}", chunk.kind.name(), chunk.path),
        line => format!("{}:{line}", chunk.path),
    }
}

fn text(summary: &Summary, why: Option<&str>, style: &Style) -> String {
    let mut out = format!(
        "{} on {} ({}), {} dimensions\n",
        style.bold(&summary.embedding_model),
        summary.runtime.runtime,
        summary.precision,
        summary.dimensions
    );
    if let Some(why) = why {
        out += &format!("{why}\n");
    }
    out += &match summary.embedded {
        0 => format!("{}, none new\n", plural(summary.chunks, "chunk")),
        new => format!("{}, {} embedded\n", plural(summary.chunks, "chunk"), plural(new, "text")),
    };
    out += &format!("index {}\n", summary.index);
    for outcome in &summary.projections {
        out += &verdicts::text(outcome, style);
    }
    if summary.lockfile == Kept::Written {
        out += "lockfile written: .patina/oxidize.lock\n";
    }
    out
}
