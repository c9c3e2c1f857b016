//! The only place that prints and picks exit codes: results to standard output, talk and errors to standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use crate::cli::bars::Bars;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::{Cancel, Progress, Silent};
use crate::search::snippet::printable;

/// How a run talks.
pub(super) struct Report {
    json: bool,
    quiet: bool,
    color: bool,
}

impl Report {
    pub fn new(json: bool, quiet: bool) -> Report {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Report { json, quiet, color: wanted && !json && io::stdout().is_terminal() }
    }

    /// What long work reports to: bars on a terminal, plain lines elsewhere, nothing when quiet. A script that asked for JSON finds
    /// nothing but an error on standard error.
    pub fn progress(&self) -> Box<dyn Progress> {
        let terminal = io::stderr().is_terminal();
        if self.quiet || (self.json && !terminal) { Box::new(Silent) } else { Box::new(Bars::new(terminal)) }
    }

    /// Whether a script asked for JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A result: `text` for people, `value` as JSON for scripts.
    pub fn result(&self, value: &impl Serialize, text: impl FnOnce(&Style) -> String) -> Result<()> {
        let out = match self.json {
            true => serde_json::to_string_pretty(value).map_err(|e| Error::bug(format!("a result has no JSON form: {e}")))?,
            false => text(&Style { color: self.color }),
        };
        self.write(out.trim_end_matches('\n').as_bytes())?;
        self.write(b"\n")
    }

    /// Bytes of a result as they are.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(output_error)
    }

    /// Something for people to read beside the result, unless quiet.
    pub fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            say(text);
        }
    }
}

/// A line of talk. Where standard error takes none (a full disk, a reader that is gone) there is nobody to tell so, and the work goes on:
/// `eprintln!` would panic, in whatever thread it is.
pub(super) fn say(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn output_error(error: io::Error) -> Error {
    let message = format!("cannot write to standard output: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull => Error::failed(message).hint("the disk is full; free some room and run the command again"),
        _ => Error::failed(message),
    }
    .caused_by(error)
}

/// Whoever reads our output may stop reading, as `head` does: that is no failure of ours, and nothing to talk about.
fn nobody_reads(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    error.place().is_none() && source.is_some_and(|source| source.kind() == io::ErrorKind::BrokenPipe)
}

/// Terminal styles, or none.
pub(super) struct Style {
    color: bool,
}

impl Style {
    fn wrap(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn bold(&self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub fn dim(&self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub fn good(&self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub fn bad(&self, text: &str) -> String {
        self.wrap("31", text)
    }
}

/// A usage error, help, or the version, as clap words it. The arguments do not parse, so `--json` is looked for by hand.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json");
    if !json || !error.use_stderr() {
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    }
    let text = error.to_string();
    // What follows the first blank line is the usage, which `--help` tells too.
    let message: Vec<&str> = text.split("\n\n").next().unwrap_or_default().lines().map(str::trim).collect();
    let message = message.join(" ");
    let error = Error::usage(message.strip_prefix("error: ").unwrap_or(&message)).hint("`patina --help` tells what there is");
    print_error(&error, true);
    ExitCode::from(error.kind().exit_code())
}

/// The first Ctrl-C asks the work to stop where everything is whole; the second ends the process.
pub(super) fn stop_on_signals(cancel: &Cancel) {
    let cancel = cancel.clone();
    let set = ctrlc::set_handler(move || {
        if cancel.is_raised() {
            std::process::exit(i32::from(ErrorKind::Interrupted.exit_code()));
        }
        cancel.raise();
        if io::stderr().is_terminal() {
            say("\nstopping; what is finished is kept (once more to stop at once)");
        }
    });
    if let Err(error) = set {
        say(format_args!("warning: Ctrl-C will end the process at once: {error}"));
    }
}

/// Runs a command, prints its error, and picks the exit code. A panic is a bug of ours and says so.
pub(super) fn finish(report: &Report, run: impl FnOnce() -> Result<()>) -> ExitCode {
    let error = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(error)) if nobody_reads(&error) => return ExitCode::SUCCESS,
        Ok(Err(error)) => error,
        Err(_) => Error::bug("this is a bug in Patina").hint("please report it with the command and the lines above"),
    };
    print_error(&error, report.json);
    ExitCode::from(error.kind().exit_code())
}

fn print_error(error: &Error, json: bool) {
    if json {
        let place =
            error.place().map(|place| json!({ "path": place.path, "line": place.at.map(|at| at.0), "column": place.at.map(|at| at.1) }));
        let value = json!({ "error": {
            "kind": error.kind().name(), "message": error.message(), "place": place, "hint": error.hint_text(),
        }});
        say(value);
    } else {
        // Paths and the words of others may hold what a terminal would obey.
        for line in format!("error: {error}").lines() {
            say(printable(line));
        }
        if let Some(hint) = error.hint_text() {
            say(format_args!("hint: {}", printable(hint)));
        }
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn count(n: impl TryInto<u64>) -> String {
    let digits = n.try_into().unwrap_or(u64::MAX).to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 file`, `2 files`.
pub(super) fn plural(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(n as u64), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0u64), "0");
        assert_eq!(count(999u64), "999");
        assert_eq!(count(1_234_567u64), "1,234,567");
        assert_eq!(plural(1, "file"), "1 file");
        assert_eq!(plural(2000, "file"), "2,000 files");
    }
}
