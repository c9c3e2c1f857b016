//! What a model folder means for the application: which files belong to it, its prompts, its longest input.
//!
//! What the forward pass reads, `patina_backend` finds ([`FolderFacts`]); here is what the tokenizer and the prompts need. Both give the
//! files that they read, and these are the model's identity.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use patina_backend::{EncoderKind, FolderFacts, ModelFiles};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::record::{self, Record};
use super::reference::ModelRef;
use super::registry::{self, KnownModel};
use super::tree::{Folder, Tree};
use crate::error::{Error, Result};
use crate::recipe::suggest;

/// The most bytes of a configuration file; real ones have a few kilobytes, and tokenizer settings at most some hundred.
const MAX_JSON: u64 = 4 << 20;
/// A longest input above this is a writer's word for "no limit".
const NO_LIMIT: f64 = 1e9;

/// Where prompts are.
const PROMPTS: &str = "config_sentence_transformers.json";
/// Beside the encoder.
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
/// Where sentence-transformers keeps the longest input, beside the encoder; the first that is there counts, in its own order.
const SENTENCE_CONFIGS: &[&str] = &[
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// The keys under which tokenizer settings name special tokens.
const SPECIAL_KEYS: &[&str] = &[
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
    "additional_special_tokens",
    "extra_special_tokens",
];

/// What the files say about texts on their way in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `prompts` of `config_sentence_transformers.json`, by name.
    pub prompts: BTreeMap<String, String>,
    /// Its `default_prompt_name`, which is one of them.
    pub default_prompt_name: Option<String>,
    /// `max_seq_length`, or else the tokenizer's `model_max_length`: the longest input in tokens, special tokens included.
    pub max_tokens: Option<usize>,
    /// Whether texts are put into lower case before the tokenizer sees them.
    pub do_lower_case: bool,
    /// Whether the prompt's tokens take part in the pooling.
    pub include_prompt: bool,
    /// The pooling modes, joined by `+`; none if no file says them.
    pub pooling: Option<String>,
    /// Numbers of a vector, as far as the small files say.
    pub dimensions: Option<usize>,
    /// What the tokenizer's settings say beside `tokenizer.json`.
    pub tokens: TokenSettings,
}

/// The part of a tokenizer's settings that `tokenizer.json` does not hold, or that goes before what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSettings {
    /// Whether a long text loses its beginning (`truncation_side: left`); none leaves it to `tokenizer.json`.
    pub cut_left: Option<bool>,
    /// The token that begins every text, if `add_bos_token` asks for one.
    pub begin: Option<String>,
    /// The token that ends every text, if `add_eos_token` asks for one.
    pub end: Option<String>,
    /// Every special token that has a role.
    pub special: BTreeSet<String>,
    /// Whether texts get no special tokens: a table of token vectors was made without.
    pub plain: bool,
    /// Whether tokens that the tokenizer does not know are left out, as model2vec leaves them out.
    pub known_only: bool,
}

/// The files of a model and what they say; names are relative, sorted, with forward slashes.
pub(super) struct Layout {
    pub(super) files: Vec<String>,
    pub(super) settings: Settings,
    /// Where the encoder and its tokenizer lie: empty, or a folder with a slash at its end.
    pub(super) encoder: String,
    /// The file that names the architecture, if the model is no table of token vectors.
    pub(super) config: Option<String>,
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
    /// The name of old releases.
    max_len: Option<f64>,
    truncation_side: Option<String>,
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

/// A tree as the forward pass reads it.
struct Files<'a>(&'a mut dyn Tree);

impl ModelFiles for Files<'_> {
    type Error = Error;

    fn has(&self, name: &str) -> bool {
        self.0.has(name)
    }

    fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>> {
        self.0.read(name, limit)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }
}

impl Layout {
    /// Finds the files of the model at the root of a tree. Nothing that is large is read.
    pub(super) fn read(tree: &mut dyn Tree) -> Result<Layout> {
        let facts = FolderFacts::read(&mut Files(tree))?;
        let mut files: BTreeSet<String> = facts.files().map(str::to_owned).collect();
        let mut settings = Settings { include_prompt: true, dimensions: facts.dimensions(), ..Settings::default() };
        if let Some(pooling) = &facts.pooling {
            settings.include_prompt = pooling.include_prompt;
            settings.pooling = Some(pooling.modes.iter().map(|mode| mode.name()).collect::<Vec<_>>().join("+"));
        }
        if let (Some(whole), Some(kept)) = (settings.dimensions, facts.truncate) {
            settings.dimensions = Some(whole.min(kept));
        }
        let beside = |name: &str| format!("{}{name}", facts.encoder);
        if let Some(config) = SENTENCE_CONFIGS.iter().map(|name| beside(name)).find(|name| tree.has(name)) {
            let file: SentenceFile = json(tree, &config)?;
            settings.max_tokens = file.max_seq_length.filter(|&tokens| tokens > 0);
            settings.do_lower_case = file.do_lower_case.unwrap_or(false);
            files.insert(config);
        }
        let (config, map) = (beside(TOKENIZER_CONFIG), beside(SPECIAL_TOKENS));
        if tree.has(&config) {
            let file: TokenizerFile = json(tree, &config)?;
            let length = file.model_max_length.or(file.max_len).filter(|tokens| (1.0..NO_LIMIT).contains(tokens));
            settings.max_tokens = settings.max_tokens.or(facts.max_tokens).or(length.map(|tokens| tokens as usize));
            settings.tokens = token_settings(tree, &config, &file)?;
            files.insert(config);
        }
        settings.max_tokens = settings.max_tokens.or(facts.max_tokens);
        if tree.has(&map) {
            let file: BTreeMap<String, Value> = json(tree, &map)?;
            special_tokens(&file, &mut settings.tokens.special);
            files.insert(map);
        }
        settings.tokens.plain = facts.kind != EncoderKind::Transformer;
        settings.tokens.known_only = facts.kind == EncoderKind::Model2Vec;
        files.extend(Some(beside(TOKENIZER)).filter(|name| tree.has(name)));
        if tree.has(PROMPTS) {
            let file: PromptsFile = json(tree, PROMPTS)?;
            settings.prompts = file.prompts.unwrap_or_default().into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
            settings.default_prompt_name = file.default_prompt_name;
            if let Some(name) = settings.default_prompt_name.as_ref().filter(|name| !settings.prompts.contains_key(*name)) {
                let names: Vec<&str> = settings.prompts.keys().map(String::as_str).collect();
                return Err(Error::usage(format!("the default prompt is {name:?}, and the file has no prompt of that name"))
                    .at(tree.path(PROMPTS))
                    .hint(format!("prompts are {}; correct `default_prompt_name`", suggest::list(&names))));
            }
            files.insert(PROMPTS.to_owned());
        }
        let config = Some(beside("config.json")).filter(|name| facts.kind == EncoderKind::Transformer && tree.has(name));
        Ok(Layout { files: files.into_iter().collect(), settings, encoder: facts.encoder, config })
    }
}

