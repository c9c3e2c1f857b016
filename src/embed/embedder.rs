//! The embedder: tokenizes on the caller's thread while the engine's thread computes, and gives vectors in the caller's order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use patina_backend::{Embeddings, EngineError, EngineInfo, Model, ModelOptions, Precision, Runtime, TokenBatch};

use crate::embed::batches::batches;
use crate::embed::engine_thread::{EngineThread, Reply, Request};
use crate::embed::fingerprint::fingerprint;
use crate::embed::select::{self, Purpose};
use crate::embed::tokenizer::Tokenizer;
use crate::error::{Error, ErrorKind, Result};
use crate::model::TokenSettings;
use crate::progress::Job;

/// Texts that are tokenized and sorted by length together, at most. More makes batches more even, and results come later.
const WINDOW: usize = 2048;

/// The first window: the engine waits for it. Each later one has twice as many, up to [`WINDOW`].
const FIRST_WINDOW: usize = 128;

/// The stack of the thread that opens the tokenizer: as much as a program's first thread has.
const TOKENIZER_STACK: usize = 8 << 20;

/// Everything that decides the vectors, and how they are computed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The model's folder.
    pub folder: PathBuf,
    /// The hash of the model's files.
    pub identity: String,
    /// Dimensions and pooling, where they are not the model's own.
    pub options: ModelOptions,
    /// `tokenizer.json`; without it only token ids can be embedded.
    pub tokenizer: Option<PathBuf>,
    /// Where texts are cut, in tokens, special tokens included; the architecture's own limit if none.
    pub max_tokens: Option<usize>,
    /// Whether texts are lower-cased before they are tokenized.
    pub lower_case: bool,
    /// What the tokenizer's settings say beside `tokenizer.json`.
    pub tokens: TokenSettings,
    /// What is put before a query.
    pub query_prompt: String,
    /// What is put before a document.
    pub document_prompt: String,
    /// Whether the prompt's tokens take part in the pooling.
    pub include_prompt: bool,
    /// The runtime.
    pub runtime: Runtime,
    /// The precision.
    pub precision: Precision,
    /// How many weights share a scale; `None` if the precision is not a quantized one.
    pub group_size: Option<usize>,
    /// Threads that compute one batch.
    pub threads: usize,
    /// Tokens of one batch, padding of the attention's layout included; [`TOKEN_BUDGET`](crate::embed::TOKEN_BUDGET) unless something
    /// else was found to be faster. It changes the last bits of vectors and is no part of their fingerprint.
    pub token_budget: usize,
    /// Bulk or a query.
    pub purpose: Purpose,
}

/// Which prompt a text gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    /// A question.
    Query,
    /// What is searched.
    Document,
}

/// One thing to embed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A text; prompt and special tokens are added.
    Text(String),
    /// Token ids, which go to the engine as they are.
    Ids(Vec<u32>),
}

/// When a vector is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// In the order of the inputs.
    AsGiven,
    /// As soon as it is computed: long texts first among those that are tokenized together. Nothing that is finished waits, so that
    /// an interruption loses nothing.
    AsComputed,
}

/// How much an embedder has given to its engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows: texts with tokens.
    pub rows: u64,
    /// Tokens after the cut, special ones included.
    pub tokens: u64,
    /// Places of attention's layout: of each batch, rows times the longest row. What is no token is padding.
    pub places: u64,
    /// The sum of the squares of the rows' lengths.
    pub squares: u64,
}

/// A model that is loaded and ready.
pub struct Embedder {
    engine: EngineThread,
    notes: Vec<String>,
    tokenizer: Option<Tokenizer>,
    /// Leading tokens of a query and of a document that take no part in the pooling.
    left_out: (usize, usize),
    settings: Settings,
    fingerprint: String,
    tally: Tally,
}

