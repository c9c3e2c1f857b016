//! Texts to token ids with the model's own `tokenizer.json`; the only place that knows the tokenizers crate.
//!
//! The ids are those that transformers' AutoTokenizer gives: `tokenizer.json`, and of the settings beside it the side that long texts
//! are cut on and the tokens that begin and end a text. Its own cut and padding do not count: a model's longest input is known
//! otherwise, and nothing is padded.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokenizers::normalizers::{Lowercase, Sequence};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, Encoding, ModelWrapper, NormalizerWrapper, PostProcessor, PostProcessorWrapper, Tokenizer as Hugging, TruncationDirection,
    TruncationParams,
};

use crate::embed::token_file;
use crate::error::{Error, Result};
use crate::fs;
use crate::model::{MOST_BESIDE_WEIGHTS, TokenSettings};

/// Bytes of a `tokenizer.json` that are read.
const FILE_LIMIT: u64 = MOST_BESIDE_WEIGHTS;

/// How long a text may take where that cannot be foreseen, and how much longer for each byte of it: many times what any real
/// tokenizer takes on a machine that does something else too.
const TEXT_TIME: Duration = Duration::from_millis(1500);
const BYTE_TIME: Duration = Duration::from_micros(10);

/// Bytes of one text that are tokenized. No model takes more than some ten thousand tokens, and a tokenizer reads a text whole
/// before it cuts it: what lies beyond is dropped first.
pub const TEXT_LIMIT: usize = 1 << 20;

pub(super) struct Tokenizer {
    inner: Arc<Hugging>,
    path: PathBuf,
    /// Whether a text may take long, so that each is given a time.
    slow: bool,
    cut_left: bool,
    special: BTreeSet<u32>,
    /// The token of what the tokenizer does not know, if it is left out.
    left_out: Option<u32>,
    /// The most letters of a text, prompt included.
    letters: usize,
    /// Whether a text may have no token.
    plain: bool,
}

impl Tokenizer {
    /// Reads `tokenizer.json`. Texts are cut to `max_tokens`, special tokens included: their content is, special tokens stay.
    pub fn open(path: &Path, max_tokens: usize, lower_case: bool, settings: &TokenSettings) -> Result<Tokenizer> {
        Tokenizer::of(&fs::read_limited(path, FILE_LIMIT)?, path, max_tokens, lower_case, settings, false)
    }

    /// Like [`Tokenizer::open`] for pairs of texts: both together are cut to `max_tokens`, one token of the longer one at a time.
    pub fn open_for_pairs(path: &Path, max_tokens: usize, lower_case: bool, settings: &TokenSettings) -> Result<Tokenizer> {
        Tokenizer::of(&fs::read_limited(path, FILE_LIMIT)?, path, max_tokens, lower_case, settings, true)
    }

    /// The same of a file's bytes; `path` is for errors.
    fn of(bytes: &[u8], path: &Path, max_tokens: usize, lower_case: bool, settings: &TokenSettings, pairs: bool) -> Result<Tokenizer> {
        let broken = |reason: String| {
            Error::corrupt(format!("the tokenizer does not parse: {reason}"))
                .at(path)
                .hint("get the model's files again; Patina reads the tokenizer.json of the tokenizers library")
        };
        let token_file::Looked { slow } = token_file::look(bytes).map_err(broken)?;
        // A crafted file can panic the parser, and what follows from it.
        let gave_up = |_| broken("the tokenizers library gave up on it".into());
        let mut inner = catch_unwind(|| Hugging::from_bytes(bytes)).map_err(gave_up)?.map_err(|e| broken(e.to_string()))?;
        let own_side = inner.get_truncation().map(|truncation| truncation.direction);
        let cut_left = settings.cut_left.unwrap_or(own_side == Some(TruncationDirection::Left));
        catch_unwind(AssertUnwindSafe(|| prepare(&mut inner, lower_case, settings))).map_err(gave_up)?.map_err(broken)?;
        // The library subtracts the special tokens without looking.
        let special =
            catch_unwind(AssertUnwindSafe(|| inner.get_post_processor().map_or(0, |post| post.added_tokens(pairs)))).map_err(gave_up)?;
        if max_tokens <= special {
            return Err(Error::usage(format!("texts are cut to {max_tokens} tokens, of which {special} are special: no text is left"))
                .at(path)
                .hint("raise max_seq_length in sentence_bert_config.json, or `max_tokens` in the recipe"));
        }
        let direction = if cut_left { TruncationDirection::Left } else { TruncationDirection::Right };
        let truncation = TruncationParams { max_length: max_tokens, direction, ..TruncationParams::default() };
        inner
            .with_truncation(Some(truncation))
            .map_err(|e| Error::usage(format!("texts cannot be cut to {max_tokens} tokens: {e}")).at(path))?;
        let added = inner.get_added_tokens_decoder();
        let marked = added.iter().filter(|(_, token)| token.special).map(|(&id, _)| id);
        let special = marked.chain(settings.special.iter().filter_map(|token| inner.token_to_id(token))).collect();
        let left_out = if settings.known_only { unknown(&inner) } else { None };
        let letters = if settings.known_only { max_tokens.saturating_mul(middle_length(&inner)) } else { usize::MAX };
        let plain = settings.plain;
        Ok(Tokenizer { inner: Arc::new(inner), path: path.to_path_buf(), slow, cut_left, special, left_out, letters, plain })
    }

