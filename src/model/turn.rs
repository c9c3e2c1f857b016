//! Taking turns at what two processes want to bring: the second one waits, says so, and can be stopped meanwhile.

use std::path::Path;

use crate::error::Result;
use crate::fs::Lock;
use crate::progress::Job;

/// The lock at `path`, as soon as it is free. `theirs` says what the holder does ("fetches the same model"), `check` whether to go on.
pub(super) fn take(path: &Path, doing: &str, theirs: &str, check: impl Fn() -> Result<()>, job: Job<'_>) -> Result<Lock> {
    let mut told = false;
    Lock::wait(path, doing, |holder| {
        if !std::mem::replace(&mut told, true) {
            job.progress.note(&format!("waiting for {holder}, which {theirs}"));
        }
        check()
    })
}
