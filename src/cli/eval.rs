//! `patina eval`: how good a model is on labelled data, as others measure it, and how good the project's own search is.

mod project;

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use crate::cli::project::Project;
use crate::cli::report::{Style, count, plural};
use crate::cli::rerank;
use crate::cli::setup::{self, Overrides};
use crate::cli::{Context, VERSION};
use crate::embed::select::Purpose;
use crate::embed::{Embedder, Reranker, Settings, TextKind};
use crate::error::{Error, Result};
use crate::eval::beir::{BeirSet, Counts};
use crate::eval::learned::{self, LearnedReport};
use crate::eval::rerank::{Named, RerankReport, rerank as eval_rerank};
use crate::eval::retrieval::{self, RetrievalReport};
use crate::eval::sts::{StsReport, StsSet};
use crate::eval::{EngineReport, Figure, Speed};
use crate::fs;
use crate::model::Cache;
use crate::progress::Job;
use crate::recipe::{DEFAULT_CANDIDATES, MAX_CANDIDATES};
use crate::search::Mode;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Pairs of sentences: whether cosine similarity orders them as people did (Spearman, Pearson).
    Sts(Sts),
    /// A data set in BEIR's layout: how well its documents are found (nDCG, MRR, recall, MAP).
    Beir(Beir),
    /// This project's search: commits ask for the files that they touched; by words, vectors, each projection, and all together.
    Project(project::ProjectArguments),
    /// This project's search on questions of your own, judged by hand, from a JSON file.
    Queries(project::QueriesArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct Sts {
    /// The STS benchmark's own file (score in column 5, sentences in 6 and 7), or a score and two sentences, between tabs.
    file: PathBuf,
    /// Which of the model's prompts the sentences get; MTEB uses none.
    #[arg(long, value_enum, default_value = "none")]
    prompt: Prompt,
    #[command(flatten)]
    model: Model,
}

#[derive(Debug, clap::Args)]
pub(super) struct Beir {
    /// The folder with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv.
    folder: PathBuf,
    /// Which judgements: the name of a file in qrels/.
    #[arg(long, value_name = "NAME", default_value = "test")]
    split: String,
    /// How documents are found: vector, lexical (words only; needs no model), or hybrid (both, fused as scry fuses them).
    #[arg(long, default_value = "vector")]
    mode: String,
    /// Also train a projection of questions on the judgements of another split (`train` if none is named), choose its settings by
    /// cross-validation there, and judge it once on --split: against raw vectors, and fused with words.
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "train", conflicts_with_all = ["mode", "run", "rerank"])]
    train: Option<String>,
    /// Put the first documents in the order of this cross-encoder too, and measure both.
    #[arg(long, value_name = "NAME|FOLDER")]
    rerank: Option<String>,
    /// How many documents of each query the reranker reads.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_CANDIDATES)]
    candidates: usize,
    /// Write the rankings to this file too, as a run of TREC; with --rerank the reranked ones.
    #[arg(long, value_name = "FILE")]
    run: Option<PathBuf>,
    #[command(flatten)]
    model: Model,
}

/// What embeds, and where the report goes.
#[derive(Debug, clap::Args)]
struct Model {
    /// A model's name, hub id or folder; the project's model if left out.
    #[arg(long, value_name = "NAME|FOLDER")]
    model: Option<String>,
    /// The runtime: auto, onnx, mlx or measured.
    #[arg(long, value_name = "R")]
    runtime: Option<String>,
    /// The precision: f32 or int8; on MLX f32, f16, bf16, q8 or q4.
    #[arg(long, value_name = "P")]
    precision: Option<String>,
    /// Threads that compute one batch.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Tokens of one batch, padding included; 1024 if left out.
    #[arg(long, value_name = "N")]
    token_budget: Option<usize>,
    /// Write the report as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Prompt {
    None,
    Query,
    Document,
}

/// A report as it is written.
#[derive(Serialize)]
struct Written<'a, R> {
    patina: &'static str,
    #[serde(flatten)]
    report: &'a R,
}

pub(super) fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Sts(arguments) => sts(context, arguments),
        Command::Beir(arguments) => beir(context, arguments),
        Command::Project(arguments) => project::project(context, arguments),
        Command::Queries(arguments) => project::queries(context, arguments),
    }
}

