//! Texts to token ids with the model's own `tokenizer.json`; the only place that knows the tokenizers crate.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tokenizers::{PostProcessor, Tokenizer as Hugging, TruncationParams};

use crate::error::{Error, Result};
use crate::fs;

/// Bytes of a `tokenizer.json` that are read; large multilingual ones have some 20 MB.
const FILE_LIMIT: u64 = 128 << 20;

/// Bytes of one text that are tokenized. No model takes more than some ten thousand tokens, and a tokenizer reads a text whole
/// before it cuts it: what lies beyond is dropped first.
pub const TEXT_LIMIT: usize = 1 << 20;

pub(super) struct Tokenizer {
    inner: Hugging,
    path: PathBuf,
    lower_case: bool,
}

impl Tokenizer {
    /// Reads `tokenizer.json`; texts are cut to `max_tokens`, special tokens included, and never padded.
    pub fn open(path: &Path, max_tokens: usize, lower_case: bool) -> Result<Tokenizer> {
        let bytes = fs::read_limited(path, FILE_LIMIT)?;
        let broken = |reason: String| {
            Error::corrupt(format!("the tokenizer does not parse: {reason}"))
                .at(path)
                .hint("get the model's files again; Patina reads the tokenizer.json of the tokenizers library")
        };
        // A crafted file can panic the parser.
        let mut inner = catch_unwind(|| Hugging::from_bytes(&bytes))
            .map_err(|_| broken("the tokenizers library gave up on it".into()))?
            .map_err(|e| broken(e.to_string()))?;
        inner.with_padding(None);
        // The library subtracts the special tokens without looking.
        let special = inner.get_post_processor().map_or(0, |post| post.added_tokens(false));
        if max_tokens <= special {
            return Err(Error::usage(format!("texts are cut to {max_tokens} tokens, of which {special} are special: no text is left"))
                .at(path)
                .hint("raise max_seq_length in sentence_bert_config.json, or `max_tokens` in the recipe"));
        }
        let truncation = TruncationParams { max_length: max_tokens, ..TruncationParams::default() };
        inner
            .with_truncation(Some(truncation))
            .map_err(|e| Error::usage(format!("texts cannot be cut to {max_tokens} tokens: {e}")).at(path))?;
        Ok(Tokenizer { inner, path: path.to_path_buf(), lower_case })
    }

    /// The ids of `prompt` and `text` joined, special tokens included. Never empty.
    pub fn ids(&self, prompt: &str, text: &str) -> Result<Vec<u32>> {
        let mut end = text.len().min(TEXT_LIMIT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut whole = format!("{prompt}{}", &text[..end]);
        if self.lower_case {
            whole = whole.to_lowercase();
        }
        let failed = |reason: String| Error::failed(format!("a text cannot be tokenized: {reason}")).at(&self.path);
        let encoding = catch_unwind(AssertUnwindSafe(|| self.inner.encode_fast(whole, true)))
            .map_err(|_| failed("the tokenizers library gave up on it".into()))?
            .map_err(|e| failed(e.to_string()))?;
        match encoding.get_ids() {
            // Without special tokens an empty text has no token, and no vector.
            [] => Err(failed("it has no tokens".into())),
            ids => Ok(ids.to_vec()),
        }
    }
}
