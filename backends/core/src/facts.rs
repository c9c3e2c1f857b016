//! What the small files of a model folder say: where the encoder lies, what follows it, and which files were read to know.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::architectures::STATIC;
use crate::error::{EngineError, Result};
use crate::folder::{CONFIG_LIMIT, Disk, ModelFiles, WeightFiles, contained, json};
use crate::ops::Activation;
use crate::pooling::Pooling;

/// The most modules of a model; real ones have at most six.
const MAX_MODULES: usize = 1000;

/// Where model2vec cuts texts unless its configuration says otherwise (`null` for nowhere).
const MODEL2VEC_TOKENS: usize = 512;

/// The classes that a model may be made of, as errors list them.
const SUPPORTED: &str = "a Transformer (or StaticEmbedding), a Pooling, then Dense, LayerNorm, Normalize and Dropout";

/// What comes first and knows tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncoderKind {
    /// The architecture that `config.json` names.
    Transformer,
    /// A table of token vectors and nothing else (`StaticEmbedding`): their mean is the text's.
    Static,
    /// The same as model2vec makes it: tokens that it does not know are no part of a text.
    Model2Vec,
}

/// The pooling that the model's files ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolingFacts {
    /// The modes; several are put side by side, in this order.
    pub modes: Vec<Pooling>,
    /// Whether the prompt's tokens take part.
    pub include_prompt: bool,
    /// Numbers of one token's vector as the file says, if it does.
    pub width: Option<usize>,
    /// The file.
    pub file: String,
}

/// A step after the pooling.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StepFacts {
    /// A linear layer; `residual` adds what comes in to what comes out.
    Dense {
        folder: String,
        input: usize,
        output: usize,
        bias: bool,
        activation: Option<Activation>,
        residual: bool,
    },
    LayerNorm {
        folder: String,
        width: usize,
    },
    Normalize,
}

/// A model folder as its small files describe it. Weights are found and not read.
#[derive(Clone, Debug, PartialEq)]
pub struct FolderFacts {
    /// Where the encoder lies: empty, or a folder with a slash at its end, such as `0_Transformer/`.
    pub encoder: String,
    /// What the encoder is.
    pub kind: EncoderKind,
    /// The pooling; none if no file says it.
    pub pooling: Option<PoolingFacts>,
    pub(crate) steps: Vec<StepFacts>,
    /// Where the encoder's own files cut texts, in tokens: model2vec's `max_length`.
    pub max_tokens: Option<usize>,
    /// `truncate_dim`: how many leading numbers of a vector the model's authors want.
    pub truncate: Option<usize>,
    /// Whether the files say that the model scores pairs of texts (sentence-transformers' `CrossEncoder`, as newer releases write it).
    pub cross_encoder: bool,
    /// The class that is applied to a cross-encoder's logits, as `config_sentence_transformers.json` names it.
    pub(crate) activation: Option<String>,
    files: BTreeSet<String>,
}

#[derive(Deserialize)]
struct ModuleEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
}

#[derive(Deserialize)]
struct DenseConfig {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    /// The constructor's own default.
    #[serde(default = "tanh")]
    activation_function: String,
    #[serde(default)]
    use_residual: bool,
}

#[derive(Deserialize)]
struct NormConfig {
    dimension: usize,
}

#[derive(Deserialize)]
struct SentenceTransformersConfig {
    truncate_dim: Option<usize>,
    /// The class that wrote the folder.
    model_type: Option<String>,
    activation_fn: Option<String>,
}

fn yes() -> bool {
    true
}

fn tanh() -> String {
    "torch.nn.modules.activation.Tanh".into()
}

impl FolderFacts {
    /// Reads the folder of a model on disk.
    pub fn of_folder(folder: &Path) -> Result<FolderFacts> {
        FolderFacts::read(&mut Disk(folder))
    }

