//! What makes two vectors comparable, as one short string.

use crate::embed::{Settings, select};
use crate::fs;

/// Raised when a change of Patina's own alters vectors: pooling, prompts, or the cut of long texts. Graphs have a version of their own.
pub const VECTORS_VERSION: u32 = 2;

/// The fingerprint of the vectors that `settings` give: the model's identity (which covers weights, tokenizer, architecture, pooling and
/// heads), dimensions and pooling in place of its own, prompts, the cut of long texts, runtime, precision and group size. 64 hexadecimal
/// digits. Reads no file.
pub fn fingerprint(settings: &Settings) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        // Lengths keep two fields from running into one another.
        text.push_str(&format!("{name}:{}:{value}\n", value.len()));
    };
    field("version", &VECTORS_VERSION.to_string());
    field("model", &settings.identity);
    if let Some(dimensions) = settings.options.dimensions {
        field("dimensions", &dimensions.to_string());
    }
    if let Some(pooling) = settings.options.pooling {
        field("pooling", pooling.name());
    }
    field("query", &settings.query_prompt);
    field("document", &settings.document_prompt);
    field("max_tokens", &settings.max_tokens.map_or("model".to_owned(), |n| n.to_string()));
    field("lower_case", if settings.lower_case { "yes" } else { "no" });
    field("runtime", settings.runtime.name());
    if let Some(version) = select::graph_version(settings.runtime) {
        field("graph", &version.to_string());
    }
    field("precision", settings.precision.name());
    field("group_size", &settings.group_size.map_or("none".to_owned(), |n| n.to_string()));
    fs::sha256(text.as_bytes())
}
