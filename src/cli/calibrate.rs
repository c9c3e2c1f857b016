//! `patina calibrate`: what `runtime: measured` chooses on this machine, measured anew.

use serde::Serialize;

use crate::bench::calibrate::median;
use crate::cli::Context;
use crate::cli::measured::{self, Texts};
use crate::cli::project::Project;
use crate::cli::report::{Style, count};
use crate::cli::setup::{self, Overrides};
use crate::embed::Settings;
use crate::embed::select::{Choice, Purpose};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Cache;
use crate::progress::Job;
use crate::recipe::lock::{Calibration, Compared};
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A model's name, hub id or folder, measured on sample texts; the project's model on its own texts if left out.
    #[arg(long, value_name = "NAME|FOLDER")]
    model: Option<String>,
    /// The precision, in place of the recipe's.
    #[arg(long, value_name = "P")]
    precision: Option<String>,
}

#[derive(Serialize)]
struct Calibrated<'a> {
    /// What is used from now on, and why.
    choice: &'a Choice,
    /// What was measured.
    measured: &'a Calibration,
    /// Where it is kept; none if it could not be.
    kept: Option<String>,
    /// Whether the recipe asks for it. Without a project, the command line has to.
    applies: bool,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let progress = context.report.progress();
    let job = Job::new(progress.as_ref(), &context.cancel);
    let overrides = Overrides { runtime: Some("measured".into()), precision: arguments.precision, ..Overrides::default() };
    let (mut settings, measuring, texts, applies) = match &arguments.model {
        Some(model) => {
            let root = Project::at(context.project.as_deref())?.root;
            let settings = setup::for_model(model, &root, &overrides, Purpose::Bulk)?;
            (settings, None, Texts::built_in(), false)
        }
        None => {
            let project = Project::find(context.project.as_deref())?;
            let setup = setup::for_project(&project, &overrides, Purpose::Bulk)?;
            let store = match Store::open_existing(&project.database()) {
                Ok(store) => Some(store),
                Err(error) if error.kind() == ErrorKind::Missing => None,
                Err(error) => return Err(error),
            };
            let applies = setup.plan.runtime == crate::recipe::RuntimeChoice::Measured;
            (setup.settings, setup.measuring, Texts::of_project(store.as_ref())?, applies)
        }
    };
    let measuring = measuring.unwrap_or_default();
    let (choice, pins, kept) = measuring.measure(&mut settings, &Cache::open()?, &texts, true, job)?;
    let Some(pins) = pins else { return Err(Error::bug("a measurement came to nothing")) };
    let kept = kept.map(|path| path.display().to_string());
    let calibrated = Calibrated { choice: &choice, measured: &pins.measured, kept, applies };
    context.report.result(&calibrated, |style| text(&calibrated, &settings, arguments.model.is_some(), style))
}

fn text(calibrated: &Calibrated<'_>, settings: &Settings, without_project: bool, style: &Style) -> String {
    let mut out = String::new();
    for comparison in &calibrated.measured.comparisons {
        let of = match comparison.of {
            Compared::Runtime => "runtimes",
            Compared::TokenBudget => "token budgets",
            Compared::Threads => "threads",
        };
        out += &style.dim(&format!("{of}, {} tokens a run\n", count(comparison.tokens)));
        for row in &comparison.rows {
            let setting = format!("{:<5} {:>3} threads {:>5} a batch", row.setting.runtime, row.setting.threads, row.setting.token_budget);
            let rates = &row.tokens_per_second;
            out += &match (&row.problem, median(rates), rates.iter().min(), rates.iter().max()) {
                (Some(problem), ..) => format!("  {setting}  {}\n", style.bad(&format!("failed: {problem}"))),
                (None, Some(median), Some(&low), Some(&high)) => {
                    let rounds = rates.len();
                    format!("  {setting}  {:>9} tokens/s ({} to {}, {rounds} rounds)\n", count(median), count(low), count(high))
                }
                _ => format!("  {setting}  not timed\n"),
            };
        }
    }
    for left_out in &calibrated.measured.left_out {
        out += &format!("{left_out}\n");
    }
    out += &format!("chosen: {}\n", style.bold(&measured::told(calibrated.choice, settings)));
    for refused in &calibrated.choice.refused {
        out += &format!("not {}: {}\n", refused.runtime, refused.reason);
    }
    if let Some(kept) = &calibrated.kept {
        out += &format!("kept in {kept}\n");
    }
    out += match (calibrated.applies, without_project) {
        (true, _) => "`patina oxidize` records it in the lockfile\n",
        (false, true) => "`--runtime measured` uses it\n",
        (false, false) => "the recipe does not ask for it: `runtime: measured` does\n",
    };
    out
}