fn sts(context: &Context, arguments: Sts) -> Result<()> {
    not_a_folder(arguments.model.output.as_deref())?;
    let set = StsSet::read(&arguments.file)?;
    let (name, mut settings) = arguments.model.settings(context)?;
    let kind = match arguments.prompt {
        Prompt::None => {
            (settings.query_prompt, settings.document_prompt) = (String::new(), String::new());
            TextKind::Document
        }
        Prompt::Query => TextKind::Query,
        Prompt::Document => TextKind::Document,
    };
    let mut embedder = Embedder::open(settings.clone())?;
    embedder.notes().iter().for_each(|note| context.report.note(note));
    let engine = EngineReport::new(&name, &settings, &embedder);
    let progress = context.report.progress();
    let report = set.evaluate(engine, &mut embedder, kind, Job::new(progress.as_ref(), &context.cancel))?;
    deliver(context, arguments.model.output.as_deref(), &report, |style| sts_text(&report, style))
}

fn beir(context: &Context, arguments: Beir) -> Result<()> {
    let mode = Mode::parse(&arguments.mode).ok_or_else(|| {
        let words: Vec<&str> = Mode::ALL.iter().map(|mode| mode.name()).collect();
        Error::usage(format!("--mode is {:?}, which is no mode", arguments.mode)).hint(format!("modes are {}", words.join(", ")))
    })?;
    not_a_folder(arguments.model.output.as_deref())?;
    not_a_folder(arguments.run.as_deref())?;
    if !(1..=MAX_CANDIDATES).contains(&arguments.candidates) {
        return Err(Error::usage(format!("--candidates is {}; it must be 1 to {MAX_CANDIDATES}", arguments.candidates)));
    }
    let progress = context.report.progress();
    let job = Job::new(progress.as_ref(), &context.cancel);
    // What cannot be loaded is told before minutes of work.
    let mut reranker = arguments.rerank.as_deref().map(|model| arguments.model.reranker(context, model, job)).transpose()?;
    let set = BeirSet::read(&arguments.folder, &arguments.split, job)?;
    if arguments.run.is_some() {
        retrieval::check_run(&set)?;
    }
    for note in notes(&set.counts) {
        context.report.note(&format!("note: {note}"));
    }
    if let Some(split) = &arguments.train {
        let taught = BeirSet::read(&arguments.folder, split, job)?;
        learned::check(&set, &taught)?;
        let (name, settings) = arguments.model.settings(context)?;
        let mut embedder = Embedder::open(settings.clone())?;
        let engine = EngineReport::new(&name, &settings, &embedder);
        let report = learned::evaluate(&set, &taught, engine, &mut embedder, job)?;
        return deliver(context, arguments.model.output.as_deref(), &report, |style| learned_text(&report, style));
    }
    let (mut report, mut rankings) = match mode {
        Mode::Lexical => {
            if arguments.model.model.is_some() {
                context.report.note("note: words alone are compared; the model is not used");
            }
            retrieval::evaluate(&set, mode, None, job)?
        }
        Mode::Vector | Mode::Hybrid => {
            let (name, settings) = arguments.model.settings(context)?;
            let mut embedder = Embedder::open(settings.clone())?;
            embedder.notes().iter().for_each(|note| context.report.note(note));
            let engine = EngineReport::new(&name, &settings, &embedder);
            retrieval::evaluate(&set, mode, Some((engine, &mut embedder)), job)?
        }
    };
    if let Some((model, identity, reranker)) = &mut reranker {
        let named = Named { model: model.clone(), identity: identity.clone(), reranker };
        let (reranked, after) = eval_rerank(&set, &rankings, named, arguments.candidates, job)?;
        (report.rerank, rankings) = (Some(reranked), after);
    }
    if let Some(path) = &arguments.run {
        rankings.write(&set, path)?;
    }
    deliver(context, arguments.model.output.as_deref(), &report, |style| beir_text(&report, style))
}

impl Model {
    /// A reranker on the runtime that would embed: its name, its identity, and itself.
    fn reranker(&self, context: &Context, model: &str, job: Job<'_>) -> Result<(String, String, Reranker)> {
        let root = Project::at(context.project.as_deref())?.root;
        let folder = rerank::folder(model, &root)?;
        let engine = setup::engine(&self.overrides())?;
        let reranker = Reranker::open(rerank::settings(&folder, &engine))?;
        Ok((model.to_owned(), folder.identity(&Cache::open()?, job)?.sha256, reranker))
    }

