//! `patina bench`: models, runtimes and precisions side by side, each in its own process, in rounds.

mod again;
mod cell;
mod compare;
mod table;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::time::Duration;

use clap::Subcommand;
use patina_backend::{Model, Precision, Runtime};

use crate::bench::corpus::{Corpus, PROJECT_NAME, project_texts};
use crate::bench::matrix::{Cells, Matrix, Mix};
use crate::bench::measure;
use crate::bench::report;
use crate::bench::result::{Asked, BenchResult, Pins, QualityPins, QualitySet};
use crate::bench::run::{self, Plan, QUERIES, QualityPlan, Role};
use crate::cli::pins::{self, Depth};
use crate::cli::project::Project;
use crate::cli::setup::{self, Overrides};
use crate::cli::{Context, VERSION, machine};
use crate::embed::select::{self, Purpose};
use crate::embed::{Settings, TOKEN_BUDGET};
use crate::error::{Error, ErrorKind, Result};
use crate::eval::SEED;
use crate::fs;
use crate::model::{Cache, ModelRef};
use crate::progress::Job;
use crate::recipe::{BenchPlan, RuntimeChoice};
use crate::store::Store;

/// Rounds unless they are given.
const ROUNDS: usize = 5;
/// The most rounds.
const MOST_ROUNDS: u64 = 100;
/// The most single queries of a round.
const MOST_QUERIES: u64 = 10_000;
/// Texts of a project that make a corpus.
const PROJECT_TEXTS: usize = 500;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    matrix: MatrixArguments,
    #[command(flatten)]
    common: Common,
    /// Rounds after the warm-up [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_ROUNDS))]
    rounds: Option<u64>,
    /// Queries that are asked one by one in each round [default: 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_QUERIES))]
    queries: Option<u64>,
    /// Ask only the first N queries of the labelled set; all of its documents are embedded.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    quality_queries: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What changed between two results beyond noise, cell by cell, and what else differs.
    Compare(compare::Arguments),
    /// Run another author's result again, and say whether its quality and parity come out here too.
    Recipe(again::Arguments),
    /// What `bench` starts for each cell; reads its task from standard input.
    #[command(hide = true)]
    Cell,
    /// What `bench` starts to measure this machine's peak; reads numbers of threads from standard input.
    #[command(hide = true)]
    Peak,
}

/// What is combined. A list may be written with commas, or the option given again.
#[derive(Debug, clap::Args)]
struct MatrixArguments {
    /// A model's name, hub id or folder, any number of times; the recipe's if left out.
    #[arg(long, value_name = "NAME|FOLDER")]
    model: Vec<String>,
    /// The runtimes: onnx, mlx; all that this build carries if left out.
    #[arg(long, value_name = "R,..", value_delimiter = ',')]
    runtime: Vec<String>,
    /// The precisions; f32, and int8 where a runtime has it, if left out.
    #[arg(long, value_name = "P,..", value_delimiter = ',')]
    precision: Vec<String>,
    /// Numbers of threads that compute one batch; every core if left out.
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    threads: Vec<usize>,
    /// Numbers of tokens of one batch, padding included; 1024 if left out.
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    token_budget: Vec<usize>,
    /// Lengths: `mixed` (the texts as they are), or numbers of tokens that every text and query has; mixed if left out.
    #[arg(long, value_name = "MIX,..", value_delimiter = ',')]
    mix: Vec<String>,
}

/// What every run takes.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Texts to embed: a .jsonl file with `text` on each line, or a .txt file; the project's texts, or built-in ones, if left out.
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    /// A labelled set in BEIR's layout: its nDCG@10 is measured too.
    #[arg(long, value_name = "FOLDER")]
    quality: Option<PathBuf>,
    /// A process that says nothing for so long has failed.
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Write the result as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write it as Markdown to this file too.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write it as one HTML page with charts to this file too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<()> {
    match arguments.command {
        Some(Command::Cell) => cell::run(context),
        Some(Command::Peak) => cell::run_peak(context),
        Some(Command::Compare(arguments)) => compare::run(context, &arguments),
        Some(Command::Recipe(arguments)) => again::run(context, &arguments),
        None => measure(context, &arguments),
    }
}