    /// Reads `modules.json`, what it names, and `config_sentence_transformers.json`, and finds the weights. An unknown module,
    /// pooling or activation, a pickle, a path that leaves the folder: each is an error with the file's path.
    pub fn read<F: ModelFiles>(files: &mut F) -> Result<FolderFacts, F::Error> {
        let mut facts = FolderFacts {
            encoder: String::new(),
            kind: EncoderKind::Transformer,
            pooling: None,
            steps: Vec::new(),
            max_tokens: None,
            truncate: None,
            cross_encoder: false,
            activation: None,
            files: BTreeSet::new(),
        };
        if files.has(SENTENCE_TRANSFORMERS) {
            let config: SentenceTransformersConfig = json(files, SENTENCE_TRANSFORMERS, CONFIG_LIMIT)?;
            facts.truncate = config.truncate_dim;
            facts.cross_encoder = config.model_type.as_deref() == Some("CrossEncoder");
            facts.activation = config.activation_fn;
            facts.files.insert(SENTENCE_TRANSFORMERS.into());
        }
        if files.has(MODULES) {
            facts.modules(files)?;
        }
        let config = format!("{}config.json", facts.encoder);
        if files.has(&config) {
            if facts.kind == EncoderKind::Static || facts.pooling.is_none() {
                facts.of_model2vec(files, &config)?;
            }
            facts.files.insert(config);
        } else if facts.kind == EncoderKind::Transformer {
            return Err(EngineError::Missing {
                path: files.path(""),
                reason: format!("the folder is no model: it has no {config}"),
                hint: "a model folder has config.json, modules.json, tokenizer.json and model.safetensors".into(),
            }
            .into());
        }
        facts.weights(files, facts.encoder.clone())?;
        Ok(facts)
    }

    /// The files that the forward pass depends on, relative, sorted.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    /// Numbers of the whole vector, as far as the small files say: only `config.json` and the weights know it for certain.
    pub fn dimensions(&self) -> Option<usize> {
        let pooled = self.pooling.as_ref().and_then(|pooling| Some(pooling.width? * pooling.modes.len()));
        self.steps.iter().fold(pooled, |before, step| match step {
            StepFacts::Dense { output, .. } => Some(*output),
            StepFacts::LayerNorm { .. } | StepFacts::Normalize => before,
        })
    }

    /// Whether the last step gives vectors unit length.
    pub fn normalizes(&self) -> bool {
        self.steps.last() == Some(&StepFacts::Normalize)
    }

    fn weights<F: ModelFiles>(&mut self, files: &mut F, before: String) -> Result<(), F::Error> {
        let found = WeightFiles::find(files, &before)?;
        self.files.extend(found.tensors);
        self.files.extend(found.index.map(|(name, _)| name));
        Ok(())
    }

    fn modules<F: ModelFiles>(&mut self, files: &mut F) -> Result<(), F::Error> {
        let modules: Vec<ModuleEntry> = json(files, MODULES, CONFIG_LIMIT)?;
        self.files.insert(MODULES.into());
        let path = files.path(MODULES);
        if modules.len() > MAX_MODULES {
            let reason = format!("the file names {} modules", modules.len());
            return Err(EngineError::Damaged { path, at: None, reason }.into());
        }
        // No path is followed before all are known to stay inside. model2vec writes its own folder as `.`.
        let inside = |module: &ModuleEntry| contained("", if module.path == "." { "" } else { &module.path }, &path);
        let names: Vec<String> = modules.iter().map(inside).collect::<Result<_>>()?;
        for (at, (module, name)) in modules.iter().zip(names).enumerate() {
            let folder = if name.is_empty() { String::new() } else { format!("{name}/") };
            let refused = |reason: String| F::Error::from(EngineError::model(&path, reason));
            let Some(kind) = class(&module.kind) else {
                let reason = format!("module {at} is {:?}, a class of the model's own, whose code Patina does not run", module.kind);
                return Err(refused(reason));
            };
            match (at, kind) {
                (0, "Transformer") => self.encoder = folder,
                (0, "StaticEmbedding") => {
                    self.encoder = folder;
                    self.kind = EncoderKind::Static;
                    self.pooling = Some(static_pooling(MODULES));
                }
                (1, "Pooling") if self.pooling.is_none() => {
                    let file = format!("{folder}config.json");
                    self.pooling = Some(pooling(files, &file)?);
                    self.files.insert(file);
                }
                (1.., "Dense" | "LayerNorm" | "Normalize") if self.pooling.is_some() => {
                    let step = self.step(files, kind, folder)?;
                    self.steps.push(step);
                }
                // It does nothing outside training.
                (1.., "Dropout") if self.pooling.is_some() => {}
                _ => {
                    return Err(refused(format!(
                        "module {at} is {:?}, which is not supported there; supported are {SUPPORTED}",
                        module.kind
                    )));
                }
            }
        }
        match self.pooling {
            Some(_) => Ok(()),
            // It gives a number for a pair, and no vector that were pooled.
            None if self.cross_encoder && modules.len() == 1 => Ok(()),
            None => Err(EngineError::model(path, format!("the file names no pooling; supported are {SUPPORTED}")).into()),
        }
    }

