//! How long work tells about itself and is told to stop, without knowing about terminals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// Receives what a long task has to say. Implementations must not fail and must be cheap.
pub trait Progress: Send + Sync {
    /// A stage begins: `label` is a verb phrase ("embedding"), `total` how many `unit`s if known.
    fn begin(&self, label: &str, total: Option<u64>, unit: &'static str);
    /// `count` more units of the current stage are done.
    fn advance(&self, count: u64);
    /// The current stage is over; `summary` is one short sentence or empty.
    fn end(&self, summary: &str);
    /// Something that the user should read: a file that was left out, a choice that was made.
    fn note(&self, text: &str);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>, _: &'static str) {}
    fn advance(&self, _: u64) {}
    fn end(&self, _: &str) {}
    fn note(&self, _: &str) {}
}

/// A request to stop that any thread may raise, such as Ctrl-C.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks all work that holds this to stop at the next safe place.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether a stop was asked for.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What every long function takes: where to report, and when to stop.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// Where to report.
    pub progress: &'a dyn Progress,
    cancel: Option<&'a Cancel>,
}

impl<'a> Job<'a> {
    /// A job that reports to `progress` and stops when `cancel` is raised.
    pub fn new(progress: &'a dyn Progress, cancel: &'a Cancel) -> Job<'a> {
        Job { progress, cancel: Some(cancel) }
    }

    /// A job that reports nothing and cannot be stopped.
    pub fn silent() -> Job<'static> {
        Job { progress: &Silent, cancel: None }
    }

    /// The same job with nothing to report: part of a task that reports itself.
    pub fn quiet(self) -> Job<'a> {
        Job { progress: &Silent, ..self }
    }

    /// An error of kind [`ErrorKind::Interrupted`](crate::error::ErrorKind::Interrupted) once a stop was asked for. Call it
    /// often, at places where everything on disk is whole.
    pub fn check(&self) -> Result<()> {
        match self.cancel {
            Some(cancel) if cancel.is_raised() => Err(Error::interrupted()),
            _ => Ok(()),
        }
    }
}