fn measure(context: &Context, arguments: &Arguments) -> Result<()> {
    let progress = context.report.progress();
    let job = Job::new(progress.as_ref(), &context.cancel);
    arguments.common.check()?;
    let place = Place::find(context)?;
    let recipe = match &place.project {
        Some(project) => BenchPlan::resolve(&project.recipe()?, &project.recipe_path())?,
        None => BenchPlan::default(),
    };
    let Cells { asked, left_out } = arguments.matrix.matrix(&place, &recipe)?.cells()?;
    for cell in left_out {
        context.report.note(&format!("note: left out: {cell}, which that runtime does not have"));
    }
    let in_root = |path: &String| place.root.join(path);
    let corpus = match arguments.common.corpus.clone().or(recipe.corpus.as_ref().map(in_root)) {
        Some(path) => Corpus::read(&path)?,
        None => place.corpus()?,
    };
    let folder = arguments.common.quality.clone().or(recipe.quality.as_ref().map(in_root));
    let first_queries = arguments.quality_queries.map(|n| n as usize).or(recipe.quality_queries);
    if folder.is_none() && first_queries.is_some() {
        return Err(Error::usage("--quality-queries has no meaning without --quality").hint("name the labelled set too"));
    }
    let quality = folder.map(|folder| (folder, first_queries));
    let rounds = arguments.rounds.map(|n| n as usize).or(recipe.rounds).unwrap_or(ROUNDS);
    let queries = arguments.queries.map(|n| n as usize).or(recipe.queries).unwrap_or(QUERIES);
    let plan = place.plan(asked, corpus, quality, (rounds, queries), arguments.common.timeout, job)?;
    let result = run::run(&plan, &|role| process(&place.root, role), job)?;
    // Shown first: what took minutes is not lost with a file that cannot be written.
    context.report.result(&result, |style| table::text(&result, style))?;
    arguments.common.write(&result)?;
    finish(&result)
}

/// Ends as the run did.
fn finish(result: &BenchResult) -> Result<()> {
    let failed: Vec<&str> = result.cells.iter().filter_map(|cell| cell.failed.as_deref()).collect();
    match failed.first() {
        _ if result.interrupted => Err(Error::interrupted()),
        Some(first) if failed.len() == result.cells.len() => {
            Err(Error::failed(format!("every cell failed; the first one: {first}")).hint("`patina doctor` tells what this machine has"))
        }
        _ => Ok(()),
    }
}

impl Common {
    /// The files that the result is written to.
    fn files(&self) -> [Option<&Path>; 3] {
        [self.output.as_deref(), self.markdown.as_deref(), self.html.as_deref()]
    }

    /// Better said before minutes of work than after them.
    fn check(&self) -> Result<()> {
        for path in self.files().into_iter().flatten() {
            if path.is_dir() {
                return Err(Error::usage("the output is a folder").at(path).hint("name a file in it"));
            }
            // A folder that cannot be made is better known now, too.
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                fs::create_folder(folder)?;
            }
        }
        Ok(())
    }

    /// Writes every file that was asked for; the first error is told when all were tried.
    fn write(&self, result: &BenchResult) -> Result<()> {
        let json = serde_json::to_vec_pretty(result).map_err(|e| Error::bug(format!("the result has no JSON form: {e}")))?;
        let put = |path: &Option<PathBuf>, bytes: &dyn Fn() -> Vec<u8>| match path {
            Some(path) => fs::write_atomic(path, |out| out.write_all(&bytes())),
            None => Ok(()),
        };
        let written = [
            put(&self.output, &|| json.clone()),
            put(&self.markdown, &|| report::markdown(result).into_bytes()),
            put(&self.html, &|| report::html(result).into_bytes()),
        ];
        written.into_iter().collect()
    }
}

/// This program, in a role.
fn process(root: &Path, role: Role) -> Result<Process> {
    let program = std::env::current_exe().map_err(|e| Error::failed(format!("this program's own file cannot be found: {e}")))?;
    let mut command = Process::new(program);
    match role {
        Role::Cell => command.args(["bench", "cell", "--project"]).arg(root),
        Role::Peak => command.args(["bench", "peak"]),
    };
    Ok(command)
}