    /// A folder as model2vec writes it: without `modules.json`, its own configuration says what that says elsewhere.
    fn of_model2vec<F: ModelFiles>(&mut self, files: &mut F, name: &str) -> Result<(), F::Error> {
        let config: Value = json(files, name, CONFIG_LIMIT)?;
        if config.get("model_type").and_then(Value::as_str) != Some(STATIC) {
            return Ok(());
        }
        self.kind = EncoderKind::Model2Vec;
        self.max_tokens = match config.get("max_length") {
            None => Some(MODEL2VEC_TOKENS),
            Some(length) => length.as_u64().map(|length| length as usize),
        };
        if self.pooling.is_none() {
            self.pooling = Some(static_pooling(name));
            if config.get("normalize") == Some(&Value::Bool(true)) {
                self.steps.push(StepFacts::Normalize);
            }
        }
        Ok(())
    }

    /// Reads the configuration of a step after the pooling.
    fn step<F: ModelFiles>(&mut self, files: &mut F, kind: &str, folder: String) -> Result<StepFacts, F::Error> {
        let name = format!("{folder}config.json");
        if kind == "Normalize" {
            // Older releases wrote no file.
            if files.has(&name) {
                on_sentences(&json(files, &name, CONFIG_LIMIT)?, &files.path(&name))?;
                self.files.insert(name);
            }
            return Ok(StepFacts::Normalize);
        }
        let values: Map<String, Value> = json(files, &name, CONFIG_LIMIT)?;
        let path = files.path(&name);
        on_sentences(&values, &path)?;
        self.files.insert(name);
        self.weights(files, folder.clone())?;
        let unfit = |e: serde_json::Error| EngineError::model(&path, format!("the file does not fit a {kind}: {e}"));
        if kind == "LayerNorm" {
            let NormConfig { dimension: width } = serde_json::from_value(Value::Object(values)).map_err(unfit)?;
            return Ok(StepFacts::LayerNorm { folder, width });
        }
        let config: DenseConfig = serde_json::from_value(Value::Object(values)).map_err(unfit)?;
        if config.out_features == 0 {
            return Err(EngineError::model(&path, "the dense head gives no numbers").into());
        }
        Ok(StepFacts::Dense {
            folder,
            input: config.in_features,
            output: config.out_features,
            bias: config.bias,
            activation: dense_activation(&config.activation_function, &path)?,
            residual: config.use_residual,
        })
    }
}

const MODULES: &str = "modules.json";
const SENTENCE_TRANSFORMERS: &str = "config_sentence_transformers.json";

fn static_pooling(file: &str) -> PoolingFacts {
    PoolingFacts { modes: vec![Pooling::Mean], include_prompt: true, width: None, file: file.to_owned() }
}

/// The name of a class of sentence-transformers without its module: releases moved the classes, and their names stayed.
fn class(kind: &str) -> Option<&str> {
    kind.strip_prefix("sentence_transformers.")?.rsplit('.').next()
}

