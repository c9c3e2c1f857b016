//! A model folder as the forward pass needs it: architecture, head and weights, read and checked.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::architectures::{self, Architecture};
use crate::engine::{EngineInfo, Precision, Runtime, WeightsOrigin};
use crate::error::{EngineError, Result};
use crate::facts::{EncoderKind, FolderFacts};
use crate::folder::{CONFIG_LIMIT, read_json};
use crate::head::Head;
use crate::ops::Ops;
use crate::pooling::Pooling;
use crate::weights::Weights;

/// What is put in place of what a model's files say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelOptions {
    /// How many leading numbers of a vector are kept; the model must have been trained for it (Matryoshka).
    pub dimensions: Option<usize>,
    /// The pooling. A model without `modules.json` needs it.
    pub pooling: Option<Pooling>,
}

/// A model that is ready to be loaded into any runtime.
pub struct Model {
    folder: PathBuf,
    facts: FolderFacts,
    architecture: Architecture,
    head: Head,
    weights: Weights,
}

impl Model {
    /// Opens a folder in the layout of sentence-transformers: `config.json`, `modules.json`, the folders that it names, and
    /// safetensors. Everything is checked here: an unknown architecture, pooling or activation, a missing tensor or a wrong shape
    /// is an error with the file's path.
    pub fn open(folder: &Path) -> Result<Model> {
        Model::open_with(folder, &ModelOptions::default())
    }

    /// Like [`Model::open`], with other dimensions or another pooling than the files ask for. Dimensions that the model does not have
    /// are an error.
    pub fn open_with(folder: &Path, options: &ModelOptions) -> Result<Model> {
        let facts = FolderFacts::of_folder(folder)?;
        let encoder = folder.join(&facts.encoder);
        let path = encoder.join("config.json");
        let config: Value = match facts.kind {
            // A table of token vectors has no config.json, or one that says no more than this of its forward pass.
            EncoderKind::Static | EncoderKind::Model2Vec => json!({ "model_type": architectures::STATIC }),
            EncoderKind::Transformer => read_json(&path, CONFIG_LIMIT)?,
        };
        let mut weights = Weights::open(&encoder)?;
        let architecture = architectures::load(&config, &path, &weights)?;
        let head = Head::open(folder, &facts, architecture.hidden(), options, &mut weights)?;
        Ok(Model { folder: folder.to_path_buf(), facts, architecture, head, weights })
    }

    /// Opens a model that scores pairs of texts; see [`CrossEncoder::open`](crate::CrossEncoder::open).
    pub(crate) fn open_classifier(folder: &Path, facts: FolderFacts) -> Result<(Model, Value)> {
        let encoder = folder.join(&facts.encoder);
        let path = encoder.join("config.json");
        let config: Value = read_json(&path, CONFIG_LIMIT)?;
        let weights = Weights::open(&encoder)?;
        let (architecture, classifier) = architectures::load_classifier(&config, &path, &weights)?;
        let head = Head::of_classifier(classifier);
        Ok((Model { folder: folder.to_path_buf(), facts, architecture, head, weights }, config))
    }

    /// What the small files say, and which files were read.
    pub fn facts(&self) -> &FolderFacts {
        &self.facts
    }

    /// Whether the bytes of a `config.json` describe an encoder that `weights` hold whole.
    pub fn check_config(config: &[u8], weights: &Weights) -> Result<()> {
        let path = Path::new("config.json");
        let config: Value =
            serde_json::from_slice(config).map_err(|e| EngineError::model(path, format!("the file does not parse: {e}")))?;
        architectures::load(&config, path, weights).map(|_| ())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Pooling, dense heads and normalization.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The architecture, as `model_type` names it.
    pub fn architecture(&self) -> &'static str {
        self.architecture.model_type()
    }

    /// All tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Numbers of a vector.
    pub fn dimensions(&self) -> usize {
        self.head.dimensions
    }

    /// The longest row in tokens that the architecture takes. A model may ask for shorter rows than it could take; that is the
    /// tokenizer's matter.
    pub fn max_tokens(&self) -> usize {
        self.architecture.max_tokens()
    }

    /// What an engine that carries this model, with its own weights, says of itself.
    pub fn info(&self, runtime: Runtime, runtime_version: String, device: &str, precision: Precision) -> EngineInfo {
        EngineInfo {
            runtime,
            runtime_version,
            device: device.to_owned(),
            precision,
            weights: WeightsOrigin::Model,
            architecture: self.architecture.model_type().to_owned(),
            dimensions: self.dimensions(),
            max_tokens: self.max_tokens(),
            vocabulary: self.architecture.vocabulary(),
        }
    }

    /// The whole forward pass, from the batch's ids to `[rows, dimensions]`.
    pub fn forward<O: Ops>(&self, ops: &mut O) -> Result<O::Tensor> {
        let hidden = self.architecture.forward(ops, self.head.only())?;
        self.head.forward(ops, hidden)
    }
}
