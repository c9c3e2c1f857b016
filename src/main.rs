//! The `patina` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    patina::cli::main()
}