/// Fails if a module reads or writes anything but the text's vector.
fn on_sentences(values: &Map<String, Value>, path: &Path) -> Result<()> {
    for key in ["module_input_name", "module_output_name"] {
        match values.get(key) {
            None | Some(Value::Null) => {}
            Some(value) if value == "sentence_embedding" => {}
            Some(value) => {
                return Err(EngineError::model(path, format!("{key} is {value}; only \"sentence_embedding\" is supported")));
            }
        }
    }
    Ok(())
}

fn dense_activation(name: &str, path: &Path) -> Result<Option<Activation>> {
    match name.rsplit('.').next().unwrap_or_default() {
        "Identity" => Ok(None),
        "Tanh" => Ok(Some(Activation::Tanh)),
        "GELU" => Ok(Some(Activation::Gelu)),
        "ReLU" => Ok(Some(Activation::Relu)),
        "SiLU" => Ok(Some(Activation::Silu)),
        _ => {
            let reason = format!("the activation {name:?} is not supported; Identity, Tanh, GELU, ReLU and SiLU are");
            Err(EngineError::model(path, reason))
        }
    }
}

/// Reads every form of the file: one `pooling_mode`, a list of them, or a flag for each mode.
fn pooling<F: ModelFiles>(files: &mut F, name: &str) -> Result<PoolingFacts, F::Error> {
    let config: Map<String, Value> = json(files, name, CONFIG_LIMIT)?;
    let path = files.path(name);
    let refused = |reason: String| EngineError::model(&path, format!("{reason}; supported are {}", Pooling::names()));
    let mode = |word: &Value| {
        let known = word.as_str().and_then(Pooling::parse);
        known.ok_or_else(|| refused(format!("the pooling mode {word} is not supported")))
    };
    let modes: Vec<Pooling> = match config.get("pooling_mode") {
        Some(Value::Array(words)) => words.iter().map(mode).collect::<Result<_>>()?,
        Some(word) => vec![mode(word)?],
        None => {
            let on = |(key, value): &(&String, &Value)| key.starts_with("pooling_mode_") && **value == Value::Bool(true);
            let flags: BTreeSet<&str> = config.iter().filter(on).map(|(key, _)| key.as_str()).collect();
            if let Some(unknown) = flags.iter().find(|flag| !Pooling::ALL.iter().any(|mode| mode.flag() == **flag)) {
                return Err(refused(format!("the pooling mode {unknown:?} is not supported")).into());
            }
            // Side by side they stand in this order, whatever the file's.
            Pooling::ALL.iter().copied().filter(|mode| flags.contains(mode.flag())).collect()
        }
    };
    if modes.is_empty() || modes.len() > Pooling::ALL.len() {
        return Err(refused(format!("the file asks for {} pooling modes", modes.len())).into());
    }
    let width = ["embedding_dimension", "word_embedding_dimension"].iter().find_map(|key| config.get(*key)?.as_u64());
    Ok(PoolingFacts {
        modes,
        include_prompt: config.get("include_prompt") != Some(&Value::Bool(false)),
        width: width.map(|width| width as usize),
        file: name.to_owned(),
    })
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // Tests write their inputs as they like.
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;

    /// Files in memory.
    struct Memory(BTreeMap<String, Vec<u8>>);

    impl ModelFiles for Memory {
        type Error = EngineError;

        fn has(&self, name: &str) -> bool {
            self.0.contains_key(name)
        }

        fn read(&mut self, name: &str, _: u64) -> Result<Vec<u8>> {
            let missing = || EngineError::model(name, "there is no such file");
            self.0.get(name).cloned().ok_or_else(missing)
        }

        fn path(&self, name: &str) -> PathBuf {
            PathBuf::from(name)
        }
    }

    const OLD: &str = "sentence_transformers.models.";

    /// A model of these modules (class, folder) and files; whatever has no content given is `{}`.
    fn facts(modules: &[(&str, &str)], files: &[(&str, Value)]) -> Result<FolderFacts> {
        let mut all: BTreeMap<String, Vec<u8>> = ["config.json", "model.safetensors"].map(|name| (name.into(), b"{}".to_vec())).into();
        let entry = |(kind, path): &(&str, &str)| {
            let kind = if kind.contains('.') { (*kind).to_owned() } else { format!("{OLD}{kind}") };
            json!({ "idx": 0, "name": "0", "path": path, "type": kind })
        };
        all.insert("modules.json".into(), json!(modules.iter().map(entry).collect::<Vec<_>>()).to_string().into_bytes());
        all.extend(files.iter().map(|(name, value)| ((*name).into(), value.to_string().into_bytes())));
        FolderFacts::read(&mut Memory(all))
    }

    fn pooled(config: Value) -> Result<FolderFacts> {
        facts(&[("Transformer", ""), ("Pooling", "1_Pooling")], &[("1_Pooling/config.json", config)])
    }

    fn refused(result: Result<FolderFacts>, parts: &[&str]) {
        let error = result.expect_err("an error");
        let text = format!("{error} [{}] {}", error.path().expect("a path").display(), error.hint().unwrap_or_default());
        for part in parts {
            assert!(text.contains(part), "{text} lacks {part}");
        }
    }

    #[test]
    fn every_form_of_pooling_is_read() {
        let modes = |config: Value| pooled(config.clone()).unwrap_or_else(|e| panic!("{config}: {e}")).pooling.expect("pooling");
        for mode in Pooling::ALL {
            assert_eq!(modes(json!({ "pooling_mode": mode.name() })).modes, [*mode]);
            assert_eq!(modes(json!({ "pooling_mode": [mode.name()] })).modes, [*mode]);
            assert_eq!(modes(json!({ mode.flag(): true, "pooling_mode_mean_tokens_": false })).modes, [*mode]);
        }
        let flags: serde_json::Map<String, Value> = Pooling::ALL.iter().rev().map(|mode| (mode.flag().into(), json!(true))).collect();
        assert_eq!(modes(Value::Object(flags)).modes, Pooling::ALL);
        let listed = modes(json!({ "pooling_mode": ["mean", "cls"], "pooling_mode_lasttoken": true, "word_embedding_dimension": 8 }));
        assert_eq!((listed.modes, listed.width, listed.include_prompt), (vec![Pooling::Mean, Pooling::Cls], Some(8), true));
        let newer = modes(json!({ "pooling_mode": "cls", "embedding_dimension": 6, "include_prompt": false }));
        assert_eq!((newer.width, newer.include_prompt), (Some(6), false));
        assert_eq!(pooled(json!({ "pooling_mode": ["mean", "cls"], "embedding_dimension": 6 })).expect("facts").dimensions(), Some(12));
    }

    #[test]
    fn poolings_that_are_none_are_refused_with_all_that_are() {
        for config in [
            json!({}),
            json!({ "pooling_mode_mean_tokens": false }),
            json!({ "pooling_mode": [] }),
            json!({ "pooling_mode": "average" }),
            json!({ "pooling_mode": ["mean", "attention"] }),
            json!({ "pooling_mode": null }),
            json!({ "pooling_mode": 3 }),
            json!({ "pooling_mode": vec!["mean"; 1000] }),
            json!({ "pooling_mode_attention": true, "pooling_mode_mean_tokens": true }),
        ] {
            refused(pooled(config), &["1_Pooling/config.json", "cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken"]);
        }
        refused(pooled(json!([])), &["1_Pooling/config.json", "does not parse", "get the model's files again"]);
    }

    #[test]
    fn the_files_that_are_read_are_known() {
        let dense = json!({ "in_features": 8, "out_features": 4, "activation_function": "torch.nn.modules.linear.Identity" });
        let index = json!({ "weight_map": { "a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-1.safetensors" } });
        let found = facts(
            &[("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"), ("Dropout", "3_Dropout"), ("Normalize", "4_Normalize")],
            &[
                ("1_Pooling/config.json", json!({ "pooling_mode": "mean", "word_embedding_dimension": 8 })),
                ("2_Dense/config.json", dense),
                ("2_Dense/model.safetensors.index.json", index),
                ("2_Dense/model-1.safetensors", json!(0)),
                ("2_Dense/model-2.safetensors", json!(0)),
                ("2_Dense/model-3.safetensors", json!(0)),
                ("3_Dropout/config.json", json!({ "dropout": 0.2 })),
                ("config_sentence_transformers.json", json!({ "prompts": {}, "truncate_dim": 2 })),
                ("tokenizer.json", json!(0)),
                ("onnx/model.onnx", json!(0)),
            ],
        )
        .expect("a model");
        let files: Vec<&str> = found.files().collect();
        assert_eq!(
            files,
            [
                "1_Pooling/config.json",
                "2_Dense/config.json",
                "2_Dense/model-1.safetensors",
                "2_Dense/model-2.safetensors",
                "2_Dense/model.safetensors.index.json",
                "config.json",
                "config_sentence_transformers.json",
                "model.safetensors",
                "modules.json"
            ]
        );
        assert_eq!((found.dimensions(), found.truncate, found.normalizes()), (Some(4), Some(2), true));
    }

    #[test]
    fn an_encoder_may_lie_in_a_folder_of_its_own() {
        let files = [("0_Transformer/config.json", json!({})), ("0_Transformer/model.safetensors", json!(0))];
        let pooling = ("1_Pooling/config.json", json!({ "pooling_mode_mean_tokens": true }));
        let all = [&files[..], std::slice::from_ref(&pooling)].concat();
        let found = facts(&[("Transformer", "0_Transformer"), ("Pooling", "1_Pooling")], &all).expect("a model");
        assert_eq!(found.encoder, "0_Transformer/");
        let names: Vec<&str> = found.files().collect();
        assert_eq!(names, ["0_Transformer/config.json", "0_Transformer/model.safetensors", "1_Pooling/config.json", "modules.json"]);
        let error = facts(&[("Transformer", "0_Transformer"), ("Pooling", "1_Pooling")], &[pooling]);
        refused(error, &["it has no 0_Transformer/config.json"]);
    }

    #[test]
    fn a_table_of_token_vectors_is_pooled_by_its_mean() {
        for path in [".", ""] {
            let found = facts(&[("StaticEmbedding", path), ("Normalize", "1_Normalize")], &[]).expect("a model");
            assert_eq!((found.kind, found.encoder.as_str(), found.normalizes()), (EncoderKind::Static, "", true));
            assert_eq!(found.pooling.expect("pooling").modes, [Pooling::Mean]);
        }
        // As model2vec saves it for itself: no modules.
        for (normalize, file) in
            [(true, json!({ "model_type": "model2vec", "normalize": true })), (false, json!({ "model_type": "model2vec" }))]
        {
            let files =
                [("config.json", file), ("model.safetensors", json!(0))].map(|(name, value)| (name.into(), value.to_string().into_bytes()));
            let found = FolderFacts::read(&mut Memory(files.into())).expect("a model");
            assert_eq!((found.kind, found.normalizes(), found.max_tokens), (EncoderKind::Model2Vec, normalize, Some(512)));
            assert_eq!(found.pooling.expect("pooling").modes, [Pooling::Mean]);
        }
        // As sentence-transformers saves it: no configuration.
        let found = facts(&[("StaticEmbedding", "0_StaticEmbedding")], &[("0_StaticEmbedding/model.safetensors", json!(0))]).expect("one");
        assert_eq!(found.files().collect::<Vec<_>>(), ["0_StaticEmbedding/model.safetensors", "modules.json"]);
    }

    #[test]
    fn modules_that_are_not_supported_are_named() {
        let mean = ("1_Pooling/config.json", json!({ "pooling_mode": "mean" }));
        let transformer = ("Transformer", "");
        let pooling = ("Pooling", "1_Pooling");
        for (modules, part) in [
            (vec![transformer], "names no pooling"),
            (vec![transformer, ("Normalize", "1_Normalize")], "module 1 is \"sentence_transformers.models.Normalize\""),
            (vec![transformer, pooling, ("Pooling", "2_Pooling")], "module 2 is"),
            (vec![transformer, pooling, ("LSTM", "2_LSTM")], "module 2 is"),
            (vec![("WordEmbeddings", ""), pooling], "module 0 is"),
            (vec![transformer, ("WeightedLayerPooling", "1_W"), pooling], "module 1 is"),
            (vec![("sentence_transformers.models.Asym", ""), pooling], "module 0 is"),
            (vec![], "names no pooling"),
        ] {
            refused(
                facts(&modules, std::slice::from_ref(&mean)),
                &["modules.json", part, "a Transformer (or StaticEmbedding), a Pooling, then Dense"],
            );
        }
        let own = facts(&[("custom_st.Transformer", ""), pooling], std::slice::from_ref(&mean));
        refused(own, &["module 0 is \"custom_st.Transformer\", a class of the model's own, whose code Patina does not run"]);
    }

    #[test]
    fn heads_that_are_not_supported_are_named() {
        let with = |config: Value| {
            let mean = json!({ "pooling_mode": "mean" });
            let files = [("1_Pooling/config.json", mean), ("2_Dense/config.json", config), ("2_Dense/model.safetensors", json!(0))];
            facts(&[("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense")], &files)
        };
        let config = |key: &str, value: Value| {
            let mut config = json!({ "in_features": 4, "out_features": 4, "activation_function": "torch.nn.modules.activation.Tanh" });
            config[key] = value;
            config
        };
        with(config("bias", json!(true))).expect("sound");
        for (name, activation) in [
            ("torch.nn.modules.linear.Identity", None),
            ("torch.nn.modules.activation.Tanh", Some(Activation::Tanh)),
            ("torch.nn.modules.activation.GELU", Some(Activation::Gelu)),
            ("torch.nn.modules.activation.ReLU", Some(Activation::Relu)),
            ("torch.nn.modules.activation.SiLU", Some(Activation::Silu)),
        ] {
            let found = with(config("activation_function", json!(name))).expect(name);
            assert!(matches!(found.steps[..], [StepFacts::Dense { activation: found, .. }] if found == activation), "{name}");
        }
        refused(
            with(config("activation_function", json!("torch.nn.Softmax"))),
            &["2_Dense/config.json", "Identity, Tanh, GELU, ReLU and SiLU"],
        );
        refused(with(config("module_input_name", json!("token_embeddings"))), &["module_input_name is \"token_embeddings\""]);
        refused(with(config("module_output_name", json!("query_embedding"))), &["only \"sentence_embedding\" is supported"]);
        refused(with(config("in_features", json!(-1))), &["does not fit a Dense"]);
        refused(with(config("out_features", json!(0))), &["gives no numbers"]);
        refused(with(json!({})), &["does not fit a Dense", "in_features"]);
    }

    #[test]
    fn nothing_outside_the_folder_is_named() {
        let mean = ("1_Pooling/config.json", json!({ "pooling_mode": "mean" }));
        for path in ["../x", "/etc", "a/../../b", "..", "C:x", "a\\b", "a\0b", "./../x"] {
            let hostile = facts(&[("Transformer", ""), ("Pooling", path)], std::slice::from_ref(&mean));
            refused(hostile, &["modules.json", "leaves its folder"]);
            refused(facts(&[("Transformer", path)], &[]), &["modules.json", "leaves its folder"]);
        }
        for shard in ["../x.safetensors", "/x.safetensors", "C:x.safetensors", ""] {
            let index = json!({ "weight_map": { "a": shard } });
            let files = [("0_T/model.safetensors.index.json", index), ("0_T/config.json", json!({})), mean.clone()];
            let error = facts(&[("Transformer", "0_T"), ("Pooling", "1_Pooling")], &files).expect_err("a hostile shard");
            assert!(matches!(error, EngineError::Damaged { .. }), "{shard}: {error:?}");
        }
    }
}
