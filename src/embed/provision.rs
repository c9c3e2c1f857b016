//! ONNX Runtime's library: where it is looked for, and how it comes into Patina's cache.

mod catalogue;
mod find;
mod install;
mod pip;
mod record;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::Result;

pub use catalogue::{PINNED, Platform};
pub use find::{Candidate, Finding, Located, Origin, candidates, find};
pub use install::{Installed, Outcome, Source, install};

/// The environment variable that names the library and so ends the search.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";
/// The environment variable that names the Python whose pip fetches the wheel.
pub const PYTHON_VARIABLE: &str = "PATINA_PYTHON";
/// The oldest ONNX Runtime that has the API that Patina is built for (API 24).
pub const MINIMUM: Version = Version { major: 1, minor: 24, patch: 0 };
/// The command that every "not found" names.
pub(crate) const COMMAND: &str = "patina runtime install";

/// A release of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number; the API's number.
    pub minor: u32,
    /// The third number, 0 if left out.
    pub patch: u32,
}

impl Version {
    /// Reads `1.31.0` or `1.31`. A single number is no version (`libonnxruntime.so.1` says only which ABI it is), and what
    /// follows the third number (`1.31.0.dev1`) is not looked at.
    pub fn parse(text: &str) -> Option<Version> {
        let mut parts = text.split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        let patch = parts.next().map_or(Some(0), |part| part.parse().ok())?;
        Some(Version { major, minor, patch })
    }

    /// Whether Patina can use it.
    pub fn is_enough(self) -> bool {
        self >= MINIMUM
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// What provisioning looks at on a machine. A value, so that a test (or another program) brings its own instead of changing
/// the process's environment.
#[derive(Clone, Debug)]
pub struct Places {
    /// The library that the user names ([`LIBRARY_VARIABLE`]).
    pub named: Option<PathBuf>,
    /// Patina's cache; none where the machine has no home folder.
    pub cache: Option<PathBuf>,
    /// The folders of the system, first one first.
    pub system: Vec<PathBuf>,
    /// Commands that may start a Python, first one first.
    pub pythons: Vec<Vec<OsString>>,
    /// The machine; none if there is no wheel for it.
    pub platform: Option<Platform>,
    /// The wheels that are known.
    wheels: Vec<catalogue::Wheel>,
}

impl Places {
    /// The places of the machine and environment that this process runs in.
    pub fn of_this_machine() -> Places {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let pythons = match set(PYTHON_VARIABLE) {
            // pip runs in a folder of its own: a relative path would name something else there.
            Some(python) if Path::new(&python).components().count() > 1 => {
                vec![vec![std::path::absolute(&python).map_or(python, PathBuf::into_os_string)]]
            }
            Some(python) => vec![vec![python]],
            None if cfg!(windows) => vec![vec!["py".into(), "-3".into()], vec!["python".into()], vec!["python3".into()]],
            None => vec![vec!["python3".into()], vec!["python".into()]],
        };
        Places {
            named: set(LIBRARY_VARIABLE).map(PathBuf::from),
            cache: crate::model::cache::cache_root(),
            system: find::system_folders(),
            pythons,
            platform: Platform::current(),
            wheels: catalogue::pinned(),
        }
    }

    /// Where runtimes lie in the cache.
    fn runtimes(&self) -> Option<PathBuf> {
        self.cache.as_ref().map(|cache| cache.join("runtime"))
    }
}

/// The bytes of the start of a file, fewer if it is shorter.
fn head(path: &Path, bytes: usize) -> Result<Vec<u8>> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|e| crate::error::Error::io("read", path, e))?;
    let mut head = Vec::with_capacity(bytes);
    file.take(bytes as u64).read_to_end(&mut head).map_err(|e| crate::error::Error::io("read", path, e))?;
    Ok(head)
}