impl Embedder {
    /// Opens the model and loads it into the runtime.
    pub fn open(settings: Settings) -> Result<Embedder> {
        let model = Arc::new(Model::open_with(&settings.folder, &settings.options)?);
        let limit = model.max_tokens();
        let max_tokens = settings.max_tokens.unwrap_or(limit).min(limit);
        let open_tokenizer = || {
            let path = settings.tokenizer.as_ref();
            path.map(|path| Tokenizer::open(path, max_tokens, settings.lower_case, &settings.tokens)).transpose()
        };
        // Each takes its time, and a question waits for both.
        let (tokenizer, engine) = std::thread::scope(|scope| {
            let tokenizer = std::thread::Builder::new().stack_size(TOKENIZER_STACK).spawn_scoped(scope, open_tokenizer);
            let engine = select::loader(&settings).and_then(|(load, kept)| {
                let engine = EngineThread::start(move || load(model))?;
                Ok((engine, kept.map_or_else(Vec::new, |kept| kept.notes())))
            });
            (tokenizer.map(|thread| thread.join()), engine)
        });
        let tokenizer = tokenizer.map_err(|e| Error::failed(format!("the tokenizer's thread cannot be started: {e}")))?;
        let tokenizer = tokenizer.map_err(|_| Error::bug("the tokenizer panicked while it was opened"))??;
        let left_out = |prompt: &str| match &tokenizer {
            Some(tokenizer) if !settings.include_prompt && !prompt.is_empty() => tokenizer.prompt_tokens(prompt),
            _ => Ok(0),
        };
        let left_out = (left_out(&settings.query_prompt)?, left_out(&settings.document_prompt)?);
        let (engine, notes) = engine?;
        Ok(Embedder { engine, notes, tokenizer, left_out, fingerprint: fingerprint(&settings), settings, tally: Tally::default() })
    }

    /// What the engine is.
    pub fn info(&self) -> &EngineInfo {
        self.engine.info()
    }

    /// What the user should know of how it was loaded.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The fingerprint of the vectors.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// How much was embedded so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The tokens of a text as it would be embedded: prompt and special tokens included, after the cut.
    pub fn tokens(&self, text: &str, kind: TextKind) -> Result<usize> {
        Ok(self.ids(Input::Text(text.to_owned()), kind)?.map_or(0, |(ids, _)| ids.len()))
    }

    /// The vector of one query, with the query's prompt.
    pub fn embed_query(&mut self, text: &str) -> Result<Vec<f32>> {
        self.embed_one(text, TextKind::Query, "the query")
    }

    /// The vector of one document, with the document's prompt.
    pub fn embed_document(&mut self, text: &str) -> Result<Vec<f32>> {
        self.embed_one(text, TextKind::Document, "the document")
    }

    /// The token ids of a text as the engine gets them, its prompt and special tokens among them; none if it has no tokens.
    pub fn token_ids(&self, text: &str, kind: TextKind) -> Result<Vec<u32>> {
        Ok(self.ids(Input::Text(text.to_owned()), kind)?.map_or_else(Vec::new, |(ids, _)| ids))
    }

    /// Changes the tokens of one batch from now on; the vectors' fingerprint stays what it is.
    pub fn set_token_budget(&mut self, tokens: usize) {
        self.settings.token_budget = tokens;
    }

    fn embed_one(&mut self, text: &str, kind: TextKind, name: &str) -> Result<Vec<f32>> {
        let mut vector = Vec::new();
        let text = std::iter::once(Ok(Input::Text(text.to_owned())));
        self.embed(
            text,
            kind,
            Order::AsGiven,
            Job::silent(),
            |_| name.to_owned(),
            |_, row| {
                vector = row.to_vec();
                Ok(())
            },
        )?;
        Ok(vector)
    }

