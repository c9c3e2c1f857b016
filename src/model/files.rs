//! What a model folder means for the application: which files belong to it, its prompts, its longest input.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::record::{self, Record};
use super::reference::ModelRef;
use super::registry::{self, KnownModel};
use super::tree::{Folder, Tree};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;

/// The most bytes of a configuration file; real ones have a few kilobytes, and tokenizer settings at most some hundred.
const MAX_JSON: u64 = 4 << 20;
/// The most bytes of a list of shards.
const MAX_INDEX: u64 = 16 << 20;
/// The most modules and the most shards.
const MAX_PARTS: usize = 1000;
/// A longest input above this is a writer's word for "no limit".
const NO_LIMIT: f64 = 1e9;

/// Files at the root that belong to a model if they are there, beside the weights and what `modules.json` names.
const ROOT_FILES: &[&str] = &[
    "config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
];
/// Where sentence-transformers keeps the longest input; the first that is there counts, in its own order.
const SENTENCE_CONFIGS: &[&str] = &[
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];
const WEIGHTS: &str = "model.safetensors";
const SHARDS: &str = "model.safetensors.index.json";
const PICKLE: &str = "pytorch_model.bin";

/// What the files say about texts on their way in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `prompts` of `config_sentence_transformers.json`, by name.
    pub prompts: BTreeMap<String, String>,
    /// Its `default_prompt_name`.
    pub default_prompt_name: Option<String>,
    /// `max_seq_length`, or else the tokenizer's `model_max_length`: the longest input in tokens, special tokens included.
    pub max_tokens: Option<usize>,
    /// Whether texts are put into lower case before the tokenizer sees them.
    pub do_lower_case: bool,
    /// Whether the prompt's tokens take part in the pooling.
    pub include_prompt: bool,
    /// The pooling modes that are switched on, joined by `+`; the backends read the file themselves.
    pub pooling: Option<String>,
}

/// The files of a model and what they say; names are relative, sorted, with forward slashes.
pub(super) struct Layout {
    pub(super) files: Vec<String>,
    pub(super) settings: Settings,
}

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
    path: String,
}

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct PromptsFile {
    prompts: Option<BTreeMap<String, Option<String>>>,
    default_prompt_name: Option<String>,
}

#[derive(Default, Deserialize)]
struct SentenceFile {
    max_seq_length: Option<usize>,
    do_lower_case: Option<bool>,
}

#[derive(Default, Deserialize)]
struct TokenizerFile {
    model_max_length: Option<f64>,
}

impl Layout {
    /// Finds the files of the model at the root of a tree. Nothing that is large is read.
    pub(super) fn read(tree: &mut dyn Tree) -> Result<Layout> {
        if !tree.has("config.json") {
            return Err(Error::missing("the folder is no model: it has no config.json")
                .at(tree.path(""))
                .hint("a model folder has config.json, modules.json, tokenizer.json and model.safetensors"));
        }
        let mut files: BTreeSet<String> = ROOT_FILES.iter().filter(|name| tree.has(name)).map(|name| (*name).to_owned()).collect();
        add_weights(tree, "", true, &mut files)?;
        let mut settings = Settings { include_prompt: true, ..Settings::default() };
        for module in modules(tree)? {
            let name = |file: &str| format!("{}/{file}", module.path);
            // Old classes and new ones differ in everything but their last word.
            let kind = module.kind.rsplit('.').next().unwrap_or_default();
            if module.path.is_empty() {
                continue;
            }
            if kind == "Transformer" {
                return Err(Error::new(
                    ErrorKind::Missing,
                    format!("the model keeps its transformer in {}/, which is not supported", module.path),
                )
                .at(tree.path("modules.json"))
                .hint("load it with a current sentence-transformers and save it again"));
            }
            if tree.has(&name("config.json")) {
                if kind == "Pooling" && settings.pooling.is_none() {
                    pooling(tree, &name("config.json"), &mut settings)?;
                }
                files.insert(name("config.json"));
            }
            add_weights(tree, &format!("{}/", module.path), kind == "Dense", &mut files)?;
        }
        if let Some(config) = SENTENCE_CONFIGS.iter().find(|name| tree.has(name)) {
            files.insert((*config).to_owned());
            let file: SentenceFile = json(tree, config, MAX_JSON)?;
            settings.max_tokens = file.max_seq_length.filter(|&tokens| tokens > 0);
            settings.do_lower_case = file.do_lower_case.unwrap_or(false);
        }
        if settings.max_tokens.is_none() && tree.has("tokenizer_config.json") {
            let file: TokenizerFile = json(tree, "tokenizer_config.json", MAX_JSON)?;
            settings.max_tokens = file.model_max_length.filter(|tokens| (1.0..NO_LIMIT).contains(tokens)).map(|tokens| tokens as usize);
        }
        if tree.has("config_sentence_transformers.json") {
            let file: PromptsFile = json(tree, "config_sentence_transformers.json", MAX_JSON)?;
            settings.prompts = file.prompts.unwrap_or_default().into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
            settings.default_prompt_name = file.default_prompt_name;
        }
        Ok(Layout { files: files.into_iter().collect(), settings })
    }
}