/// What a cell embeds with.
fn settings(root: &Path, project: bool, asked: &Asked) -> Result<Settings> {
    let overrides = Overrides {
        runtime: Some(asked.runtime.clone()),
        precision: Some(asked.precision.clone()),
        threads: Some(asked.threads),
        token_budget: Some(asked.token_budget),
        ..Overrides::default()
    };
    match project {
        true => Ok(setup::for_project(&Project::at(Some(root))?, &overrides, Purpose::Bulk)?.settings),
        false => setup::for_model(&asked.model, root, &overrides, Purpose::Bulk),
    }
}

/// Where a benchmark runs: in a project or in a folder that is none.
struct Place {
    root: PathBuf,
    project: Option<Project>,
    /// The model that the recipe names.
    model: Option<String>,
}

impl Place {
    fn find(context: &Context) -> Result<Place> {
        match Project::find(context.project.as_deref()) {
            Ok(project) => {
                let model = Some(project.recipe()?.embedding_model().to_owned());
                Ok(Place { root: project.root.clone(), project: Some(project), model })
            }
            Err(error) if error.kind() == ErrorKind::Missing => {
                Ok(Place { root: Project::at(context.project.as_deref())?.root, project: None, model: None })
            }
            Err(error) => Err(error),
        }
    }

    /// The project's own texts if it has any, else those that ship with Patina.
    fn corpus(&self) -> Result<Corpus> {
        let Some(project) = self.project.as_ref().filter(|project| project.database().is_file()) else { return Corpus::built_in() };
        let store = Store::open_existing(&project.database())?;
        let texts = project_texts(&store, PROJECT_TEXTS)?;
        if texts.is_empty() { Corpus::built_in() } else { Corpus::of(PROJECT_NAME.into(), texts) }
    }

    /// Checks everything that can be checked before the first process is started: models, weights, runtimes, lengths, the labelled set.
    fn plan(
        &self,
        cells: Vec<Asked>,
        corpus: Corpus,
        quality: Option<(PathBuf, Option<usize>)>,
        (rounds, queries): (usize, usize),
        timeout: u64,
        job: Job<'_>,
    ) -> Result<Plan> {
        let mut models: Vec<crate::recipe::lock::ModelPins> = Vec::new();
        let mut seen: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
        let mut runtimes: Vec<Runtime> = Vec::new();
        for asked in &cells {
            job.check()?;
            let key = (asked.model.as_str(), asked.runtime.as_str(), asked.precision.as_str());
            let limit = match seen.entry(key) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    let settings = settings(&self.root, self.model.as_ref() == Some(&asked.model), asked)?;
                    if !runtimes.contains(&settings.runtime) {
                        match settings.runtime {
                            Runtime::Onnx => select::installed_onnx_version()?,
                            Runtime::Mlx => select::mlx_version()?,
                        };
                        runtimes.push(settings.runtime);
                    }
                    let limit = self.longest(asked, &settings)?;
                    if !models.iter().any(|pins| pins.name == asked.model) {
                        let folder = Cache::open()?.find(&ModelRef::parse(&asked.model)?, &self.root)?;
                        let pins = pins::model(&folder, &settings, Depth::Stamps, job)?;
                        models.push(crate::recipe::lock::ModelPins { name: asked.model.clone(), ..pins });
                    }
                    *new.insert(limit)
                }
            };
            if let Mix::Length(tokens) = Mix::parse(&asked.mix)?
                && tokens > limit
            {
                return Err(Error::usage(format!("the mix {tokens} is longer than {} takes: {limit} tokens", asked.model))
                    .hint(format!("leave it out, or take at most {limit}")));
            }
        }
        let quality = match quality {
            None => None,
            Some((folder, first_queries)) => {
                let set = measure::quality_set(&folder, first_queries, job)?;
                let folder = std::path::absolute(&folder).map_err(|e| Error::io("find", &folder, e))?;
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let counts = QualitySet { name, queries: set.counts.queries, documents: set.counts.documents };
                Some((QualityPlan { folder, first_queries, set: counts }, QualityPins { files: set.files, first_queries }))
            }
        };
        let (quality, quality_pins) = quality.unzip();
        // Of all versions only that of graphs is a runtime's, and of one alone: no two cells differ in one.
        let with_graphs = runtimes.iter().copied().find(|&runtime| select::graph_version(runtime).is_some());
        let versions = with_graphs.or(runtimes.first().copied()).map(pins::versions);
        Ok(Plan {
            cells,
            project_model: self.model.clone(),
            corpus,
            quality,
            rounds,
            silence: Duration::from_secs(timeout),
            machine: machine::this(),
            patina: VERSION.to_owned(),
            pins: Pins { seed: SEED, queries, models, versions, quality: quality_pins },
        })
    }

    /// Where the model cuts texts.
    fn longest(&self, asked: &Asked, settings: &Settings) -> Result<usize> {
        if settings.tokenizer.is_none() {
            return Err(Error::missing(format!("the model {} has no tokenizer.json, so that it embeds no texts", asked.model))
                .at(&settings.folder)
                .hint("get the model's tokenizer.json"));
        }
        let limit = Model::open_with(&settings.folder, &settings.options)?.max_tokens();
        Ok(settings.max_tokens.unwrap_or(limit).min(limit))
    }
}

