//! Starting threads. Where the system has none left, the standard library's `spawn` panics; here that is an error like any other.

use std::io;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use crate::error::{Error, Result};

/// Starts a thread. `purpose` is a verb phrase, such as "read files".
///
/// Fails if the system has no memory for another thread, or allows no more of them.
pub fn start<T: Send + 'static>(purpose: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    is_left().and_then(|()| Builder::new().spawn(work)).map_err(|e| none_left(purpose, e))
}

/// The same in a scope, which waits for what was started before: whoever gets an error must let those threads end.
pub fn start_in<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    purpose: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    is_left().and_then(|()| Builder::new().spawn_scoped(scope, work)).map_err(|e| none_left(purpose, e))
}

fn none_left(purpose: &str, error: io::Error) -> Error {
    Error::failed(format!("a thread cannot be started to {purpose}: {error}"))
        .hint("close other programs, or raise the limits of memory and threads, and run the command again")
        .caused_by(error)
}

#[cfg(not(test))]
fn is_left() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
fn is_left() -> io::Result<()> {
    tests::take_one()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How many more threads this one may start; none is the system's own limit.
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// Runs something on a machine that has `left` more threads for the calling one.
    pub(crate) fn with_only<T>(left: usize, run: impl FnOnce() -> T) -> T {
        LEFT.set(Some(left));
        let out = run();
        LEFT.set(None);
        out
    }

    pub(super) fn take_one() -> io::Result<()> {
        match LEFT.get() {
            Some(0) => Err(io::Error::from(io::ErrorKind::WouldBlock)),
            left => {
                LEFT.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }

    #[test]
    fn a_thread_too_many_is_an_error() {
        let error = with_only(1, || {
            assert_eq!(start("count", || 7).expect("the first").join().expect("a number"), 7);
            start("count", || 8).expect_err("the second")
        });
        assert!(error.message().starts_with("a thread cannot be started to count: "), "{error}");
        assert!(error.hint_text().is_some());
        let sum = std::thread::scope(|scope| start_in(scope, "count", || 9).expect("again").join().expect("a number"));
        assert_eq!(sum, 9);
    }
}
