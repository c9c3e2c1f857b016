//! The one thread that owns the engine. It is fed by a channel and answers through another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use patina_backend::{EmbeddingEngine, Embeddings, EngineError, EngineInfo, TokenBatch};

use crate::error::{Error, Result};

/// Batches that may wait for the engine: enough that it never waits for the tokenizer, few enough that a stop is quick.
const QUEUE: usize = 4;

/// A batch, and the caller's own numbers of its rows.
pub(super) struct Request {
    pub batch: TokenBatch,
    pub rows: Vec<usize>,
}

/// The answer to one request, with what was asked.
pub(super) struct Reply {
    pub batch: TokenBatch,
    pub rows: Vec<usize>,
    pub result: Result<Embeddings, EngineError>,
}

pub(super) struct EngineThread {
    info: EngineInfo,
    requests: Option<SyncSender<Request>>,
    replies: Receiver<Reply>,
    thread: Option<JoinHandle<()>>,
}

impl EngineThread {
    /// Starts the thread and makes the engine on it: some runtimes tie an engine to the thread that made it.
    pub fn start(make: impl FnOnce() -> Result<Box<dyn EmbeddingEngine>, EngineError> + Send + 'static) -> Result<EngineThread> {
        let (requests, inbox) = sync_channel::<Request>(QUEUE);
        let (outbox, replies) = channel();
        let (tell, made) = channel();
        let thread = thread::Builder::new()
            .name("patina-engine".into())
            .spawn(move || match make() {
                Ok(engine) => {
                    let _ = tell.send(Ok(engine.info().clone()));
                    serve(engine, &inbox, &outbox);
                }
                Err(error) => {
                    let _ = tell.send(Err(error));
                }
            })
            .map_err(|e| Error::failed(format!("the engine's thread cannot be started: {e}")))?;
        match made.recv() {
            Ok(Ok(info)) => Ok(EngineThread { info, requests: Some(requests), replies, thread: Some(thread) }),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Error::bug("the engine's thread ended before it made the engine")),
        }
    }

    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// Hands over a batch; waits while the queue is full.
    pub fn send(&self, request: Request) -> Result<()> {
        let requests = self.requests.as_ref().ok_or(EngineError::Closed)?;
        requests.send(request).map_err(|_| Error::from(EngineError::Closed))
    }

    /// An answer that is there already.
    pub fn try_receive(&self) -> Option<Reply> {
        self.replies.try_recv().ok()
    }

    /// The next answer.
    pub fn receive(&self) -> Result<Reply> {
        self.replies.recv().map_err(|_| Error::from(EngineError::Closed))
    }
}

fn serve(mut engine: Box<dyn EmbeddingEngine>, inbox: &Receiver<Request>, outbox: &Sender<Reply>) {
    while let Ok(Request { batch, rows }) = inbox.recv() {
        // A panic in a runtime's wrapper must not look like an engine that was closed.
        let result = catch_unwind(AssertUnwindSafe(|| engine.embed(&batch))).unwrap_or_else(|_| {
            Err(EngineError::Runtime { runtime: engine.info().runtime, doing: "embed a batch", reason: "it panicked".into() })
        });
        if outbox.send(Reply { batch, rows, result }).is_err() {
            return;
        }
    }
}

impl Drop for EngineThread {
    fn drop(&mut self) {
        // Closing the channel ends the loop; waiting for it lets the runtime release its memory in order.
        self.requests.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
