//! `patina oxidize`: vectors, index, and the recipe's projections.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::bench::report::learning;
use crate::cli::fusion::{self, Record};
use crate::cli::measured::{self, Texts};
use crate::cli::pins::{self, Depth, Kept, Pinned};
use crate::cli::project::Project;
use crate::cli::projections::{self, Ground, Outcome, Sample};
use crate::cli::report::{Style, count, plural};
use crate::cli::setup::{self, Overrides, Setup};
use crate::cli::verdicts;
use crate::cli::{Context, VERSION};
use crate::embed::select::{Choice, Purpose};
use crate::embed::{Embedder, Input, Order, TextKind};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use crate::index::{Change, Index, Manifest};
use crate::progress::Job;
use crate::store::{Chunk, Store};

/// Vectors that are stored at once. What is stored survives an interruption.
const STORED_AT_ONCE: usize = 256;
/// Texts that are listed at once to be embedded: their ids and hashes are in memory, not the texts.
const PORTION: usize = 65_536;

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
    /// Write what became of the projections to this file, as one HTML page with learning curves and the gate's comparisons.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
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
    /// What was chosen for the fusion; none if the recipe says the weights.
    fusion: Option<Record>,
    /// What became of the lockfile.
    lockfile: Kept,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let project = Project::find(context.project.as_deref())?;
    if let Some(path) = arguments.report.as_ref().filter(|path| path.is_dir()) {
        return Err(Error::usage("the report is a folder").at(path).hint("name a file in it"));
    }
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

    let chunks = store.chunk_count()?;
    if chunks == 0 {
        return Err(Error::missing("there is nothing to embed: the store has no chunks")
            .at(project.database())
            .hint("run `patina scrape`; if it found nothing, look at `scrape` in the recipe"));
    }
    setup.measure(|| Texts::of_project(Some(&store)), job)?;
    let setup = setup;
    let pinned = Pinned { setup: &setup, store: Some(&store) };
    let embedded = embed_missing(&store, &setup, job)?;
    let made_from = setup.expected(&store)?;
    let content_hash = &made_from.content_hash;

    // With nothing new, neither vectors nor texts are read.
    let base = setup.embeddings.base();
    let index_is_current = Index::open(&base, &made_from).is_ok();
    let sha256 = || Manifest::read(&base).map(|manifest| manifest.sha256).unwrap_or_default();
    let before = sha256();
    let mut kept = HashMap::new();
    for plan in &setup.plan.projections {
        let inputs = projections::inputs(plan, &setup.fingerprint, &store)?;
        // A record that cannot be read is made anew.
        let outcome = Outcome::read(&setup.embeddings.verdict(&plan.name)).ok().flatten();
        if let Some(outcome) =
            outcome.filter(|outcome| projections::is_current(outcome, &inputs, &setup.embeddings, &setup.fingerprint, content_hash))
        {
            kept.insert(plan.name.clone(), outcome);
        }
    }
    let mut change = Change::Unchanged;
    let mut outcomes = Vec::new();
    if index_is_current && kept.len() == setup.plan.projections.len() {
        outcomes.extend(setup.plan.projections.iter().filter_map(|plan| kept.remove(&plan.name)));
    } else {
        let vectors = setup.vectors(&store)?;
        if !index_is_current {
            change = Index::update(&base, &made_from, &vectors, job)?.1;
        }
        let mut sample = None;
        let embed = |texts: &[String]| embed_questions(texts, &setup, job);
        for plan in &setup.plan.projections {
            if let Some(outcome) = kept.remove(&plan.name) {
                outcomes.push(outcome);
                continue;
            }
            let sample = match &sample {
                Some(sample) => sample,
                None => sample.insert(Sample::of(&store, &vectors, job)?),
            };
            let ground = Ground {
                store: &store,
                sample,
                vectors: &vectors,
                fingerprint: &setup.fingerprint,
                content_hash,
                embeddings: &setup.embeddings,
                embed: &embed,
            };
            outcomes.push(projections::make(plan, &ground, job)?);
        }
    }
    projections::forget_refused(&setup.plan.projections, &setup.embeddings)?;
    let fusion = fusion::make(&setup, &store, &fusion::Updated { change, before, after: sha256() }, job)?;
    let lockfile = match &lock {
        Some(lock) => pinned.hold_made(&project, lock, Depth::Bytes, job).map(|()| Kept::Held)?,
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
        dimensions: setup.plan.dimensions,
        runtime: setup.choice.clone(),
        threads: setup.settings.threads,
        token_budget: setup.settings.token_budget,
        precision: setup.settings.precision.name().to_owned(),
        fingerprint: setup.fingerprint.clone(),
        chunks,
        embedded,
        index: match change {
            Change::Unchanged => "up to date",
            Change::Patched { .. } => "updated",
            Change::Rebuilt => "built",
        },
        projections: outcomes,
        fusion,
        lockfile,
    };
    if let Some(path) = &arguments.report {
        let page = page(&project, &summary);
        fs::write_atomic(path, |out| out.write_all(page.as_bytes()))?;
    }
    context.report.result(&summary, |style| text(&summary, why.as_deref(), style))
}

