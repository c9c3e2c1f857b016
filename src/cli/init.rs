//! `patina init`: a recipe for the project in this folder.

use serde_json::json;

use crate::cli::Context;
use crate::cli::project::Project;
use crate::error::{Error, Result};
use crate::fs;
use crate::model::ModelRef;
use crate::recipe::Recipe;

/// The model of a new recipe unless told otherwise: small, fast, and good enough to begin with.
const DEFAULT_MODEL: &str = "all-MiniLM-L6-v2";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The embedding model: a name that `patina model list` knows, a hub id, or a folder.
    #[arg(long, value_name = "NAME|FOLDER", default_value = DEFAULT_MODEL)]
    model: String,
    /// Replace a recipe that is there.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let project = Project::at(context.project.as_deref())?;
    let path = project.recipe_path();
    if path.exists() && !arguments.force {
        return Err(Error::usage("the project has a recipe already").at(path).hint("edit it, or replace it with `patina init --force`"));
    }
    ModelRef::parse(&arguments.model)?;
    let text = Recipe::template(&arguments.model);
    Recipe::parse(&text, &path)?;
    fs::write_atomic(&path, |out| out.write_all(text.as_bytes()))?;
    // The recipe and its lockfile belong into git; what is made from them does not.
    let ignore = project.ignore_path();
    if !ignore.exists() {
        fs::write_atomic(&ignore, |out| out.write_all(b"data/\n"))?;
    }
    let value = json!({ "recipe": path, "embedding_model": arguments.model });
    context.report.result(&value, |_| {
        format!(
            "wrote {}\nnext: patina scrape, then patina oxidize, then patina scry \"a question\"\n\
             .patina belongs into git: the recipe, and oxidize.lock, which oxidize writes; data/ is made from them and ignored",
            path.display()
        )
    })
}
