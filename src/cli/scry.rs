//! `patina scry`: a question, and the places of the project that answer it.

mod relations;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::fusion;
use crate::cli::pins::{self, Depth, Pinned};
use crate::cli::project::Project;
use crate::cli::projections;
use crate::cli::report::{Style, count, plural};
use crate::cli::rerank::{self, Scoring};
use crate::cli::setup::{self, EngineChoice, Overrides, Setup};
use crate::embed::select::Purpose;
use crate::embed::{Embedder, Reranker};
use crate::error::{Error, ErrorKind, Result};
use crate::index::Index;
use crate::progress::Job;
use crate::recipe::lock::Lock;
use crate::search::filter::{Filter, FilterReport, Moment, Paths};
use crate::search::language::Language;
use crate::search::snippet::printable;
use crate::search::{Answer, Exact, Explain, Hit, MAX_LIMIT, Mode, Options, Reranking, VectorIndex, Weights, search};
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
    #[arg(long, default_value_t = 1, value_name = "N", requires = "calls")]
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
    /// Only files that match, as in .gitignore, and commits that touch one; !GLOB leaves files out. May stand several times.
    #[arg(long, value_name = "GLOB")]
    path: Vec<String>,
    /// Only what was written on this day (2025-08-16) or later, after an instant, or so long ago at most (12h, 30d, 6w, 1y).
    #[arg(long, value_name = "DATE")]
    since: Option<String>,
    /// Only what was written on this day or earlier, before an instant, or at least so long ago.
    #[arg(long, value_name = "DATE")]
    until: Option<String>,
    /// Only files in these languages, by name or extension: rust, python, md, ...
    #[arg(long, value_delimiter = ',', value_name = "LANGUAGE")]
    language: Vec<String>,
    /// Put the first results in the order of the recipe's reranker; in hybrid and vector search it does so by itself.
    #[arg(long, conflicts_with = "no_rerank")]
    rerank: bool,
    /// Leave the results as they were found.
    #[arg(long)]
    no_rerank: bool,
    /// Show every result, those that say nearly the same as a better one too.
    #[arg(long)]
    no_fold: bool,
    /// Say of each result how every retriever ranked and scored it, and what is folded into it.
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
struct Told<'a> {
    question: &'a str,
    mode: Mode,
    projection: Option<&'a str>,
    /// What each retriever counted; with --explain in hybrid mode only.
    #[serde(skip_serializing_if = "Option::is_none")]
    fusion: Option<Weights>,
    /// The model that put the first results in order.
    reranker: Option<&'a str>,
    #[serde(flatten)]
    answer: &'a Answer,
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
    let progress = context.report.progress();
    let job = Job::new(progress.as_ref(), &context.cancel);
    let Done { projection, reranker, answer } = match options.mode {
        Mode::Lexical => with_words(&project, &store, &arguments, &question, &options, job)?,
        _ => with_vectors(&project, &store, &arguments, &question, &mut options, job)?,
    };
    if let Some(filter) = answer.filter.as_ref().filter(|filter| filter.undated_sources > 0) {
        context.report.note(&format!("note: {} {} no date and cannot pass --since or --until", undated(filter), have(filter)));
    }
    let fusion = (options.explain && options.mode == Mode::Hybrid).then(|| options.weights.unwrap_or(Weights::usual(projection.is_some())));
    let weighed = fusion.map(|weights| {
        let origin = if options.weights.is_some() { "" } else { ", the usual" };
        format!("fusion: {}{origin}", weights.told(projection.is_some()))
    });
    let (projection, reranker) = (projection.as_deref(), reranker.as_deref());
    let told = Told { question: &question, mode: options.mode, projection, fusion, reranker, answer: &answer };
    context.report.result(&told, |style| text(&answer, &options, weighed.as_deref(), style))
}

/// A search that was made.
struct Done {
    projection: Option<String>,
    /// The reranker's name.
    reranker: Option<String>,
    answer: Answer,
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
    let now = Timestamp::now();
    let moment = |option: &str, typed: &Option<String>| typed.as_ref().map(|text| Moment::parse(option, text, now)).transpose();
    let mut languages = Vec::new();
    for word in &arguments.language {
        languages.extend(Language::parse(word)?);
    }
    let filter = Filter {
        kinds: arguments.kind.iter().map(kind).collect::<Result<_>>()?,
        paths: Paths::new(&arguments.path)?,
        since: moment("--since", &arguments.since)?,
        until: moment("--until", &arguments.until)?,
        languages,
    };
    filter.check()?;
    Ok(Options { mode, limit: arguments.limit, filter, fold: !arguments.no_fold, explain: arguments.explain, ..Options::default() })
}

