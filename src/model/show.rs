//! What `model list` and `model show` say about a model.

use std::path::PathBuf;

use serde::Serialize;

use super::files::{ModelFolder, Prompt, PromptKind, PromptOrigin};
use super::record::Identity;
use super::registry::KnownModel;

/// A file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// The path in the model folder.
    pub path: String,
    /// Bytes, where they are known.
    pub size: Option<u64>,
    /// SHA-256, where it is known.
    pub sha256: Option<String>,
}

/// A model, here or only known by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelReport {
    /// The name that it can be asked for by.
    pub name: String,
    /// `owner/name` on the hub.
    pub hub_id: Option<String>,
    /// The revision on the hub.
    pub revision: Option<String>,
    /// The licence of the weights.
    pub licence: Option<String>,
    /// Whether the hub asks for a token of somebody who accepted the licence, where that is known.
    pub gated: Option<bool>,
    /// The family of its forward pass, where it is known.
    pub architecture: Option<String>,
    /// Whether it is on this machine.
    pub here: bool,
    /// Where.
    pub path: Option<PathBuf>,
    /// What it was imported or fetched from.
    pub source: Option<String>,
    /// SHA-256 over its files; see [`Identity`].
    pub identity: Option<String>,
    /// Bytes of its files.
    pub bytes: Option<u64>,
    /// Numbers a vector has.
    pub dimensions: Option<usize>,
    /// The longest input in tokens.
    pub max_tokens: Option<usize>,
    /// The pooling.
    pub pooling: Option<String>,
    /// What makes scores of a reranker's logits; a reranker scores pairs of texts and gives no vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranker: Option<String>,
    /// Whether it has a tokenizer; without one only token ids can be embedded.
    pub tokenizer: bool,
    /// Goes before a query.
    pub query_prompt: Prompt,
    /// Goes before a document.
    pub document_prompt: Prompt,
    /// Its files.
    pub files: Vec<FileReport>,
}

impl ModelReport {
    /// A model on this machine. `identity` may be left out where hashing would take too long: then that of the import is told.
    /// `dimensions` comes from whoever read `config.json`; else it is the registry's.
    pub fn here(model: &ModelFolder, identity: Option<&Identity>, dimensions: Option<usize>) -> ModelReport {
        let known = model.known();
        let record = model.record();
        let hashed = identity.map(|identity| identity.files.as_slice()).or(record.map(|record| record.files.as_slice()));
        let files = match hashed {
            Some(files) => {
                let report = |file: &super::record::HashedFile| FileReport {
                    path: file.path.clone(),
                    size: Some(file.size),
                    sha256: Some(file.sha256.clone()),
                };
                files.iter().map(report).collect()
            }
            None => {
                let size = |name: &String| model.path().join(name).metadata().ok().map(|meta| meta.len());
                model.files().iter().map(|name| FileReport { path: name.clone(), size: size(name), sha256: None }).collect::<Vec<_>>()
            }
        };
        ModelReport {
            name: model.name().to_owned(),
            hub_id: model.hub_id().map(str::to_owned),
            revision: model.revision().map(str::to_owned),
            licence: record.and_then(|record| record.licence.clone()).or(model.hub().and(known).map(|known| known.licence.to_owned())),
            gated: known.map(|known| known.gated),
            architecture: known.map(|known| known.architecture.to_owned()),
            here: true,
            path: Some(model.path().to_path_buf()),
            source: record.map(|record| record.source.clone()),
            identity: identity.map(|identity| identity.sha256.clone()).or(record.map(|record| record.identity.clone())),
            bytes: files.iter().map(|file| file.size).sum(),
            dimensions: dimensions.or(model.settings().dimensions).or(known.map(|known| known.dimensions)),
            max_tokens: model.max_tokens(),
            pooling: model.settings().pooling.clone().or(known.map(|known| known.pooling.to_owned())),
            reranker: None,
            tokenizer: model.tokenizer().is_some(),
            query_prompt: model.prompt(PromptKind::Query, None),
            document_prompt: model.prompt(PromptKind::Document, None),
            files,
        }
    }

    /// A model of the registry that is not on this machine.
    pub fn known(known: &KnownModel) -> ModelReport {
        let prompt = |text: &str| Prompt {
            text: text.to_owned(),
            origin: if text.is_empty() { PromptOrigin::None } else { PromptOrigin::Registry },
        };
        ModelReport {
            name: known.name.to_owned(),
            hub_id: Some(known.hub_id.to_owned()),
            revision: known.revision.map(str::to_owned),
            licence: Some(known.licence.to_owned()),
            gated: Some(known.gated),
            architecture: Some(known.architecture.to_owned()),
            here: false,
            path: None,
            source: None,
            identity: None,
            bytes: None,
            dimensions: Some(known.dimensions),
            max_tokens: Some(known.max_tokens),
            pooling: Some(known.pooling.to_owned()),
            reranker: None,
            tokenizer: true,
            query_prompt: prompt(known.query_prompt),
            document_prompt: prompt(known.document_prompt),
            files: known
                .files
                .iter()
                .map(|file| FileReport { path: file.path.to_owned(), size: Some(file.size), sha256: Some(file.sha256.to_owned()) })
                .collect(),
        }
    }
}
