//! `patina bench cell`: the process of one cell, which `patina bench` starts and talks to.

use crate::bench::measure::{Heartbeat, serve};
use crate::cli::Context;
use crate::cli::project::Project;
use crate::error::Result;
use crate::progress::Job;

pub(super) fn run(context: &Context) -> Result<()> {
    let root = Project::at(context.project.as_deref())?.root;
    let heartbeat = Heartbeat::new(|line| {
        // Whoever listens no more has closed the other pipe too, and that ends this process.
        let _ = context.report.write(line);
    });
    serve(
        std::io::stdin(),
        &mut |line| context.report.write(line),
        |task| super::settings(&root, task.project, &task.asked),
        Job::new(&heartbeat, &context.cancel),
    )
}
