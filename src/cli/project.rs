//! A project: the folder that holds `.patina`, and the files below it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fs::{self, Lock};
use crate::recipe::Recipe;

/// The folder of a project's own files.
const FOLDER: &str = ".patina";

/// The index of a model's own vectors.
const BASE: &str = "base.usearch";

#[derive(Clone)]
pub(super) struct Project {
    pub root: PathBuf,
}

impl Project {
    /// The project around `start` (`--project`, else the current folder): the nearest folder upwards with a recipe.
    pub fn find(start: Option<&Path>) -> Result<Project> {
        let start = absolute(start)?;
        let root = start.ancestors().find(|folder| folder.join(FOLDER).join("oxidize.yaml").is_file());
        match root {
            Some(root) => Ok(Project { root: root.to_path_buf() }),
            None => Err(Error::missing("there is no project here: no .patina/oxidize.yaml in this folder or above it")
                .at(start)
                .hint("run `patina init` in the project's folder")),
        }
    }

    /// The folder itself, whether it has a recipe or not.
    pub fn at(start: Option<&Path>) -> Result<Project> {
        Ok(Project { root: absolute(start)? })
    }

    pub fn recipe_path(&self) -> PathBuf {
        self.root.join(FOLDER).join("oxidize.yaml")
    }

    pub fn recipe(&self) -> Result<Recipe> {
        Recipe::load(&self.recipe_path())
    }

    pub fn lock_path(&self) -> PathBuf {
        self.root.join(FOLDER).join("oxidize.lock")
    }

    pub fn ignore_path(&self) -> PathBuf {
        self.root.join(FOLDER).join(".gitignore")
    }

    pub fn database(&self) -> PathBuf {
        self.data().join("patina.db")
    }

    fn data(&self) -> PathBuf {
        self.root.join(FOLDER).join("data")
    }

    /// Takes the project for writing, or says who has it.
    pub fn lock(&self, doing: &str) -> Result<Lock> {
        Lock::acquire(&self.data().join("lock"), doing)
    }

    /// The folders of models that the project has an index of, by name.
    pub fn indexed(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.data().join("embeddings")).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter(|entry| entry.path().join(BASE).is_file()).filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The files made from one model's vectors.
    pub fn embeddings(&self, model: &str) -> Embeddings {
        // A hub id has a slash, and a folder may have anything.
        let name: String = model
            .trim_end_matches('/')
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
            .collect();
        let name = name.trim_start_matches(['.', '-']).to_owned();
        let name = if name.is_empty() { "model".to_owned() } else { name };
        Embeddings { folder: self.data().join("embeddings").join(name) }
    }
}

/// Where the files made from one model's vectors lie.
pub(super) struct Embeddings {
    folder: PathBuf,
}

impl Embeddings {
    pub fn base(&self) -> PathBuf {
        self.folder.join(BASE)
    }

    /// What was chosen for the fusion, and why.
    pub fn fusion(&self) -> PathBuf {
        self.folder.join("fusion.json")
    }

    /// Removes what a killed process left. Only under the project's lock.
    pub fn sweep(&self) {
        fs::sweep(&self.folder);
        fs::sweep(&self.folder.join("projections"));
        fs::sweep(&self.refused_folder());
    }

    pub fn projection(&self, name: &str) -> PathBuf {
        self.folder.join("projections").join(format!("{name}.safetensors"))
    }

    /// What is kept of a projection that the gate refused: `eval project` shows it, and nobody searches with it.
    pub fn refused(&self, name: &str) -> PathBuf {
        self.refused_folder().join(format!("{name}.safetensors"))
    }

    pub fn refused_folder(&self) -> PathBuf {
        self.folder.join("projections").join("refused")
    }

    pub fn projection_index(&self, name: &str) -> PathBuf {
        self.folder.join("projections").join(format!("{name}.usearch"))
    }

    pub fn verdict(&self, name: &str) -> PathBuf {
        self.folder.join("projections").join(format!("{name}.verdict.json"))
    }
}

fn absolute(start: Option<&Path>) -> Result<PathBuf> {
    let start = match start {
        Some(start) => start.to_path_buf(),
        None => std::env::current_dir().map_err(|e| Error::failed(format!("the current folder cannot be read: {e}")))?,
    };
    if !start.is_dir() {
        return Err(Error::usage("this is not a folder").at(start));
    }
    std::path::absolute(&start).map_err(|e| Error::io("find", &start, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_s_folder_stays_below_the_project() {
        let project = Project { root: PathBuf::from("/p") };
        for (model, folder) in [
            ("e5-base-v2", "e5-base-v2"),
            ("intfloat/e5-base-v2", "intfloat-e5-base-v2"),
            ("../../etc", "etc"),
            ("/", "model"),
            ("./models/x/", "models-x"),
        ] {
            let base = project.embeddings(model).base();
            let expected = PathBuf::from("/p/.patina/data/embeddings").join(folder).join("base.usearch");
            if model == "../../etc" {
                assert!(base.starts_with("/p/.patina/data/embeddings"), "{}", base.display());
                assert!(!base.to_string_lossy().contains("/../"));
            } else {
                assert_eq!(base, expected);
            }
        }
    }
}