    /// Embeds a stream of inputs. `sink` gets each vector with its number; `name` says what to call an input in an error. Memory
    /// does not grow with the number of inputs. When it ends early, by an error or because a stop was asked for, `sink` has got
    /// every vector that was finished (with [`Order::AsGiven`] those of them that came in order).
    pub fn embed(
        &mut self,
        inputs: impl IntoIterator<Item = Result<Input>>,
        kind: TextKind,
        order: Order,
        job: Job<'_>,
        name: impl Fn(usize) -> String,
        sink: impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let mut stream = Stream { embedder: self, name: &name, sink, order, job, in_flight: 0, ready: BTreeMap::new(), next: 0 };
        let result = stream.run(inputs.into_iter(), kind);
        // The replies of batches under way belong to this call: none may be left for the next, and what they bring is kept.
        while stream.in_flight > 0 {
            let Ok(reply) = stream.embedder.engine.receive() else { break };
            stream.in_flight -= 1;
            // The first error is the one to tell.
            if let Ok(vectors) = &reply.result {
                let _ = stream.hand_over(&reply.rows, vectors);
            }
        }
        result
    }

    /// The ids of an input, and how many of them take no part in the pooling. `None` is a text without tokens, whose vector is zeros.
    fn ids(&self, input: Input, kind: TextKind) -> Result<Option<(Vec<u32>, usize)>> {
        match (input, &self.tokenizer) {
            (Input::Ids(ids), _) => Ok(Some((ids, 0))),
            (Input::Text(text), Some(tokenizer)) => {
                let (prompt, left_out) = match kind {
                    TextKind::Query => (&self.settings.query_prompt, self.left_out.0),
                    TextKind::Document => (&self.settings.document_prompt, self.left_out.1),
                };
                let ids = tokenizer.ids(prompt, &text)?;
                Ok((!ids.is_empty()).then_some((ids, left_out)))
            }
            (Input::Text(_), None) => Err(Error::missing("the model has no tokenizer.json, so that it embeds token ids alone")
                .at(&self.settings.folder)
                .hint("give it `input_ids`, or get the model's tokenizer.json")),
        }
    }
}

impl Tally {
    fn add(&mut self, batch: &TokenBatch) {
        self.rows += batch.rows() as u64;
        self.tokens += batch.tokens() as u64;
        self.places += (batch.rows() * batch.longest()) as u64;
        self.squares += batch.lengths().map(|length| (length * length) as u64).sum::<u64>();
    }
}

struct Stream<'a, N, S> {
    embedder: &'a mut Embedder,
    name: &'a N,
    sink: S,
    order: Order,
    job: Job<'a>,
    in_flight: usize,
    /// Vectors that came before one with a smaller number.
    ready: BTreeMap<usize, Vec<f32>>,
    next: usize,
}