/// Search by words, which needs no model unless it is asked to rerank.
fn with_words(project: &Project, store: &Store, arguments: &Arguments, question: &str, options: &Options, job: Job<'_>) -> Result<Done> {
    let lock = locked(project, arguments)?;
    let mut reranker = None;
    if lock.is_some() || arguments.rerank {
        let pinned = lock.as_ref().map(|lock| lock.runtime.name.clone());
        let overrides = Overrides { runtime: arguments.runtime.clone(), pinned, ..Overrides::default() };
        let setup = setup::for_project(project, &overrides, Purpose::Query)?;
        if let Some(lock) = &lock {
            hold(project, &setup, store, lock)?;
        }
        if arguments.rerank {
            reranker = open_reranker(arguments, &setup, job)?;
        }
    }
    let (reranker, mut opened) = reranker.unzip();
    let answer = search(store, None, None, question, options, opened.as_mut().map(Opened::reranking))?;
    Ok(Done { projection: None, reranker, answer })
}

/// Search that needs the question's vector. The indexes are checked before the model is loaded: a stale one is refused at once.
fn with_vectors(
    project: &Project,
    store: &Store,
    arguments: &Arguments,
    question: &str,
    options: &mut Options,
    job: Job<'_>,
) -> Result<Done> {
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
    let (reranker, mut opened) = open_reranker(arguments, &setup, job)?.unzip();
    let mut embedder = Embedder::open(setup.settings.clone())?;
    embedder.notes().iter().for_each(|note| job.progress.note(note));
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
    let answer = search(store, Some((&base, &vector)), third, question, options, opened.as_mut().map(Opened::reranking))?;
    Ok(Done { projection: projected.map(|(name, _, _)| name), reranker, answer })
}

/// A reranker that is ready.
struct Opened<'a> {
    scoring: Scoring<'a>,
    candidates: usize,
}

impl Opened<'_> {
    fn reranking(&mut self) -> Reranking<'_> {
        Reranking { scorer: &mut self.scoring, candidates: self.candidates }
    }
}

/// The recipe's reranker with its name, unless the command line wants none.
fn open_reranker<'a>(arguments: &Arguments, setup: &Setup, job: Job<'a>) -> Result<Option<(String, Opened<'a>)>> {
    if arguments.no_rerank {
        return Ok(None);
    }
    let (Some(plan), Some(folder)) = (&setup.plan.rerank, rerank::of_recipe(setup)?) else {
        if arguments.rerank {
            return Err(Error::usage("--rerank: the recipe names no reranker")
                .at(setup.project.recipe_path())
                .hint("write `rerank: {model: NAME}` into it, with a cross-encoder's name, hub id or folder"));
        }
        return Ok(None);
    };
    let reranker = Reranker::open(rerank::settings(&folder, &EngineChoice::of(&setup.settings)))?;
    Ok(Some((plan.model.clone(), Opened { scoring: Scoring { reranker, job }, candidates: plan.candidates })))
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

fn text(answer: &Answer, options: &Options, fusion: Option<&str>, style: &Style) -> String {
    if answer.hits.is_empty() {
        return nothing(answer.filter.as_ref());
    }
    let mut out = fusion.map(|fusion| format!("{}\n", style.dim(fusion))).unwrap_or_default();
    for (at, hit) in answer.hits.iter().enumerate() {
        out += &result(at + 1, hit, options, style);
    }
    if options.explain {
        out += &explained(answer, style);
    }
    out
}

/// Why there is no result: the question, or the filter.
fn nothing(filter: Option<&FilterReport>) -> String {
    let Some(filter) = filter else { return "nothing found".to_owned() };
    let (passing, chunks) = (count(filter.passing as u64), plural(filter.chunks, "chunk"));
    match filter.passing {
        0 => format!("nothing passes the filter, none of {chunks}: {}\ntry a wider one", typed(filter)),
        _ => format!("nothing found among the {passing} of {chunks} that pass the filter: {}", typed(filter)),
    }
}

/// The sources that a filter of dates cannot judge.
fn undated(filter: &FilterReport) -> String {
    match filter.undated_sources {
        1 => "1 file or commit".to_owned(),
        n => format!("{} files or commits", count(n as u64)),
    }
}

fn have(filter: &FilterReport) -> &'static str {
    if filter.undated_sources == 1 { "has" } else { "have" }
}

