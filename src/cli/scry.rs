//! `patina scry`: a question, and the places of the project that answer it.

mod relations;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::fusion;
use crate::cli::pins::{self, Depth, Pinned};
use crate::cli::project::Project;
use crate::cli::projections;
use crate::cli::report::Style;
use crate::cli::setup::{self, Overrides, Setup};
use crate::embed::Embedder;
use crate::embed::select::Purpose;
use crate::error::{Error, ErrorKind, Result};
use crate::index::Index;
use crate::progress::Job;
use crate::recipe::lock::Lock;
use crate::search::{Exact, Hit, MAX_LIMIT, Mode, Options, VectorIndex, Weights, search};
use crate::store::{Kind, Store};
use crate::train::Projection;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The question, in plain words.
    #[arg(required_unless_present_any = ["file", "callers", "callees"], num_args = 1.., value_name = "QUESTION")]
    question: Vec<String>,
    #[command(flatten)]
    relations: relations::Arguments,
    /// With --callers and --callees: how many calls away.
    #[arg(long, default_value_t = 1, value_name = "N")]
    depth: usize,
    /// How to search: hybrid (words and vectors fused), vector, or lexical (words only; needs no model).
    #[arg(long, default_value = "hybrid", value_name = "MODE")]
    mode: String,
    /// Search with this projection; published ones join hybrid search by themselves.
    #[arg(long, value_name = "NAME")]
    projection: Option<String>,
    /// The most results.
    #[arg(short = 'n', long, default_value_t = 10, value_name = "N")]
    limit: usize,
    /// Only results of these kinds: session, commit, document, code.
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    kind: Vec<String>,
    /// Say of each result how every retriever ranked and scored it.
    #[arg(long)]
    explain: bool,
    /// The runtime, in place of the recipe's: auto, onnx, mlx or measured.
    #[arg(long, value_name = "R")]
    runtime: Option<String>,
    /// Fail unless everything is what .patina/oxidize.lock pins.
    #[arg(long)]
    locked: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    question: &'a str,
    mode: Mode,
    projection: Option<&'a str>,
    /// What each retriever counted; with --explain in hybrid mode only.
    #[serde(skip_serializing_if = "Option::is_none")]
    fusion: Option<Weights>,
    hits: &'a [Hit],
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<()> {
    if arguments.relations.is_asked() {
        if !arguments.question.is_empty() {
            return Err(Error::usage("--file, --callers and --callees stand in place of a question").hint("leave one of the two out"));
        }
        return relations::run(context, &arguments.relations, arguments.limit, arguments.depth);
    }
    let question = arguments.question.join(" ");
    let mut options = options(&arguments)?;
    let project = Project::find(context.project.as_deref())?;
    let store = Store::open_existing(&project.database())?;
    let (projection, hits) = match options.mode {
        Mode::Lexical => {
            if let Some(lock) = locked(&project, &arguments)? {
                let pinned = Some(lock.runtime.name.clone());
                let overrides = Overrides { runtime: arguments.runtime.clone(), pinned, ..Overrides::default() };
                hold(&project, &setup::for_project(&project, &overrides, Purpose::Query)?, &store, &lock)?;
            }
            (None, search(&store, None, None, &question, &options)?)
        }
        _ => with_vectors(context, &project, &store, &arguments, &question, &mut options)?,
    };
    let fusion = (options.explain && options.mode == Mode::Hybrid).then(|| options.weights.unwrap_or(Weights::usual(projection.is_some())));
    let answer = Answer { question: &question, mode: options.mode, projection: projection.as_deref(), fusion, hits: &hits };
    let told = fusion.map(|weights| {
        let origin = if options.weights.is_some() { "" } else { ", the usual" };
        format!("fusion: {}{origin}", weights.told(projection.is_some()))
    });
    context.report.result(&answer, |style| text(&hits, &options, told.as_deref(), style))
}

fn options(arguments: &Arguments) -> Result<Options> {
    let mode = Mode::parse(&arguments.mode).ok_or_else(|| {
        let modes: Vec<&str> = Mode::ALL.iter().map(|mode| mode.name()).collect();
        Error::usage(format!("--mode is {:?}, which is no mode", arguments.mode)).hint(format!("modes are {}", modes.join(", ")))
    })?;
    let kind = |name: &String| {
        Kind::parse(name).ok_or_else(|| {
            let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
            Error::usage(format!("--kind is {name:?}, which is no kind")).hint(format!("kinds are {}", kinds.join(", ")))
        })
    };
    if arguments.limit == 0 || arguments.limit > MAX_LIMIT {
        return Err(Error::usage(format!("--limit is {}; it must be 1 to {MAX_LIMIT}", arguments.limit)));
    }
    if arguments.projection.is_some() && mode == Mode::Lexical {
        return Err(Error::usage("lexical search uses no projection").hint("leave out --projection, or --mode lexical"));
    }
    let kinds = arguments.kind.iter().map(kind).collect::<Result<_>>()?;
    Ok(Options { mode, limit: arguments.limit, kinds, explain: arguments.explain, ..Options::default() })
}