    /// The ids of `prompt` and `text` joined, special tokens included. Empty only for a static model, whose libraries give such a text a vector
    /// of zeros.
    pub fn ids(&self, prompt: &str, text: &str) -> Result<Vec<u32>> {
        let mut whole = format!("{prompt}{}", self.bounded(text));
        if let Some((end, _)) = whole.char_indices().nth(self.letters) {
            whole.truncate(end);
        }
        match self.encode(whole)?.as_slice() {
            // An encoder has no vector for no token.
            [] if !self.plain => Err(self.failed("it has no tokens".into())),
            ids => Ok(ids.to_vec()),
        }
    }

    /// The ids of two texts as one row, special tokens included, and where the tokens of the second kind begin (the row's length where the
    /// tokenizer tells none apart).
    pub fn pair(&self, first_text: &str, second_text: &str) -> Result<(Vec<u32>, usize)> {
        let encoding = self.encoded(Texts::Pair(self.bounded(first_text).to_owned(), self.bounded(second_text).to_owned()))?;
        let (ids, kinds) = (encoding.get_ids(), encoding.get_type_ids());
        let second = kinds.iter().position(|&kind| kind != 0).unwrap_or(kinds.len());
        if kinds[second..].iter().any(|&kind| kind != 1) {
            return Err(self.failed("its pairs have tokens of other kinds than first and second, one after the other".into()));
        }
        if ids.is_empty() {
            return Err(self.failed("it has no tokens".into()));
        }
        Ok((ids.to_vec(), second))
    }

    /// How many leading tokens are the prompt's, as sentence-transformers counts them: those of the prompt alone, less a special one at
    /// its end. Where the prompt's last token joins the text's first one, this is a convention and no truth.
    pub fn prompt_tokens(&self, prompt: &str) -> Result<usize> {
        let ids = self.encode(prompt.to_owned())?;
        let special = ids.last().is_some_and(|id| self.special.contains(id));
        Ok(ids.len() - usize::from(special))
    }

    /// As much of a text as is tokenized.
    fn bounded<'t>(&self, text: &'t str) -> &'t str {
        if self.cut_left { last(text, TEXT_LIMIT) } else { first(text, TEXT_LIMIT) }
    }

    fn encode(&self, text: String) -> Result<Vec<u32>> {
        let encoding = self.encoded(Texts::One(text))?;
        Ok(encoding.get_ids().iter().copied().filter(|&id| Some(id) != self.left_out).collect())
    }

    fn encoded(&self, texts: Texts) -> Result<Encoding> {
        let encoding = if self.slow { self.encode_in_time(texts)? } else { encode(&self.inner, texts) };
        encoding.map_err(|reason| self.failed(reason))
    }

    /// A thread cannot be ended from outside: one that takes too long is left to itself, and the text is an error.
    fn encode_in_time(&self, texts: Texts) -> Result<Result<Encoding, String>> {
        let time = TEXT_TIME + BYTE_TIME * u32::try_from(texts.bytes()).unwrap_or(u32::MAX);
        let (sender, receiver) = mpsc::sync_channel(1);
        let inner = self.inner.clone();
        let run = move || drop(sender.send(encode(&inner, texts)));
        let started = thread::Builder::new().name("tokenizer".into()).spawn(run);
        started.map_err(|e| Error::failed(format!("a thread for the tokenizer cannot be started: {e}")))?;
        receiver.recv_timeout(time).map_err(|_| {
            self.failed(format!("it took longer than {} ms", time.as_millis()))
                .hint("the model's tokenizer.json has a pattern that needs very long for some texts; get it from a source that you trust")
        })
    }

    fn failed(&self, reason: String) -> Error {
        Error::failed(format!("a text cannot be tokenized: {reason}")).at(&self.path)
    }
}

/// What becomes one row.
enum Texts {
    One(String),
    Pair(String, String),
}

impl Texts {
    fn bytes(&self) -> usize {
        match self {
            Texts::One(text) => text.len(),
            Texts::Pair(first, second) => first.len() + second.len(),
        }
    }
}