impl MatrixArguments {
    /// The command line, then the recipe, then what is usual.
    fn matrix(&self, place: &Place, recipe: &BenchPlan) -> Result<Matrix> {
        let or = |own: &[String], other: &[String]| if own.is_empty() { other.to_vec() } else { own.to_vec() };
        let mut models = or(&self.model, &recipe.models);
        if models.is_empty() {
            models.extend(place.model.clone());
        }
        if models.is_empty() {
            return Err(Error::missing("no model is named, and there is no project here whose model it could be")
                .at(&place.root)
                .hint("name one with --model; `patina model list` shows what there is"));
        }
        let mut runtimes = Vec::new();
        for word in &self.runtime {
            // A cell is of one runtime: what `auto` would take is no name for it.
            let choice = RuntimeChoice::NAMED.iter().find(|(known, _)| known == word).ok_or_else(|| {
                let words: Vec<&str> = RuntimeChoice::NAMED.iter().map(|&(word, _)| word).collect();
                Error::usage(format!("--runtime has {word:?}, which is no runtime")).hint(format!("runtimes are {}", words.join(", ")))
            })?;
            runtimes.push(choice.1);
        }
        if runtimes.is_empty() {
            runtimes.clone_from(&recipe.runtimes);
        }
        // A runtime that this build does not carry is refused here; which precisions it has is the matrix's matter.
        let runtimes = runtimes.into_iter().map(|choice| Ok(select::choose(choice, Precision::F32)?.runtime));
        let mut precisions = Vec::new();
        for word in &self.precision {
            precisions.push(Precision::ALL.iter().copied().find(|precision| precision.name() == word).ok_or_else(|| {
                let words: Vec<&str> = Precision::ALL.iter().map(|precision| precision.name()).collect();
                Error::usage(format!("--precision has {word:?}, which is no precision"))
                    .hint(format!("precisions are {}", words.join(", ")))
            })?);
        }
        if precisions.is_empty() {
            precisions.clone_from(&recipe.precisions);
        }
        let numbers = |own: &[usize], recipe: &[usize], usual: usize| match (own, recipe) {
            ([], []) => vec![usual],
            ([], recipe) => recipe.to_vec(),
            (own, _) => own.to_vec(),
        };
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let mixes = or(&self.mix, &recipe.mixes);
        let mixes = if mixes.is_empty() { vec![Mix::Mixed.word()] } else { mixes };
        Ok(Matrix {
            models,
            runtimes: runtimes.collect::<Result<_>>()?,
            precisions,
            threads: numbers(&self.threads, &recipe.threads, cores),
            token_budgets: numbers(&self.token_budget, &recipe.token_budgets, TOKEN_BUDGET),
            mixes: mixes.iter().map(|word| Mix::parse(word)).collect::<Result<_>>()?,
        })
    }
}
