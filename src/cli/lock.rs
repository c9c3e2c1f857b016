//! `patina lock`: the lockfile, written from what is here, or compared with it.

use serde::Serialize;

use crate::cli::Context;
use crate::cli::pins::{Depth, Pinned, refuse};
use crate::cli::project::Project;
use crate::cli::report::{Style, plural};
use crate::cli::setup::{self, Overrides};
use crate::embed::select::Purpose;
use crate::error::{ErrorKind, Result};
use crate::progress::Job;
use crate::recipe::lock::{Difference, Lock};
use crate::search::snippet::printable;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Write nothing, and fail unless everything is what the lockfile pins.
    #[arg(long)]
    check: bool,
    /// The runtime, in place of the recipe's: auto, onnx, mlx or measured.
    #[arg(long, value_name = "R")]
    runtime: Option<String>,
}

#[derive(Serialize)]
struct Written<'a> {
    path: String,
    lock: &'a Lock,
}

#[derive(Serialize)]
struct Checked<'a> {
    path: String,
    holds: bool,
    differences: &'a [Difference],
    /// Parts that only one of the two has.
    not_compared: Vec<&'static str>,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let project = Project::find(context.project.as_deref())?;
    let path = project.lock_path();
    let old = arguments.check.then(|| Lock::read(&path)).transpose()?;
    let pinned = old.as_ref().map(|old| old.runtime.name.clone());
    let overrides = Overrides { runtime: arguments.runtime, pinned, ..Overrides::default() };
    // A check may borrow an index of the other runtime where parity is certified; what is written is this runtime's own.
    let purpose = if arguments.check { Purpose::Query } else { Purpose::Bulk };
    let setup = setup::for_project(&project, &overrides, purpose)?;
    // What another process is changing cannot be pinned.
    let _held = if arguments.check { None } else { Some(project.lock("lock")?) };
    let store = match Store::open_existing(&project.database()) {
        Ok(store) => Some(store),
        Err(error) if error.kind() == ErrorKind::Missing => None,
        Err(error) => return Err(error),
    };
    let progress = context.report.progress();
    let pinned = Pinned { setup: &setup, store: store.as_ref() };
    let mut now = pinned.inputs(Depth::Bytes, Job::new(progress.as_ref(), &context.cancel))?;
    now.made = pinned.made(None, Depth::Bytes)?;
    let path_text = path.display().to_string();
    let Some(old) = old else {
        now.write(&path)?;
        return context.report.result(&Written { path: path_text, lock: &now }, |style| written(&now, &path.display().to_string(), style));
    };
    let differences = pinned.differences(&old, &now);
    let not_compared = [("source", old.source.is_some() && now.source.is_some()), ("made", old.made.is_some() && now.made.is_some())];
    let checked = Checked {
        path: path_text,
        holds: !differences.iter().any(|difference| difference.must_match),
        differences: &differences,
        not_compared: not_compared.iter().filter(|(_, both)| !both).map(|(part, _)| *part).collect(),
    };
    context.report.result(&checked, |style| text(&checked, style))?;
    refuse(&project, &differences)
}

fn written(lock: &Lock, path: &str, style: &Style) -> String {
    let mut out = format!("wrote {path}\n");
    let model = &lock.model;
    out += &format!("model        {}, {} ({})\n", style.bold(&model.name), plural(model.files.len(), "file"), &model.identity[..12]);
    let runtime = &lock.runtime;
    out += &format!("runtime      {} {} on {}, {}\n", runtime.name, runtime.version, runtime.device, runtime.precision);
    out += &match &lock.source {
        Some(source) => format!("source       {}, and {} beside\n", plural(source.chunks, "chunk"), plural(source.commits, "commit")),
        None => "source       not pinned: nothing was scraped yet\n".into(),
    };
    out += &match &lock.made {
        Some(made) => {
            format!("made         an index of {}, {}\n", plural(made.index.vectors, "vector"), plural(made.projections.len(), "projection"))
        }
        None => "made         not pinned: it is not up to date, `patina oxidize` makes it\n".into(),
    };
    out
}

fn text(checked: &Checked<'_>, style: &Style) -> String {
    let mut out = format!("{} {}\n", checked.path, if checked.holds { style.good("holds") } else { style.bad("does not hold") });
    for (must_match, heading) in [(true, "must match, and does not:"), (false, "differs, and need not match:")] {
        let mut differences = checked.differences.iter().filter(|difference| difference.must_match == must_match).peekable();
        if differences.peek().is_some() {
            out += &format!("{heading}\n");
        }
        for Difference { field, expected, found, .. } in differences {
            out += &format!("  {}\n    pinned {}\n    found  {}\n", style.bold(&printable(field)), printable(expected), printable(found));
        }
    }
    for part in &checked.not_compared {
        out += &match *part {
            "source" => "not compared: the source, which is not scraped here or was not pinned\n".to_owned(),
            part => format!("not compared: what was {part}, which is not up to date here or was not pinned\n"),
        };
    }
    out
}
