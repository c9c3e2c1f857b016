//! `patina scrape`: the project's notes, history, documents and code into the store.

use crate::cli::Context;
use crate::cli::pins;
use crate::cli::project::Project;
use crate::cli::report::{count, plural};
use crate::error::Result;
use crate::progress::Job;
use crate::recipe::ScrapePlan;
use crate::scrape::{Options, Report, Tally, scrape};
use crate::search::snippet::printable;
use crate::store::Store;

/// Left-out files that are named; the rest is counted.
const NAMED: usize = 10;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Read everything again and rebuild what is derived, instead of only what changed.
    #[arg(long)]
    full: bool,
    /// Fail unless what is here is the source that .patina/oxidize.lock pins; it is in the store then all the same.
    #[arg(long)]
    locked: bool,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let project = Project::find(context.project.as_deref())?;
    let plan = ScrapePlan::resolve(&project.recipe()?, &project.recipe_path())?;
    let lock = arguments.locked.then(|| pins::source(&project)).transpose()?;
    let _held = project.lock("scrape")?;
    let mut store = Store::open(&project.database())?;
    let options = Options {
        sessions: plan.sessions,
        include: plan.include,
        exclude: plan.exclude,
        max_file_bytes: plan.max_file_bytes,
        full: arguments.full,
    };
    let progress = context.report.progress();
    let report = scrape(&project.root, &mut store, &options, Job::new(progress.as_ref(), &context.cancel))?;
    if arguments.full {
        // Vectors of texts that are gone are kept until here: a file that comes back costs nothing.
        store.prune_vectors()?;
    }
    let chunks = store.counts()?.chunks_total();
    context.report.result(&report, |_| text(&report, chunks))?;
    match &lock {
        Some(source) => pins::hold_source(&project, source, &store),
        None => Ok(()),
    }
}

fn text(report: &Report, chunks: u64) -> String {
    let line = |name: &str, tally: &Tally| {
        let total = tally.added + tally.changed + tally.unchanged;
        let mut changes = Vec::new();
        for (n, word) in [(tally.added, "new"), (tally.changed, "changed"), (tally.removed, "gone")] {
            if n > 0 {
                changes.push(format!("{} {word}", count(n)));
            }
        }
        let changes = if changes.is_empty() { "nothing new".to_owned() } else { changes.join(", ") };
        format!("{name:<10} {:>7}   {changes}\n", count(total))
    };
    let mut out = String::new();
    out += &line("sessions", &report.sessions);
    out += &line("commits", &report.commits);
    out += &line("documents", &report.documents);
    out += &line("code", &report.code);
    out += &format!("{:<10} {:>7}   to search\n", "chunks", count(chunks));
    if report.not_parsed > 0 {
        out += &format!("not parsed {:>7}   source files, cut at blank lines\n", count(report.not_parsed));
    }
    for left in report.left_out.iter().take(NAMED) {
        out += &format!("left out: {} ({})\n", printable(&left.path), printable(&left.reason));
    }
    if report.left_out.len() > NAMED {
        out += &format!("left out: {} more (--json names them all)\n", plural(report.left_out.len() - NAMED, "file"));
    }
    for note in &report.notes {
        out += &format!("note: {}\n", printable(note));
    }
    out
}