    fn overrides(&self) -> Overrides {
        Overrides {
            runtime: self.runtime.clone(),
            precision: self.precision.clone(),
            threads: self.threads,
            token_budget: self.token_budget,
            ..Overrides::default()
        }
    }

    /// The model's name and the settings to embed with.
    fn settings(&self, context: &Context) -> Result<(String, Settings)> {
        let overrides = self.overrides();
        match &self.model {
            Some(model) => {
                let root = Project::at(context.project.as_deref())?.root;
                Ok((model.clone(), setup::for_model(model, &root, &overrides, Purpose::Bulk)?))
            }
            None => {
                let setup = setup::for_project(&Project::find(context.project.as_deref())?, &overrides, Purpose::Bulk)?;
                Ok((setup.plan.embedding_model, setup.settings))
            }
        }
    }
}

/// Better said before minutes of work than after them.
fn not_a_folder(path: Option<&Path>) -> Result<()> {
    match path {
        Some(path) if path.is_dir() => Err(Error::usage("the output is a folder").at(path).hint("name a file in it")),
        _ => Ok(()),
    }
}

fn deliver<R: Serialize>(context: &Context, output: Option<&Path>, report: &R, text: impl FnOnce(&Style) -> String) -> Result<()> {
    let written = Written { patina: VERSION, report };
    if let Some(path) = output {
        let json = serde_json::to_vec_pretty(&written).map_err(|e| Error::bug(format!("the report has no JSON form: {e}")))?;
        fs::write_atomic(path, |out| out.write_all(&json))?;
    }
    context.report.result(&written, text)
}

/// What the reader of the figures should know about the data.
fn notes(counts: &Counts) -> Vec<String> {
    let note = |n: usize, what: &str, so: &str| (n > 0).then(|| format!("{what}: {}; {so}", count(n as u64)));
    let notes = [
        note(counts.unknown_queries, "judged queries that queries.jsonl does not have", "they are left out"),
        note(counts.unknown_documents, "judged documents that corpus.jsonl does not have", "relevant ones count as not found"),
        note(counts.queries_without_relevant, "queries without a relevant document", "they count as 0, as in pytrec_eval"),
    ];
    notes.into_iter().flatten().collect()
}

fn sts_text(report: &StsReport, style: &Style) -> String {
    let mut out = format!("{}\n", style.bold(&format!("{}: {}", report.file.display(), plural(report.pairs, "pair"))));
    out += &engine_line(&report.engine, style);
    out += &figures(&[("Spearman", report.spearman), ("Pearson", report.pearson)], style);
    out + &speed_line(&report.speed, style)
}

fn beir_text(report: &RetrievalReport, style: &Style) -> String {
    let counts = &report.counts;
    let title = format!(
        "{} ({}), {}: {} queries, {}",
        report.folder.display(),
        report.split,
        report.mode,
        count(counts.queries as u64),
        plural(counts.documents, "document")
    );
    let mut out = format!("{}\n", style.bold(&title));
    if let Some(engine) = &report.engine {
        out += &engine_line(engine, style);
    }
    let of = &report.metrics;
    out += &figures(
        &[
            ("nDCG@10", of.ndcg_at_10),
            ("MRR@10", of.mrr_at_10),
            ("recall@10", of.recall_at_10),
            ("recall@100", of.recall_at_100),
            ("MAP", of.map),
        ],
        style,
    );
    out += &match &report.speed {
        Some(speed) => speed_line(speed, style),
        None => format!("{}\n", style.dim(&format!("in {:.1} s", report.seconds))),
    };
    if let Some(reranked) = &report.rerank {
        out += &rerank_text(reranked, style);
    }
    out
}

fn rerank_text(report: &RerankReport, style: &Style) -> String {
    let title = format!("with the first {} reranked by {}", report.candidates, report.model);
    let mut out = format!("\n{}\n", style.bold(&title));
    out += &style.dim(&format!("on {} {}, {} tokens a pair at most\n", report.runtime, report.runtime_version, report.max_tokens));
    let of = &report.metrics;
    out += &figures(&[("nDCG@10", of.ndcg_at_10), ("MRR@10", of.mrr_at_10), ("gain nDCG@10", report.gain)], style);
    out + &speed_line(&report.speed, style)
}

