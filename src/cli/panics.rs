//! What a panic says: where and what, on standard error.
//!
//! The standard library's own hook adds a backtrace to a panic during another, asked for or not, and holds a lock meanwhile. If memory runs
//! out in it, the report of that waits for the same lock, and the thread for itself: for ever. A thread that the system gives no memory to
//! begin with panics just so, twice.

use std::fmt::Display;
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};

/// Sets the hook. Whoever asks for backtraces (`RUST_BACKTRACE`) keeps the standard library's.
pub(super) fn install() {
    if std::env::var_os("RUST_BACKTRACE").is_none_or(|value| value == "0") {
        panic::set_hook(Box::new(hook));
    }
}

fn hook(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("without a word");
    match info.location() {
        Some(place) => tell(&mut io::stderr().lock(), place, message),
        None => tell(&mut io::stderr().lock(), &"an unknown place", message),
    }
}

/// Whether anybody can read it is not the matter of a thread that panics.
fn tell(out: &mut dyn Write, place: &dyn Display, message: &str) {
    let _ = writeln!(out, "panicked at {place}: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_says_where_and_what_and_nothing_more() {
        let mut out = Vec::new();
        tell(&mut out, std::panic::Location::caller(), "a test");
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.starts_with("panicked at src/") && text.ends_with(": a test\n") && text.lines().count() == 1, "{text}");
        // A full disk.
        tell(&mut [0u8; 4].as_mut_slice(), &"a place", "a test");
    }
}