fn token_settings(tree: &dyn Tree, name: &str, file: &TokenizerFile) -> Result<TokenSettings> {
    let cut_left = match file.truncation_side.as_deref() {
        None => None,
        Some("left") => Some(true),
        Some("right") => Some(false),
        Some(other) => {
            let error = Error::usage(format!("`truncation_side` is {other:?}, which is no side"));
            return Err(error.at(tree.path(name)).hint("it is `left` or `right`"));
        }
    };
    let token = |asked: Option<bool>, key: &str| asked.filter(|&asked| asked).and_then(|_| content(file.other.get(key)?));
    let mut special = BTreeSet::new();
    special_tokens(&file.other, &mut special);
    Ok(TokenSettings {
        cut_left,
        begin: token(file.add_bos_token, "bos_token"),
        end: token(file.add_eos_token, "eos_token"),
        special,
        ..TokenSettings::default()
    })
}

/// A token as its text, or as an object with its `content`.
fn content(token: &Value) -> Option<String> {
    token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
}

fn special_tokens(settings: &BTreeMap<String, Value>, into: &mut BTreeSet<String>) {
    for value in SPECIAL_KEYS.iter().filter_map(|key| settings.get(*key)) {
        match value {
            Value::Array(tokens) => into.extend(tokens.iter().filter_map(content)),
            token => into.extend(content(token)),
        }
    }
}

fn json<T: DeserializeOwned>(tree: &mut dyn Tree, name: &str) -> Result<T> {
    let bytes = tree.read(name, MAX_JSON)?;
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
    encoder: String,
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
    /// Fails with [`ErrorKind::Missing`](crate::error::ErrorKind::Missing) if it is no model that can be run, with
    /// [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt) if a file of it does not parse.
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
        Ok(ModelFolder {
            path: path.to_path_buf(),
            name,
            known,
            record,
            files: layout.files,
            settings: layout.settings,
            encoder: layout.encoder,
            hub: None,
        })
    }

    /// Opens a folder in the cache of the hub's clients; `record` is what a fetch wrote down, if Patina fetched it.
    pub(super) fn open_snapshot(path: &Path, reference: &ModelRef, id: &str, commit: &str, record: Option<Record>) -> Result<ModelFolder> {
        let layout = Layout::read(&mut Folder::new(path))?;
        let name = reference.to_string();
        let hub = HubPlace { id: id.to_owned(), commit: commit.to_owned(), pinned: reference.pinned(), reference: name.clone() };
        let (files, settings, encoder) = (layout.files, layout.settings, layout.encoder);
        Ok(ModelFolder { path: path.to_path_buf(), name, known: reference.known(), record, files, settings, encoder, hub: Some(hub) })
    }

    /// `owner/name` on the hub, where it is known.
    pub fn hub_id(&self) -> Option<&str> {
        self.record.as_ref().and_then(|record| record.hub_id.as_deref()).or(self.hub.as_ref().map(|hub| hub.id.as_str()))
    }

    /// The revision on the hub, where it is known.
    pub fn revision(&self) -> Option<&str> {
        self.record.as_ref().and_then(|record| record.revision.as_deref()).or(self.commit())
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
        let name = format!("{}{TOKENIZER}", self.encoder);
        self.files.contains(&name).then(|| self.path.join(name))
    }

    /// The longest input in tokens that the files ask for, or else the registry; `None` leaves it to the architecture.
    pub fn max_tokens(&self) -> Option<usize> {
        self.settings.max_tokens.or(self.known.map(|known| known.max_tokens))
    }

    /// The prompt of a name in the model's files, such as `clustering`.
    pub fn named_prompt(&self, name: &str) -> Result<Prompt> {
        let found = self.settings.prompts.get(name).map(|text| Prompt { text: text.clone(), origin: PromptOrigin::Files });
        found.ok_or_else(|| {
            let names: Vec<&str> = self.settings.prompts.keys().map(String::as_str).collect();
            let hint = if names.is_empty() { "its files have no prompts".to_owned() } else { suggest::one_of(name, &names) };
            Error::usage(format!("the model {} has no prompt {name:?}", self.name)).hint(hint)
        })
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
        let mut files = names.iter().copied().chain(self.settings.default_prompt_name.as_deref());
        if let Some(text) = files.find_map(|name| self.settings.prompts.get(name)).filter(|text| !text.is_empty()) {
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
