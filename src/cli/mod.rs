//! The command line: arguments here, one file a command, and `report`, the only place that prints and picks exit codes.

mod bars;
mod bench;
mod calibrate;
mod doctor;
mod embed;
mod eval;
mod facts;
mod fusion;
mod init;
mod lock;
mod machine;
mod measured;
mod merge;
mod model;
mod oxidize;
mod panics;
mod parity;
mod pins;
mod project;
mod projections;
mod report;
mod rerank;
mod runtime;
mod scrape;
mod scry;
mod setup;
mod shard;
mod shards_in;
mod status;
mod texts_in;
mod validate;
mod vectors_out;
mod verdicts;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::progress::Cancel;
use report::Report;

/// Version and git revision of this build.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("PATINA_REVISION"));

/// Local-first text embeddings on ONNX Runtime and MLX, and the knowledge index built on them.
#[derive(Debug, Parser)]
#[command(name = "patina", version = VERSION, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done; 1 failed while running; 2 usage, recipe, or something missing; 3 damaged or stale data; 4 busy; 70 a bug; 130 interrupted."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Work on the project in this folder instead of the one around the current folder.
    #[arg(short = 'C', long, global = true, value_name = "DIR")]
    project: Option<PathBuf>,
    /// Write machine-readable JSON to standard output, and errors as JSON to standard error.
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing but results and errors.
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a recipe, .patina/oxidize.yaml, for the project in this folder.
    Init(init::Arguments),
    /// Gather session notes, git history, code and documents into .patina/data/patina.db.
    Scrape(scrape::Arguments),
    /// Embed what is new, build the index, and train and judge the recipe's projections.
    Oxidize(oxidize::Arguments),
    /// Search the project.
    Scry(scry::Arguments),
    /// Embed texts or token ids: lines, JSON lines, or Parquet; all of them, or one shard.
    Embed(embed::Arguments),
    /// Put the shards of `patina embed --shard` together, in the order of their input.
    Merge(merge::Arguments),
    /// What the project has, and whether it is up to date.
    Status(status::Arguments),
    /// What this machine and build offer: runtimes, libraries, models, and what was chosen and why.
    Doctor(doctor::Arguments),
    /// Pin every byte and version that results depend on in .patina/oxidize.lock, or check it.
    Lock(lock::Arguments),
    /// Look through recipe, model, weights, vectors and indexes for faults and oddities.
    Validate(validate::Arguments),
    /// Measure which runtime, threads and token budget are the fastest here, for `runtime: measured`.
    Calibrate(calibrate::Arguments),
    /// Compare the runtimes and precisions of this build on the same texts, and certify what may share an index.
    Parity(parity::Arguments),
    /// Measure models, runtimes and precisions side by side: speed, memory, parity, quality.
    Bench(bench::Arguments),
    /// Measure a model on labelled data, or this project's search on questions of its own or of yours.
    #[command(subcommand)]
    Eval(eval::Command),
    /// The models on this machine.
    #[command(subcommand)]
    Model(model::Command),
    /// The libraries that engines run on.
    #[command(subcommand)]
    Runtime(runtime::Command),
}

/// What every command gets.
struct Context {
    report: Report,
    cancel: Cancel,
    /// `--project`
    project: Option<PathBuf>,
}

/// Runs the program.
pub fn main() -> ExitCode {
    panics::install();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return report::usage(&error),
    };
    let report = Report::new(arguments.json, arguments.quiet);
    let cancel = Cancel::default();
    report::stop_on_signals(&cancel);
    let context = Context { report, cancel, project: arguments.project };
    report::finish(&context.report, || match arguments.command {
        Command::Init(arguments) => init::run(&context, arguments),
        Command::Scrape(arguments) => scrape::run(&context, arguments),
        Command::Oxidize(arguments) => oxidize::run(&context, arguments),
        Command::Scry(arguments) => scry::run(&context, arguments),
        Command::Embed(arguments) => embed::run(&context, arguments),
        Command::Merge(arguments) => merge::run(&context, arguments),
        Command::Status(arguments) => status::run(&context, arguments),
        Command::Doctor(arguments) => doctor::run(&context, arguments),
        Command::Lock(arguments) => lock::run(&context, arguments),
        Command::Validate(arguments) => validate::run(&context, arguments),
        Command::Calibrate(arguments) => calibrate::run(&context, arguments),
        Command::Parity(arguments) => parity::run(&context, arguments),
        Command::Bench(arguments) => bench::run(&context, arguments),
        Command::Eval(command) => eval::run(&context, command),
        Command::Model(command) => model::run(&context, command),
        Command::Runtime(command) => runtime::run(&context, command),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        super::Arguments::command().debug_assert();
    }
}