impl<N: Fn(usize) -> String, S: FnMut(usize, &[f32]) -> Result<()>> Stream<'_, N, S> {
    fn run(&mut self, mut inputs: impl Iterator<Item = Result<Input>>, kind: TextKind) -> Result<()> {
        let mut first = 0;
        let mut size = FIRST_WINDOW;
        loop {
            let mut window = Vec::new();
            for input in inputs.by_ref().take(size) {
                let number = first + window.len();
                window.push(self.embedder.ids(input?, kind).map_err(|e| self.named(number, e))?);
                self.job.check()?;
                // Vectors of the window before arrive while this one is tokenized.
                while let Some(reply) = self.embedder.engine.try_receive() {
                    self.take(reply)?;
                }
            }
            if window.is_empty() {
                break;
            }
            let (mut rows_of, mut tokens) = (Vec::new(), Vec::new());
            for (row, found) in window.iter().enumerate() {
                match found {
                    Some(found) => {
                        rows_of.push(first + row);
                        tokens.push(found);
                    }
                    None => self.keep(first + row, &vec![0.0; self.embedder.info().dimensions])?,
                }
            }
            let lengths: Vec<usize> = tokens.iter().map(|(ids, _)| ids.len()).collect();
            for rows in batches(&lengths, self.embedder.settings.token_budget) {
                let mut batch = TokenBatch::new();
                for (ids, left_out) in rows.iter().map(|&row| tokens[row]) {
                    batch.push_after(ids, *left_out);
                }
                let rows: Vec<usize> = rows.into_iter().map(|row| rows_of[row]).collect();
                self.check(&batch, &rows)?;
                self.embedder.tally.add(&batch);
                self.embedder.engine.send(Request { batch, rows })?;
                self.in_flight += 1;
                while let Some(reply) = self.embedder.engine.try_receive() {
                    self.take(reply)?;
                }
                self.job.check()?;
            }
            first += window.len();
            size = (size * 2).min(WINDOW);
        }
        while self.in_flight > 0 {
            let reply = self.embedder.engine.receive()?;
            self.take(reply)?;
            self.job.check()?;
        }
        Ok(())
    }

    /// Token ids come from outside: say which input is wrong before the engine is asked.
    fn check(&self, batch: &TokenBatch, rows: &[usize]) -> Result<()> {
        batch.check(self.embedder.engine.info()).map_err(|e| {
            use patina_backend::BatchError::{EmptyRow, NothingPooled, OutOfVocabulary, TooLong};
            let (row, reason) = match e {
                EmptyRow { row } => (row, "it has no tokens".to_owned()),
                NothingPooled { row, .. } => {
                    (row, "beside the prompt, which the model leaves out of the pooling, it has no tokens".to_owned())
                }
                TooLong { row, tokens, max } => (row, format!("it has {tokens} tokens and the model takes {max}")),
                OutOfVocabulary { row, id, vocabulary } => (row, format!("it has the token id {id} and the model has {vocabulary} tokens")),
                other => return Error::bug(other.to_string()),
            };
            Error::usage(format!("{} cannot be embedded: {reason}", (self.name)(rows[row])))
        })
    }

    fn take(&mut self, Reply { batch, rows, result }: Reply) -> Result<()> {
        self.in_flight -= 1;
        let vectors = match result {
            Ok(vectors) => vectors,
            Err(EngineError::NonFinite { row }) => return Err(self.not_finite(&batch, &rows, row)),
            Err(error) => return Err(error.into()),
        };
        self.hand_over(&rows, &vectors)
    }

    fn hand_over(&mut self, rows: &[usize], vectors: &Embeddings) -> Result<()> {
        rows.iter().zip(vectors.iter()).try_for_each(|(&number, vector)| self.keep(number, vector))
    }

    /// One finished vector.
    fn keep(&mut self, number: usize, vector: &[f32]) -> Result<()> {
        self.job.progress.advance(1);
        match self.order {
            Order::AsComputed => (self.sink)(number, vector)?,
            Order::AsGiven => {
                self.ready.insert(number, vector.to_vec());
            }
        }
        while let Some(vector) = self.ready.remove(&self.next) {
            (self.sink)(self.next, &vector)?;
            self.next += 1;
        }
        Ok(())
    }

    /// Says which input has no finite vector. In a batch a broken row spoils its neighbours' sums, so each is asked for alone.
    fn not_finite(&mut self, batch: &TokenBatch, rows: &[usize], suspect: usize) -> Error {
        // What else is finished is handed over, as the caller was promised.
        while self.in_flight > 0 {
            let Ok(reply) = self.embedder.engine.receive() else { break };
            self.in_flight -= 1;
            if let Ok(vectors) = &reply.result {
                let _ = self.hand_over(&reply.rows, vectors);
            }
        }
        let alone = |row: &usize| {
            let mut alone = TokenBatch::new();
            alone.push_after(batch.row(*row), batch.left_out()[*row] as usize);
            let engine = &self.embedder.engine;
            let reply = engine.send(Request { batch: alone, rows: vec![*row] }).and_then(|()| engine.receive());
            reply.is_ok_and(|reply| matches!(reply.result, Err(EngineError::NonFinite { .. })))
        };
        let (row, in_batch) = match (0..rows.len()).find(alone) {
            Some(row) => (row, String::new()),
            None => (suspect, format!(" (in a batch of {}; alone it is)", rows.len())),
        };
        Error::corrupt(format!("the vector of {} is not finite{in_batch}", (self.name)(rows[row])))
            .at(&self.embedder.settings.folder)
            .hint("the model's weights hold NaN or infinite values, or overflow on this text; nothing was stored for it")
    }

    fn named(&self, number: usize, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Failed => Error::failed(format!("{}: {}", (self.name)(number), error.message())).caused_by(error),
            _ => error,
        }
    }
}