/// A filter as options.
fn typed(filter: &FilterReport) -> String {
    let mut options: Vec<String> = Vec::new();
    options.extend((!filter.kinds.is_empty()).then(|| {
        let kinds: Vec<&str> = filter.kinds.iter().map(|kind| kind.name()).collect();
        format!("--kind {}", kinds.join(","))
    }));
    options.extend(filter.paths.iter().map(|path| format!("--path {}", printable(path))));
    options.extend(filter.since.iter().map(|since| format!("--since {since}")));
    options.extend(filter.until.iter().map(|until| format!("--until {until}")));
    options.extend((!filter.languages.is_empty()).then(|| format!("--language {}", filter.languages.join(","))));
    options.join(" ")
}

fn result(number: usize, hit: &Hit, options: &Options, style: &Style) -> String {
    let at = place(&hit.path, hit.line);
    let date = hit.date.as_deref().map(|date| format!("  {}", date.get(..10).unwrap_or(date))).unwrap_or_default();
    let mut out = format!("{number:>2}. {}  {}\n", style.bold(&at), style.dim(&format!("{}{date}", hit.kind.name())));
    if hit.title != hit.path {
        out += &format!("    {}\n", hit.title);
    }
    for line in marked(hit, style).lines() {
        out += &format!("    {} {line}\n", style.dim("|"));
    }
    if hit.duplicates > 0 && !options.explain {
        out += &format!(
            "    {}\n",
            style.dim(&format!("and {} that {} nearly the same", hit.duplicates, if hit.duplicates == 1 { "says" } else { "say" }))
        );
    }
    if options.explain {
        out += &format!("    score {:.4}\n", hit.score);
        for Explain { retriever, rank, score, weight, contribution } in &hit.explain {
            out += &format!("      {retriever:<10} #{rank:<4} score {score:<9.4} weight {weight:<4} adds {contribution:.5}\n");
        }
        if let Some(rerank) = &hit.rerank {
            out += &format!("      reranked   #{:<4} score {:.4}\n", rerank.from, rerank.score);
        }
        for twin in &hit.folded {
            out += &format!("      folded     {} {:.0} % the same\n", place(&twin.path, twin.line), 100.0 * twin.agreement);
        }
        if hit.duplicates > hit.folded.len() {
            out += &format!("      folded     and {} more\n", hit.duplicates - hit.folded.len());
        }
    }
    out
}

/// A file and its line; the beginning of a commit's hash.
fn place(path: &str, line: u32) -> String {
    match line {
        0 => path.chars().take(12).collect(),
        line => format!("{path}:{line}"),
    }
}

/// The snippet with the question's words in bold.
fn marked(hit: &Hit, style: &Style) -> String {
    let mut out = String::new();
    let mut at = 0;
    for range in &hit.marks {
        out += &hit.snippet[at..range.start];
        out += &style.bold(&hit.snippet[range.clone()]);
        at = range.end;
    }
    out + &hit.snippet[at..]
}

/// What holds for all results: who was asked, and of what.
fn explained(answer: &Answer, style: &Style) -> String {
    let asked = answer.retrievers.iter().map(|asked| format!("{} gave {} (weight {})", asked.retriever, asked.found, asked.weight));
    let mut out = format!("{}\n", style.dim(&asked.collect::<Vec<_>>().join(", ")));
    if let Some(filter) = &answer.filter {
        let passing = format!("{} of {} pass {}", count(filter.passing as u64), plural(filter.chunks, "chunk"), typed(filter));
        out += &format!("{}\n", style.dim(&passing));
    }
    if let Some(reranked) = answer.reranked {
        out += &format!("{}\n", style.dim(&format!("the first {reranked} were reranked")));
    }
    out
}
