//! The models that Patina knows by name: where they come from, what they expect, and the hashes of their files where these are known.

use crate::recipe::suggest;

/// A model that can be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownModel {
    /// The name in recipes.
    pub name: &'static str,
    /// `owner/name` on the hub.
    pub hub_id: &'static str,
    /// The commit on the hub that the hashes belong to, where it is known.
    pub revision: Option<&'static str>,
    /// The licence of the weights, as an SPDX identifier.
    pub licence: &'static str,
    /// Numbers a vector has.
    pub dimensions: usize,
    /// The longest input in tokens, special tokens included.
    pub max_tokens: usize,
    /// How the token vectors become one.
    pub pooling: &'static str,
    /// Goes before a query; empty if the model wants none.
    pub query_prompt: &'static str,
    /// Goes before a document; empty if the model wants none.
    pub document_prompt: &'static str,
    /// The files whose size and hash are known. An imported model of this name must have these.
    pub files: &'static [KnownFile],
}

/// A file that is known to the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// The path in the model folder.
    pub path: &'static str,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: &'static str,
}

/// Sizes and hashes stand here only where the published files were seen; a model without them is taken as it is brought.
const KNOWN: &[KnownModel] = &[
    KnownModel {
        name: "all-MiniLM-L6-v2",
        hub_id: "sentence-transformers/all-MiniLM-L6-v2",
        revision: None,
        licence: "Apache-2.0",
        dimensions: 384,
        max_tokens: 256,
        pooling: "mean",
        query_prompt: "",
        document_prompt: "",
        files: &[
            KnownFile {
                path: "model.safetensors",
                size: 90_868_376,
                sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            },
            KnownFile { path: "tokenizer.json", size: 466_247, sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037" },
        ],
    },
    KnownModel {
        name: "e5-base-v2",
        hub_id: "intfloat/e5-base-v2",
        revision: None,
        licence: "MIT",
        dimensions: 768,
        max_tokens: 512,
        pooling: "mean",
        query_prompt: "query: ",
        document_prompt: "passage: ",
        files: &[],
    },
    KnownModel {
        name: "bge-small-en-v1.5",
        hub_id: "BAAI/bge-small-en-v1.5",
        revision: None,
        licence: "MIT",
        dimensions: 384,
        max_tokens: 512,
        pooling: "cls",
        query_prompt: "Represent this sentence for searching relevant passages: ",
        document_prompt: "",
        files: &[],
    },
    KnownModel {
        name: "gte-small",
        hub_id: "thenlper/gte-small",
        revision: None,
        licence: "MIT",
        dimensions: 384,
        max_tokens: 512,
        pooling: "mean",
        query_prompt: "",
        document_prompt: "",
        files: &[],
    },
    KnownModel {
        name: "gte-base",
        hub_id: "thenlper/gte-base",
        revision: None,
        licence: "MIT",
        dimensions: 768,
        max_tokens: 512,
        pooling: "mean",
        query_prompt: "",
        document_prompt: "",
        files: &[],
    },
    KnownModel {
        name: "LaBSE",
        hub_id: "sentence-transformers/LaBSE",
        revision: None,
        licence: "Apache-2.0",
        dimensions: 768,
        max_tokens: 256,
        pooling: "cls",
        query_prompt: "",
        document_prompt: "",
        files: &[],
    },
    KnownModel {
        name: "bge-m3",
        hub_id: "BAAI/bge-m3",
        revision: None,
        licence: "MIT",
        dimensions: 1024,
        max_tokens: 8192,
        pooling: "cls",
        query_prompt: "",
        document_prompt: "",
        files: &[],
    },
    KnownModel {
        name: "multilingual-e5-large-instruct",
        hub_id: "intfloat/multilingual-e5-large-instruct",
        revision: None,
        licence: "MIT",
        dimensions: 1024,
        max_tokens: 512,
        pooling: "mean",
        query_prompt: "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: ",
        document_prompt: "",
        files: &[],
    },
];

/// Every known model, in the order of reports.
pub fn all() -> &'static [KnownModel] {
    KNOWN
}

/// The model of a name or hub id; upper and lower case are equal.
pub fn find(name: &str) -> Option<&'static KnownModel> {
    KNOWN.iter().find(|model| model.name.eq_ignore_ascii_case(name) || model.hub_id.eq_ignore_ascii_case(name))
}

/// The known name that a mistyped one most likely stands for.
pub fn nearest(name: &str) -> Option<&'static str> {
    suggest::closest(name, KNOWN.iter().flat_map(|model| [model.name, model.hub_id]))
}

/// The model whose weights have this size and hash.
pub fn by_weights(size: u64, sha256: &str) -> Option<&'static KnownModel> {
    KNOWN.iter().find(|model| model.weights().is_some_and(|file| file.size == size && file.sha256 == sha256))
}

/// Whether some known weights have this size: only then is it worth hashing a file to find its name.
pub fn has_weights_of(size: u64) -> bool {
    KNOWN.iter().any(|model| model.weights().is_some_and(|file| file.size == size))
}

impl KnownModel {
    /// The known file of a path.
    pub fn file(&self, path: &str) -> Option<&'static KnownFile> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The weights, where they are known.
    pub fn weights(&self) -> Option<&'static KnownFile> {
        self.file("model.safetensors")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_sound() {
        let mut names = BTreeSet::new();
        for model in all() {
            assert!(names.insert(model.name.to_lowercase()) && names.insert(model.hub_id.to_lowercase()), "{} stands twice", model.name);
            assert_eq!(model.hub_id.split('/').nth(1).map(str::to_lowercase), Some(model.name.to_lowercase()));
            assert!(model.dimensions > 0 && model.max_tokens > 2);
            for file in model.files {
                let hex = file.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                assert!(file.size > 0 && file.sha256.len() == 64 && hex, "{} {}", model.name, file.path);
            }
        }
    }

    #[test]
    fn names_match_whatever_their_case_and_near_ones_are_suggested() {
        assert_eq!(find("ALL-minilm-l6-V2").map(|model| model.dimensions), Some(384));
        assert_eq!(find("baai/BGE-small-en-v1.5").map(|model| model.name), Some("bge-small-en-v1.5"));
        assert_eq!(find("e5-base"), None);
        assert_eq!(nearest("all-MiniLM-L6-v3"), Some("all-MiniLM-L6-v2"));
        assert_eq!(nearest("e5-bas-v2"), Some("e5-base-v2"));
        assert_eq!(nearest("gpt"), None);
    }

    #[test]
    fn weights_tell_their_model() {
        let known = find("all-MiniLM-L6-v2").and_then(KnownModel::weights).expect("known weights");
        assert!(has_weights_of(known.size) && !has_weights_of(known.size + 1));
        assert_eq!(by_weights(known.size, known.sha256).map(|model| model.name), Some("all-MiniLM-L6-v2"));
        assert_eq!(by_weights(known.size, &"0".repeat(64)), None);
    }
}
