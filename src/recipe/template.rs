//! The recipe that `patina init` writes: what can be said, with the defaults as comments.

use super::typed::Recipe;

impl Recipe {
    /// The text of a new recipe for a model (a registry name, a hub id or a folder). It loads as it is, whatever the model's
    /// dimension.
    pub fn template(model: &str) -> String {
        format!(
            r#"# What Patina embeds, indexes and trains in this project.
version: 1

# A name that `patina model list` shows, a hub id (owner/name, with @revision if one is meant), or a folder such as ./models/mine.
embedding_model: {model}

# runtime: auto            # auto, onnx, mlx or measured; or a word for each platform, as in the next line. measured: the fastest on
#                          # this machine, with threads and token_budget to match, by some five seconds of measuring on first use
# runtime: {{default: auto, macos: mlx, linux: onnx, windows: onnx}}
# precision: f32           # f32 or int8 on ONNX Runtime; f32, f16, bf16, q8 or q4 on MLX
# group_size: 64           # 32, 64 or 128 weights share a scale; with q8 and q4 only
# threads: 4               # absent: every core
# token_budget: 1024       # tokens of one batch; more takes memory and is rarely faster
# max_tokens: 256          # absent: the model's own limit
# dimensions: 256          # absent: all; fewer only if the model was trained for it (Matryoshka)
# pooling: mean            # absent: as the model's files say; else cls, max, mean, mean_sqrt_len_tokens, weightedmean or lasttoken
# prompts:                 # absent: the model's own
#   query: "query: "
#   document: "passage: "
# index:
#   scalar: i8             # f32, f16, i8 or b1: less memory, candidates compared again exactly
# fusion: auto             # chosen on held-out questions of the project; or what each counts, as in the next line
# fusion: {{lexical: 1, vector: 0.5, projection: 0.5}}

# rerank:                  # a cross-encoder that reads question and text together and puts the first results of `scry` in order
#   model: ./models/mine   # a name, a hub id, or a folder
#   candidates: 50

# scrape:
#   sessions: [notes/sessions]      # absent: session notes are told by their contents
#   include: ["src/**", "docs/**"]  # absent: every file that git does not ignore
#   exclude: ["**/*.min.js"]
#   max_file_bytes: 1048576

# A projection is trained on the project's own structure and published only if it finds more than the raw vectors do.
projections:
  semantic:
    architecture: linear   # linear, residual, low-rank with layers: [rank], or mlp-2layer with layers: [hidden, output]
    layers: [256]
    # pairs: semantic      # or temporal (files that change together), dependency (calls), or a list of them
    # sides: both          # or query: questions alone are projected; no second index, as many numbers as before
    # epochs: 10
    # batch_size: 32
    # learning_rate: 0.0001
    # weight_decay: 0.01
    # loss: infonce        # or multiple-negatives, or triplet with margin: 0.2
    # temperature: 0.05
    # hard_negatives: 0    # so many for each pair: near by raw vectors, and no answers as far as is known
    # matryoshka: []       # smaller sizes that are trained with the whole, such as [64, 128]
    # distillation: 0      # how strongly the raw similarities are held to
    # patience: 3
    # seed: 42
    # gate: on             # off publishes whatever comes out

# bench:                   # what `patina bench` measures; every list is combined with every other
#   models: [{model}]      # absent: the embedding_model
#   runtimes: [onnx]       # absent: all that the build carries
#   precisions: [f32]      # absent: f32, and int8 where a runtime has it
#   threads: [1, 4]        # absent: the recipe's, or every core
#   token_budgets: [1024]
#   mixes: [mixed, 32]     # mixed: the texts as they are; a number: texts and queries of so many tokens
#   rounds: 5
#   queries: 200
#   corpus: texts.jsonl    # absent: the project's own texts
#   quality: data/scifact  # a labelled set in BEIR's layout
#   quality_queries: 100   # absent: all of them
"#,
            model = scalar(model)
        )
    }
}

/// A text as a YAML scalar: plain where that is certain to be read back as the same text, else in double quotes.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '.' | '/'))
        && text.chars().any(|c| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_' | '-' | '@'))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | ".nan" | ".inf"
        );
    if plain {
        return text.to_owned();
    }
    // What JSON writes, YAML reads.
    serde_json::Value::from(text).to_string()
}