/// Adds the weights of a folder (`before` is its name with a slash): one file, or the shards that the list names.
fn add_weights(tree: &mut dyn Tree, before: &str, required: bool, files: &mut BTreeSet<String>) -> Result<()> {
    let (single, index) = (format!("{before}{WEIGHTS}"), format!("{before}{SHARDS}"));
    if tree.has(&single) {
        files.insert(single);
        return Ok(());
    }
    if tree.has(&index) {
        let list: ShardIndex = json(tree, &index, MAX_INDEX)?;
        let shards: BTreeSet<String> = list.weight_map.into_values().collect();
        if shards.is_empty() || shards.len() > MAX_PARTS {
            return Err(Error::corrupt(format!("the list names {} shards", shards.len())).at(tree.path(&index)));
        }
        for shard in shards {
            fs::contained(tree.place(), &shard)?;
            let name = format!("{before}{shard}");
            if !shard.ends_with(".safetensors") {
                return Err(
                    Error::corrupt(format!("the list names the shard `{shard}`, which is no safetensors file")).at(tree.path(&index))
                );
            }
            if !tree.has(&name) {
                return Err(Error::missing("a shard of the weights is missing").at(tree.path(&name)).hint("get the whole model"));
            }
            files.insert(name);
        }
        files.insert(index);
        return Ok(());
    }
    let pickle = format!("{before}{PICKLE}");
    if tree.has(&pickle) {
        return Err(Error::missing("the model has its weights only as pytorch_model.bin")
            .at(tree.path(&pickle))
            .hint("that is a pickle, which can run code and is never read: load it in Python and save it as safetensors"));
    }
    if required {
        return Err(Error::missing("the weights are not there")
            .at(tree.path(&single))
            .hint("a model has model.safetensors, or a list of shards and the shards"));
    }
    Ok(())
}

fn modules(tree: &mut dyn Tree) -> Result<Vec<Module>> {
    if !tree.has("modules.json") {
        return Ok(Vec::new());
    }
    let modules: Vec<Module> = json(tree, "modules.json", MAX_JSON)?;
    if modules.len() > MAX_PARTS {
        return Err(Error::corrupt(format!("the file names {} modules", modules.len())).at(tree.path("modules.json")));
    }
    for module in &modules {
        fs::contained(tree.place(), &module.path)?;
    }
    Ok(modules)
}

fn pooling(tree: &mut dyn Tree, name: &str, settings: &mut Settings) -> Result<()> {
    const MODES: [(&str, &str); 6] = [
        ("pooling_mode_cls_token", "cls"),
        ("pooling_mode_lasttoken", "lasttoken"),
        ("pooling_mode_max_tokens", "max"),
        ("pooling_mode_mean_tokens", "mean"),
        ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
        ("pooling_mode_weightedmean_tokens", "weightedmean"),
    ];
    let config: BTreeMap<String, Value> = json(tree, name, MAX_JSON)?;
    settings.include_prompt = config.get("include_prompt").and_then(Value::as_bool).unwrap_or(true);
    let on = |key: &str| config.get(key).and_then(Value::as_bool) == Some(true);
    settings.pooling = match config.get("pooling_mode").and_then(Value::as_str) {
        Some(mode) => Some(mode.to_owned()),
        None => {
            let modes: Vec<&str> = MODES.iter().filter(|(key, _)| on(key)).map(|&(_, word)| word).collect();
            (!modes.is_empty()).then(|| modes.join("+"))
        }
    };
    Ok(())
}

fn json<T: DeserializeOwned>(tree: &mut dyn Tree, name: &str, limit: u64) -> Result<T> {
    let bytes = tree.read(name, limit)?;
    serde_json::from_slice(&bytes).map_err(|e| {
        Error::corrupt(format!("the file does not parse: {e}"))
            .at_line(tree.path(name), e.line().max(1), e.column().max(1))
            .hint("get the model's files again")
            .caused_by(e)
    })
}

/// Which side of a search a text is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptKind {
    /// What is searched for.
    Query,
    /// What is found.
    Document,
}

/// Where a prompt comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptOrigin {
    /// The recipe.
    Recipe,
    /// The model's own files.
    Files,
    /// Patina's table of known models.
    Registry,
    /// Nowhere: the model wants none.
    None,
}

/// A text that goes before every query or document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Prompt {
    /// The text; empty for none.
    pub text: String,
    /// Where it comes from.
    pub origin: PromptOrigin,
}

/// A model on disk.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    path: PathBuf,
    name: String,
    known: Option<&'static KnownModel>,
    record: Option<Record>,
    files: Vec<String>,
    settings: Settings,
    hub: Option<HubPlace>,
}