fn learned_text(report: &LearnedReport, style: &Style) -> String {
    let number = |n: usize| count(n as u64);
    let ground = &report.ground;
    let title =
        format!("{} ({}), trained on {}: {} queries", report.folder.display(), report.split, report.trained_on, number(report.queries));
    let mut out = format!("{}\n", style.bold(&title));
    out += &engine_line(&report.engine, style);
    out += &format!(
        "learnt from {} queries ({} groups) with {} relevant documents, and {} titles\n",
        number(ground.queries),
        number(ground.groups),
        number(ground.pairs),
        number(ground.titles)
    );
    out += &format!(
        "kept out: all test queries and their judgements; shared: the corpus, with {} of the {} documents that the test asks for\n",
        number(ground.documents_shared),
        number(ground.documents_of_test)
    );
    for (n, what) in [
        (ground.queries_left_out, "training queries are test queries too, and were left out"),
        (ground.titles_left_out, "titles are test queries too, and were left out"),
        (ground.labels_to_nowhere, "labels lead to no query or document of the set, and were left out"),
    ] {
        if n > 0 {
            out += &format!("{} {what}\n", number(n));
        }
    }
    let gain = |figure: &Figure| {
        let [value, low, high] = [figure.value, figure.low, figure.high].map(|value| 100.0 * value);
        format!("{value:+.2} ({low:+.2} to {high:+.2})")
    };
    out += &format!("{}\n", style.dim("settings, low-rank              gain in nDCG@10 on held-out training queries"));
    for (at, setting) in report.settings.iter().enumerate() {
        let what = format!("rank {}, {} epochs{}", setting.rank, setting.epochs, if setting.titles { ", titles" } else { "" });
        let chosen = if at == report.chosen { "  chosen" } else { "" };
        out += &format!("{what:<30}  {}{chosen}\n", gain(&setting.gain));
    }
    out += &format!("{}\n", style.dim("on the test    nDCG@10   MRR@10  recall@10  recall@100"));
    for (name, of) in [
        ("raw vectors", &report.raw),
        ("projection", &report.projection),
        ("BM25", &report.lexical),
        ("hybrid", &report.hybrid),
        ("hybrid with it", &report.hybrid_with),
    ] {
        let [ndcg, mrr, recall, deep] = [of.ndcg_at_10, of.mrr_at_10, of.recall_at_10, of.recall_at_100].map(|figure| 100.0 * figure.value);
        out += &format!("{name:<14} {ndcg:>7.2}  {mrr:>7.2}    {recall:>7.2}     {deep:>7.2}\n");
    }
    for (what, figure) in [
        ("projection against raw vectors", &report.gain),
        ("projection against hybrid", &report.against_hybrid),
        ("hybrid with it against without", &report.hybrid_gain),
    ] {
        out += &format!("{what:<32} {}\n", gain(figure));
    }
    if let Some(fresh) = &report.fresh_gain {
        let queries = number(report.fresh_queries);
        out +=
            &format!("of these, the {queries} queries whose documents were no answers in training: {} against raw vectors\n", gain(fresh));
    }
    let verdict = if report.gain.low > 0.0 { style.good(&report.verdict) } else { style.bad(&report.verdict) };
    out + &format!("{verdict}\n") + &speed_line(&report.speed, style)
}

fn engine_line(engine: &EngineReport, style: &Style) -> String {
    style.dim(&format!("{} on {} {}, {}", engine.model, engine.runtime, engine.runtime_version, engine.precision)) + "\n"
}

fn speed_line(speed: &Speed, style: &Style) -> String {
    let line = format!("{} in {:.1} s ({:.1}/s)", plural(speed.texts, "text"), speed.seconds, speed.texts_per_second);
    style.dim(&line) + "\n"
}

fn figures(rows: &[(&str, Figure)], style: &Style) -> String {
    let mut out = format!("{}\n", style.dim("              x100  95 % interval"));
    for (name, figure) in rows {
        let [value, low, high] = [figure.value, figure.low, figure.high].map(|value| 100.0 * value);
        out += &format!("{name:<12} {value:>5.2}  {low:.2} to {high:.2}\n");
    }
    out
}
