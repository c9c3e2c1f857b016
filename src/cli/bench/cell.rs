//! `patina bench cell` and `patina bench peak`: the processes that `patina bench` starts and talks to.

use crate::bench::measure::{Heartbeat, serve, serve_peak};
use crate::cli::Context;
use crate::cli::project::Project;
use crate::error::Result;
use crate::progress::Job;

/// The process of one cell.
pub(super) fn run(context: &Context) -> Result<()> {
    let root = Project::at(context.project.as_deref())?.root;
    let heartbeat = heartbeat(context);
    serve(
        std::io::stdin(),
        &mut |line| context.report.write(line),
        |task| super::settings(&root, task.project, &task.asked),
        Job::new(&heartbeat, &context.cancel),
    )
}

/// The process that measures this machine's peak.
pub(super) fn run_peak(context: &Context) -> Result<()> {
    let heartbeat = heartbeat(context);
    serve_peak(std::io::stdin(), &mut |line| context.report.write(line), Job::new(&heartbeat, &context.cancel))
}

fn heartbeat(context: &Context) -> Heartbeat<impl Fn(&[u8]) + Send + Sync> {
    Heartbeat::new(|line| {
        // Whoever listens no more has closed the other pipe too, and that ends this process.
        let _ = context.report.write(line);
    })
}