/// A crafted file, or a text that it does not foresee, can panic the library.
fn encode(inner: &Hugging, texts: Texts) -> Result<Encoding, String> {
    let encoding = catch_unwind(AssertUnwindSafe(|| match texts {
        Texts::One(text) => inner.encode_fast(text, true),
        Texts::Pair(first, second) => inner.encode_fast((first, second), true),
    }));
    encoding.map_err(|_| "the tokenizers library gave up on it".to_owned())?.map_err(|e| e.to_string())
}

/// Whether the bytes of a `tokenizer.json` make a tokenizer that takes `text`: its ids.
pub fn check_tokenizer(bytes: &[u8], text: &str) -> Result<Vec<u32>> {
    Tokenizer::of(bytes, Path::new("tokenizer.json"), 512, false, &TokenSettings::default(), false)?.ids("", text)
}

/// Puts in place what goes before `tokenizer.json`.
fn prepare(inner: &mut Hugging, lower_case: bool, settings: &TokenSettings) -> Result<(), String> {
    inner.with_padding(None);
    // A normalizer and not the text itself: `[SEP]` in a text is found before it is lowered.
    if lower_case && !lowers(inner.get_normalizer()) {
        let own = inner.get_normalizer().cloned();
        let all: Vec<NormalizerWrapper> = std::iter::once(Lowercase.into()).chain(own).collect();
        inner.with_normalizer(Some(Sequence::new(all))).map_err(|e| e.to_string())?;
    }
    // A token with a role is found in a text whether tokenizer.json lists it as an added one or not.
    let added: BTreeSet<String> = inner.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
    let unlisted = settings.special.iter().filter(|token| !added.contains(*token) && inner.token_to_id(token).is_some());
    let unlisted: Vec<AddedToken> = unlisted.map(|token| AddedToken::from(token.as_str(), true)).collect();
    inner.add_special_tokens(unlisted).map_err(|e| e.to_string())?;
    // A tokenizer.json that adds tokens of its own knows better than these flags, which some classes ignore.
    let adds = inner.get_post_processor().map_or(0, |post| post.added_tokens(false));
    if settings.plain {
        inner.with_post_processor(None::<PostProcessorWrapper>);
    } else if adds == 0 && (settings.begin.is_some() || settings.end.is_some()) {
        let mut parts = Vec::new();
        let mut tokens = Vec::new();
        for (token, place) in [(settings.begin.as_deref(), 0), (settings.end.as_deref(), 1)] {
            let Some(token) = token else { continue };
            let id = inner.token_to_id(token).ok_or_else(|| format!("it has no token {token:?}, which every text is to have"))?;
            parts.push((place, token));
            tokens.push((token.to_owned(), id));
        }
        let mut single: Vec<String> = parts.iter().filter(|(place, _)| *place == 0).map(|(_, token)| (*token).to_owned()).collect();
        single.push("$A".into());
        single.extend(parts.iter().filter(|(place, _)| *place == 1).map(|(_, token)| (*token).to_owned()));
        let template = TemplateProcessing::builder()
            .try_single(single)
            .and_then(|builder| builder.special_tokens(tokens).build().map_err(|e| e.to_string()))?;
        inner.with_post_processor(Some(template));
    }
    Ok(())
}

/// The median of the tokens' lengths in letters, as model2vec takes it to cut a text before it is tokenized.
fn middle_length(inner: &Hugging) -> usize {
    let mut lengths: Vec<usize> = inner.get_vocab(true).keys().map(|token| token.chars().count()).collect();
    lengths.sort_unstable();
    let middle = lengths.len() / 2;
    match lengths.len() {
        0 => 1,
        n if n.is_multiple_of(2) => (lengths[middle - 1] + lengths[middle]) / 2,
        _ => lengths[middle],
    }
}

/// The token that stands for what the tokenizer's model does not know, if it names one.
fn unknown(inner: &Hugging) -> Option<u32> {
    let token = match inner.get_model() {
        ModelWrapper::WordPiece(model) => model.unk_token.as_str(),
        ModelWrapper::WordLevel(model) => model.unk_token.as_str(),
        ModelWrapper::BPE(model) => model.unk_token.as_deref()?,
        ModelWrapper::Unigram(_) => return None,
    };
    inner.token_to_id(token)
}

fn lowers(normalizer: Option<&NormalizerWrapper>) -> bool {
    match normalizer {
        Some(NormalizerWrapper::Lowercase(_)) => true,
        Some(NormalizerWrapper::Sequence(all)) => all.as_ref().iter().any(|one| matches!(one, NormalizerWrapper::Lowercase(_))),
        _ => false,
    }
}

/// At most `limit` bytes from the beginning.
fn first(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// At most `limit` bytes from the end.
fn last(text: &str, limit: usize) -> &str {
    let mut start = text.len() - text.len().min(limit);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod hostile;