/// Search that needs the question's vector. The indexes are checked before the model is loaded: a stale one is refused at once.
fn with_vectors(
    context: &Context,
    project: &Project,
    store: &Store,
    arguments: &Arguments,
    question: &str,
    options: &mut Options,
) -> Result<(Option<String>, Vec<Hit>)> {
    let lock = locked(project, arguments)?;
    let pinned = lock.as_ref().map(|lock| lock.runtime.name.clone());
    let overrides = Overrides { runtime: arguments.runtime.clone(), pinned, ..Overrides::default() };
    let setup = setup::for_project(project, &overrides, Purpose::Query)?;
    if let Some(not_shared) = &setup.not_shared {
        return Err(not_shared.error());
    }
    if let Some(lock) = &lock {
        hold(project, &setup, store, lock)?;
    }
    let base = Index::open(&setup.embeddings.base(), &setup.expected(store)?).map_err(|e| of_another_model(project, &setup, e))?;
    let vectors = setup.vectors(store)?;
    let base = Exact { index: &base, vectors: &vectors };
    let projected = projection(arguments, options.mode, &setup, store)?;
    if options.mode == Mode::Hybrid {
        options.weights = fusion::weights(&setup, store, projected.as_ref().map(|(name, ..)| name.as_str()))?;
    }
    let mut embedder = Embedder::open(setup.settings.clone())?;
    embedder.notes().iter().for_each(|note| context.report.note(note));
    let vector = embedder.embed_query(question)?;
    let projected = match projected {
        Some((name, projection, index)) => Some((name, projection.apply(&vector)?, index)),
        None => None,
    };
    // A projection of questions alone has no index: its question is asked of raw documents.
    let third = projected.as_ref().map(|(name, vector, index)| {
        let index = index.as_ref().map_or(&base as &dyn VectorIndex, |index| index as &dyn VectorIndex);
        (name.as_str(), index, vector.as_slice())
    });
    let hits = search(store, Some((&base, &vector)), third, question, options)?;
    Ok((projected.map(|(name, _, _)| name), hits))
}

fn locked(project: &Project, arguments: &Arguments) -> Result<Option<Lock>> {
    arguments.locked.then(|| pins::locked(project, Depth::Stamps, Job::silent())).transpose()
}

/// Holds everything to the lockfile.
fn hold(project: &Project, setup: &Setup, store: &Store, lock: &Lock) -> Result<()> {
    let pinned = Pinned { setup, store: Some(store) };
    pinned.hold_inputs(project, lock, Depth::Stamps, Job::silent())?;
    pinned.hold_made(project, lock, Depth::Stamps, Job::silent())
}

/// A project that has the index of another model only did not lose its index: its recipe changed.
fn of_another_model(project: &Project, setup: &Setup, error: Error) -> Error {
    let others = project.indexed();
    if error.kind() != ErrorKind::Missing || others.is_empty() {
        return error;
    }
    let model = &setup.plan.embedding_model;
    Error::stale(format!("the project is indexed with another model ({}), and the recipe asks for {model}", others.join(", ")))
        .at(project.recipe_path())
        .hint("run `patina oxidize`")
}

/// The projection that was asked for, or in hybrid mode the published one of the recipe that gained most.
fn projection(arguments: &Arguments, mode: Mode, setup: &Setup, store: &Store) -> Result<Option<(String, Projection, Option<Index>)>> {
    let plan = match &arguments.projection {
        Some(name) => setup.plan.projection(name).ok_or_else(|| {
            let names: Vec<&str> = setup.plan.projections.iter().map(|plan| plan.name.as_str()).collect();
            let hint = if names.is_empty() { "the recipe has none".to_owned() } else { format!("the recipe has {}", names.join(", ")) };
            Error::usage(format!("the recipe has no projection {name:?}")).hint(hint)
        })?,
        None if mode == Mode::Hybrid => match projections::best_published(setup) {
            Some(plan) => plan,
            None => return Ok(None),
        },
        None => return Ok(None),
    };
    let (projection, index) = projections::open(plan, &setup.embeddings, &setup.fingerprint, store, Depth::Stamps)?;
    Ok(Some((plan.name.clone(), projection, index)))
}

fn text(hits: &[Hit], options: &Options, fusion: Option<&str>, style: &Style) -> String {
    if hits.is_empty() {
        return "nothing found".into();
    }
    let mut out = fusion.map(|fusion| format!("{}\n", style.dim(fusion))).unwrap_or_default();
    for (at, hit) in hits.iter().enumerate() {
        let place = match hit.line {
            0 => hit.path.chars().take(12).collect(),
            line => format!("{}:{line}", hit.path),
        };
        let date = hit.date.as_deref().map(|date| format!("  {}", date.get(..10).unwrap_or(date))).unwrap_or_default();
        out += &format!("{:>2}. {}  {}\n", at + 1, style.bold(&place), style.dim(&format!("{}{date}", hit.kind.name())));
        if hit.title != hit.path {
            out += &format!("    {}\n", hit.title);
        }
        for line in hit.snippet.lines() {
            out += &format!("    {} {line}\n", style.dim("|"));
        }
        if hit.duplicates > 0 {
            out += &format!("    {}\n", style.dim(&format!("and {} with the same text", hit.duplicates)));
        }
        if options.explain {
            out += &format!("    score {:.4}", hit.score);
            for explain in &hit.explain {
                out += &format!("   {} #{} {:.4}", explain.retriever, explain.rank, explain.score);
            }
            out.push('\n');
        }
    }
    out
}
