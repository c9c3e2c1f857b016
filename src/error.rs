//! The one error type of the application: what kind of failure, where, what was expected, and one hint.

use std::fmt;
use std::path::{Path, PathBuf};

use patina_backend::EngineError;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as a caller may want to tell cases apart; it also decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Something failed while running: disk, a foreign program, an engine.
    Failed,
    /// The command line asks for something that is not possible.
    Usage,
    /// The recipe is wrong; the place is in [`Error::place`].
    Recipe,
    /// Something that the command needs is not on this machine: a model, a runtime, a project.
    Missing,
    /// Bytes that do not say what they must: a wrong hash, a broken file, a non-finite number.
    Corrupt,
    /// Something derived does not match what it was derived from; a command mends it.
    Stale,
    /// Another process holds the project.
    Busy,
    /// The user asked to stop; what was finished before is kept.
    Interrupted,
    /// A mistake of Patina's own.
    Bug,
}

impl ErrorKind {
    /// The exit code of a process that ends with this error: 1 failed, 2 usage or recipe, 3 integrity, 4 busy, 70 a bug,
    /// and 130 (128 + SIGINT, as shells count) for an interruption.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::Failed => 1,
            ErrorKind::Usage | ErrorKind::Recipe | ErrorKind::Missing => 2,
            ErrorKind::Corrupt | ErrorKind::Stale => 3,
            ErrorKind::Busy => 4,
            ErrorKind::Bug => 70,
            ErrorKind::Interrupted => 130,
        }
    }

    /// A stable word for scripts (`--json`).
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Failed => "failed",
            ErrorKind::Usage => "usage",
            ErrorKind::Recipe => "recipe",
            ErrorKind::Missing => "missing",
            ErrorKind::Corrupt => "corrupt",
            ErrorKind::Stale => "stale",
            ErrorKind::Busy => "busy",
            ErrorKind::Interrupted => "interrupted",
            ErrorKind::Bug => "bug",
        }
    }
}

/// Where an error is: a file, and if known the line and column in it, both counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Line and column, from 1.
    pub at: Option<(usize, usize)>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        match self.at {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// An error with its kind, a one-sentence message (what failed, expected and found), a place and a hint.
///
/// Boxed inside, so that a `Result` stays one word wide.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    place: Option<Place>,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync + 'static>>,
}

impl Error {
    /// A new error; `message` starts in lower case and has no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner { kind, message: message.into(), place: None, hint: None, source: None }))
    }

    /// [`ErrorKind::Failed`]
    pub fn failed(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Failed, message)
    }

    /// [`ErrorKind::Usage`]
    pub fn usage(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Usage, message)
    }

    /// [`ErrorKind::Missing`]
    pub fn missing(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Missing, message)
    }

    /// [`ErrorKind::Corrupt`]
    pub fn corrupt(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Corrupt, message)
    }

    /// [`ErrorKind::Stale`]
    pub fn stale(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Stale, message)
    }

    /// [`ErrorKind::Bug`]
    pub fn bug(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Bug, message)
    }

    /// [`ErrorKind::Interrupted`]
    pub fn interrupted() -> Error {
        Error::new(ErrorKind::Interrupted, "interrupted; what was finished is kept")
    }

    /// A failed operation on a file: `doing` is a verb phrase such as "read" or "create".
    pub fn io(doing: &str, path: &Path, source: std::io::Error) -> Error {
        let hint = match source.kind() {
            std::io::ErrorKind::FileTooLarge | std::io::ErrorKind::QuotaExceeded => {
                Some("the system limits how much may be written here; raise the limit and run the command again")
            }
            std::io::ErrorKind::StorageFull => Some("the disk is full; free some room and run the command again"),
            std::io::ErrorKind::ReadOnlyFilesystem => Some("the file system is read-only; nothing was changed"),
            std::io::ErrorKind::PermissionDenied => Some("check who owns the file and its permissions; nothing was changed"),
            _ => None,
        };
        let error = Error::failed(format!("cannot {doing} the file: {source}")).at(path).caused_by(source);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// Adds the file that the error is about.
    pub fn at(mut self, path: impl Into<PathBuf>) -> Error {
        self.0.place = Some(Place { path: path.into(), at: None });
        self
    }

    /// Adds the file, line and column (from 1) that the error is about.
    pub fn at_line(mut self, path: impl Into<PathBuf>, line: usize, column: usize) -> Error {
        self.0.place = Some(Place { path: path.into(), at: Some((line, column)) });
        self
    }

    /// Adds one sentence about what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the error underneath. Its text is not printed again: put what matters into the message.
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence, without place and hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The file, line and column.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    /// What to do next.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.0.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        match &self.0.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Error {
        let kind = match &error {
            EngineError::RuntimeMissing { .. } | EngineError::Precision { .. } | EngineError::Missing { .. } => ErrorKind::Missing,
            EngineError::Model { .. } => ErrorKind::Usage,
            EngineError::Weights { .. } | EngineError::Foreign { .. } | EngineError::Damaged { .. } | EngineError::NonFinite { .. } => {
                ErrorKind::Corrupt
            }
            EngineError::Batch { .. } | EngineError::Closed => ErrorKind::Bug,
            _ => ErrorKind::Failed,
        };
        let place = error.path().map(Path::to_path_buf);
        let at = match &error {
            EngineError::Damaged { at, .. } => *at,
            _ => None,
        };
        let hint = error.hint();
        let mut out = Error::new(kind, error.message()).caused_by(error);
        if let Some(path) = place {
            out = match at {
                Some((line, column)) => out.at_line(path, line, column),
                None => out.at(path),
            };
        }
        match hint {
            Some(hint) => out.hint(hint),
            None => out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_the_place_and_exit_codes_follow_the_kind() {
        let error = Error::new(ErrorKind::Recipe, "unknown key `epoch`").at_line("a.yaml", 3, 5).hint("did you mean `epochs`?");
        assert_eq!(error.to_string(), "a.yaml:3:5: unknown key `epoch`");
        assert_eq!(error.hint_text(), Some("did you mean `epochs`?"));
        assert_eq!(error.kind().exit_code(), 2);
        assert_eq!(ErrorKind::Stale.exit_code(), 3);
        assert_eq!(ErrorKind::Busy.exit_code(), 4);
        assert_eq!(std::mem::size_of::<Error>(), std::mem::size_of::<usize>());
    }
}