/// The report of the run's projections.
fn page(project: &Project, summary: &Summary) -> String {
    let facts = vec![
        ("Project", project.root.file_name().map_or_else(|| ".".to_owned(), |name| name.to_string_lossy().into_owned())),
        ("Model", format!("{}, {} dimensions, {}", summary.embedding_model, summary.dimensions, summary.precision)),
        ("Runtime", format!("{}", summary.runtime.runtime)),
        ("Chunks", count(summary.chunks as u64)),
        ("Patina", VERSION.to_owned()),
    ];
    learning(&facts, &summary.projections.iter().map(Outcome::shown).collect::<Vec<_>>())
}

/// Vectors of texts that ask, all at once and in their order: the same texts give the same bytes. They are not kept: they are few, and
/// belong to no chunk.
fn embed_questions(texts: &[String], setup: &Setup, job: Job<'_>) -> Result<Vec<Vec<f32>>> {
    let mut embedder = Embedder::open(setup.settings.clone())?;
    embedder.notes().iter().for_each(|note| job.progress.note(note));
    job.progress.begin("embedding questions", Some(texts.len() as u64), "texts");
    let mut vectors = vec![Vec::new(); texts.len()];
    embedder.embed(
        texts.iter().map(|text| Ok(Input::Text(text.clone()))),
        TextKind::Query,
        Order::AsComputed,
        job,
        |number| format!("the question {:?}", texts[number]),
        |number, vector| {
            vectors[number] = vector.to_vec();
            Ok(())
        },
    )?;
    job.progress.end("");
    Ok(vectors)
}

/// Under a lockfile a damaged file is an error: mended without a word, nobody would know that it was another.
fn refuse_damaged(setup: &Setup, store: &Store) -> Result<()> {
    let index = Index::verify(&setup.embeddings.base(), &setup.expected(store)?).map(|_| ());
    let opened = |plan| projections::open(plan, &setup.embeddings, &setup.fingerprint, store, Depth::Bytes).map(|_| ());
    let projections = setup.plan.projections.iter().map(opened);
    match std::iter::once(index).chain(projections).find_map(|opened| opened.err().filter(|error| error.kind() == ErrorKind::Corrupt)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Embeds every text that has no vector yet, the same one in several places once, and stores the vectors as they come. Texts are read
/// when the embedder asks for them. Loads no model if there is none.
fn embed_missing(store: &Store, setup: &Setup, job: Job<'_>) -> Result<usize> {
    let fingerprint = &setup.fingerprint;
    let total = store.count_missing_texts(fingerprint)?;
    if total == 0 {
        return Ok(0);
    }
    let mut embedder = Embedder::open(setup.settings.clone())?;
    embedder.notes().iter().for_each(|note| job.progress.note(note));
    job.progress.begin("embedding", Some(total), "chunks");
    let mut embedded = 0;
    let mut after = None;
    loop {
        let portion = store.missing_texts(fingerprint, after.as_ref(), PORTION)?;
        let Some((_, last)) = portion.last() else { break };
        after = Some(*last);
        let mut waiting: Vec<([u8; 32], Vec<f32>)> = Vec::with_capacity(STORED_AT_ONCE);
        let result = embedder.embed(
            portion.iter().map(|(id, _)| chunk(store, *id).map(|chunk| Input::Text(chunk.embed_text()))),
            TextKind::Document,
            Order::AsComputed,
            job,
            |number| chunk(store, portion[number].0).map_or_else(|_| "a chunk".to_owned(), |chunk| name(&chunk)),
            |number, vector| {
                waiting.push((portion[number].1, vector.to_vec()));
                if waiting.len() == STORED_AT_ONCE { keep(store, fingerprint, &mut waiting) } else { Ok(()) }
            },
        );
        // What was finished before an error or a stop is kept too.
        let kept = keep(store, fingerprint, &mut waiting);
        result.and(kept)?;
        embedded += portion.len();
    }
    job.progress.end("");
    Ok(embedded)
}

fn chunk(store: &Store, id: u64) -> Result<Chunk> {
    let found = store.chunks_by_id(&[id])?.pop();
    found.ok_or_else(|| Error::bug(format!("the chunk {id} is gone while the project is locked")))
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
    if let Some(record) = &summary.fusion {
        out += &fusion::text(record, style);
    }
    if summary.lockfile == Kept::Written {
        out += "lockfile written: .patina/oxidize.lock\n";
    }
    out
}