/// Where on the hub a model in the cache of the hub's clients is from.
#[derive(Clone, Debug)]
pub(super) struct HubPlace {
    /// `owner/name`
    pub(super) id: String,
    pub(super) commit: String,
    /// The registry's entry, if its hashes must hold.
    pub(super) pinned: Option<&'static KnownModel>,
    /// How the model was asked for.
    pub(super) reference: String,
}

impl ModelFolder {
    /// Opens a folder that the user names or that lies in the cache; reads only the small files.
    ///
    /// Fails with [`ErrorKind::Missing`] if it is no model that can be run, [`ErrorKind::Corrupt`] if a file of it does not parse.
    pub fn open(path: &Path) -> Result<ModelFolder> {
        if !path.is_dir() {
            return Err(Error::missing("there is no such folder")
                .at(path)
                .hint("name a model folder, or a model that `patina model list` shows"));
        }
        let layout = Layout::read(&mut Folder::new(path))?;
        let record = record::read(path)?;
        let name = match &record {
            Some(record) => record.name.clone(),
            None => folder_name(path),
        };
        // Only an import says that a folder is a known model: a folder's name alone is a guess.
        let known = record.as_ref().and_then(|record| registry::find(&record.name).or_else(|| registry::find(record.hub_id.as_deref()?)));
        Ok(ModelFolder { path: path.to_path_buf(), name, known, record, files: layout.files, settings: layout.settings, hub: None })
    }

    /// Opens a folder in the cache of the hub's clients; `record` is what a fetch wrote down, if Patina fetched it.
    pub(super) fn open_snapshot(path: &Path, reference: &ModelRef, id: &str, commit: &str, record: Option<Record>) -> Result<ModelFolder> {
        let layout = Layout::read(&mut Folder::new(path))?;
        let name = reference.to_string();
        let hub = HubPlace { id: id.to_owned(), commit: commit.to_owned(), pinned: reference.pinned(), reference: name.clone() };
        let (files, settings) = (layout.files, layout.settings);
        Ok(ModelFolder { path: path.to_path_buf(), name, known: reference.known(), record, files, settings, hub: Some(hub) })
    }

    /// The commit on the hub that it is, if it lies in the cache of the hub's clients.
    pub fn commit(&self) -> Option<&str> {
        self.hub.as_ref().map(|hub| hub.commit.as_str())
    }

    /// Where on the hub it is from, if it lies in the cache of the hub's clients.
    pub(super) fn hub(&self) -> Option<&HubPlace> {
        self.hub.as_ref()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name: the one it was imported under, or the folder's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name as a folder's name, for what is derived from the model.
    pub fn directory_name(&self) -> String {
        let safe: String =
            self.name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-@".contains(c) { c } else { '-' }).take(96).collect();
        match safe.trim_matches(['.', '-']) {
            "" => "model".to_owned(),
            name => name.to_owned(),
        }
    }

    /// The registry's entry, if it was imported or fetched as a known model.
    pub fn known(&self) -> Option<&'static KnownModel> {
        self.known
    }

    /// What was written down when it was imported or fetched.
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// The files that belong to it, relative, sorted.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// What the files say about texts.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The tokenizer, if there is one; without it only token ids can be embedded.
    pub fn tokenizer(&self) -> Option<PathBuf> {
        self.files.iter().any(|name| name == "tokenizer.json").then(|| self.path.join("tokenizer.json"))
    }

    /// The longest input in tokens that the files ask for, or else the registry; `None` leaves it to the architecture.
    pub fn max_tokens(&self) -> Option<usize> {
        self.settings.max_tokens.or(self.known.map(|known| known.max_tokens))
    }

    /// The prompt of queries or documents. The recipe's word counts first, an empty one meaning none; then the files' prompt of that
    /// name (`query`; `document`, `passage` or `corpus`) or their default one; then the registry's. An empty prompt in the files says
    /// nothing: newer versions of sentence-transformers write it for every model.
    pub fn prompt(&self, kind: PromptKind, recipe: Option<&str>) -> Prompt {
        if let Some(text) = recipe {
            return Prompt { text: text.to_owned(), origin: PromptOrigin::Recipe };
        }
        let names: &[&str] = match kind {
            PromptKind::Query => &["query"],
            PromptKind::Document => &["document", "passage", "corpus"],
        };
        let files = names.iter().copied().chain(self.settings.default_prompt_name.as_deref());
        if let Some(text) = files.filter_map(|name| self.settings.prompts.get(name)).find(|text| !text.is_empty()) {
            return Prompt { text: text.clone(), origin: PromptOrigin::Files };
        }
        let registry = self.known.map_or("", |known| match kind {
            PromptKind::Query => known.query_prompt,
            PromptKind::Document => known.document_prompt,
        });
        let origin = if registry.is_empty() { PromptOrigin::None } else { PromptOrigin::Registry };
        Prompt { text: registry.to_owned(), origin }
    }
}

pub(super) fn folder_name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    whole.file_name().map_or("model".to_owned(), |name| name.to_string_lossy().into_owned())
}
