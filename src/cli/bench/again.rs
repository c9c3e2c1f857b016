//! `patina bench recipe`: another author's result, run again here.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bench::corpus::{BUILT_IN_NAME, Corpus};
use crate::bench::reproduce::{CellReproduction, Pair, QualityCheck, Reproduction, reproduce};
use crate::bench::result::{Asked, BenchResult};
use crate::bench::run;
use crate::cli::Context;
use crate::cli::bench::compare::read;
use crate::cli::bench::{Common, Place, process};
use crate::cli::report::Style;
use crate::embed::select;
use crate::error::{Error, Result};
use crate::progress::Job;
use crate::search::snippet::printable;

/// How quality is checked too.
const WITH_QUALITY: &str = "name the labelled set with --quality";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The result: a file that `patina bench --output` wrote.
    result: PathBuf,
    /// Rounds, in place of the result's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=super::MOST_ROUNDS))]
    rounds: Option<u64>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let progress = context.report.progress();
    let job = Job::new(progress.as_ref(), &context.cancel);
    arguments.common.check()?;
    let there = read(&arguments.result)?;
    let place = Place::find(context)?;
    let (cells, left_out) = runnable(&there);
    if cells.is_empty() {
        return Err(Error::missing(format!("no cell of the result can be run here: {}", left_out.join("; "))).at(&arguments.result));
    }
    let corpus = corpus(&there, arguments.common.corpus.as_deref(), &place)?;
    let quality = match (&there.pins.quality, &arguments.common.quality) {
        (Some(pins), Some(folder)) => Some((folder.clone(), pins.first_queries)),
        (Some(_), None) => {
            context.report.note("note: the result has quality, which is not measured without --quality");
            None
        }
        (None, Some(folder)) => {
            return Err(Error::usage("the result has no quality that could be compared").at(folder).hint("leave --quality out"));
        }
        (None, None) => None,
    };
    let rounds = arguments.rounds.map_or(there.rounds.clamp(1, super::MOST_ROUNDS as usize), |n| n as usize);
    let queries = there.pins.single_queries().min(super::MOST_QUERIES as usize);
    let plan = place.plan(cells, corpus, quality, (rounds, queries), arguments.common.timeout, job)?;
    same_models(&there, &plan, &arguments.result)?;
    if let (Some(pinned), Some(found)) = (&there.pins.quality, &plan.pins.quality)
        && pinned.files != found.files
    {
        return Err(Error::stale("the labelled set is not the one of the result: its files have other hashes")
            .at(arguments.common.quality.clone().unwrap_or_default())
            .hint("get the same version of the set"));
    }
    let here = run::run(&plan, &|role| process(&place.root, role), job)?;
    if here.interrupted {
        arguments.common.write(&here)?;
        return Err(Error::interrupted());
    }
    let found = reproduce(&there, &here, left_out);
    // Shown first: what took minutes is not lost with a file that cannot be written.
    context.report.result(&found, |style| text(&found, style))?;
    arguments.common.write(&here)?;
    match found.reproduced {
        true => Ok(()),
        false if !found.judged && found.quality == QualityCheck::NotMeasured => {
            Err(Error::failed("nothing of the result was checked: it has quality alone").at(&arguments.result).hint(WITH_QUALITY))
        }
        false if !found.judged => Err(Error::failed("the result has nothing that could be checked").at(&arguments.result)),
        false => Err(Error::failed("the result does not come out here as it was").at(&arguments.result)),
    }
}

/// The measured cells whose runtime and precision this build has, and why others are left out.
fn runnable(there: &BenchResult) -> (Vec<Asked>, Vec<String>) {
    let (mut cells, mut left_out) = (Vec::new(), Vec::new());
    for cell in &there.cells {
        let asked = &cell.asked;
        let label = asked.label();
        let runtime = select::carried().into_iter().find(|(runtime, _)| runtime.name() == asked.runtime);
        match runtime {
            _ if cell.measured.is_none() => left_out.push(format!("{label}: it failed there")),
            Some((runtime, true)) if select::precisions(runtime).iter().any(|precision| precision.name() == asked.precision) => {
                cells.push(asked.clone());
            }
            Some((_, true)) => left_out.push(format!("{label}: this build has no such precision")),
            _ => left_out.push(format!("{label}: this build does not carry the runtime")),
        }
    }
    (cells, left_out)
}

/// The texts of the result: by their hash, wherever they come from.
fn corpus(there: &BenchResult, given: Option<&Path>, place: &Place) -> Result<Corpus> {
    let wanted = &there.corpus.sha256;
    let (corpus, from) = match given {
        Some(path) => (Corpus::read(path)?, Some(path)),
        None if there.corpus.name == BUILT_IN_NAME => (Corpus::built_in()?, None),
        None => (place.corpus()?, None),
    };
    if corpus.sha256() == *wanted {
        return Ok(corpus);
    }
    let name = printable(&there.corpus.name);
    match from {
        Some(path) => {
            Err(Error::stale(format!("these are not the result's texts ({name}): expected {wanted:.12}, found {:.12}", corpus.sha256()))
                .at(path)
                .hint("get the file that the result was made with"))
        }
        None => {
            Err(Error::missing(format!("the result's texts ({name}, {wanted:.12}) are not here")).hint("name their file with --corpus"))
        }
    }
}

/// Every model must be, to the byte and in how texts come to it, what it was there.
fn same_models(there: &BenchResult, plan: &run::Plan, path: &Path) -> Result<()> {
    let fields = |pins: &crate::recipe::lock::ModelPins| serde_json::to_value(pins).unwrap_or_default();
    for here in &plan.pins.models {
        let other = |what: &str, expected: &str, found: &str| {
            Error::stale(format!("the model {} is not the one of the result: {what} is {found} and was {expected}", here.name))
                .at(path)
                .hint("fetch the revision that the result names, or run it in the project that it was made in")
        };
        let measured = there.cells.iter().filter(|cell| cell.asked.model == here.name).filter_map(|cell| cell.measured.as_ref());
        if let Some(measured) = measured.into_iter().find(|measured| measured.model_sha256 != here.identity) {
            return Err(other("its hash", &measured.model_sha256, &here.identity));
        }
        let Some(pinned) = there.pins.models.iter().find(|pins| pins.name == here.name) else { continue };
        let (expected, found) = (fields(pinned), fields(here));
        // Names and places are no content, and files are in the hash.
        let content = |key: &str| !matches!(key, "name" | "hub_id" | "revision" | "files");
        let empty = serde_json::Map::new();
        for (key, value) in expected.as_object().unwrap_or(&empty).iter().filter(|(key, _)| content(key)) {
            let found = found.get(key).unwrap_or(&Value::Null);
            if found != value {
                return Err(other(key, &value.to_string(), &found.to_string()));
            }
        }
    }
    Ok(())
}

fn text(found: &Reproduction, style: &Style) -> String {
    let mut out = String::new();
    for cell in &found.cells {
        out += &format!("{}\n", style.bold(&printable(&cell.asked.label())));
        out += &one(cell, style);
    }
    for line in &found.left_out {
        out += &format!("{} {}\n", style.dim("left out:"), printable(line));
    }
    out += &match found.reproduced {
        true if found.quality == QualityCheck::NotMeasured => {
            format!("{}; {}: {WITH_QUALITY}\n", style.good("parity reproduced"), style.bad("quality was not checked"))
        }
        true => format!("{}\n", style.good("reproduced")),
        false if !found.judged => format!("{}\n", style.bad("not checked")),
        false => format!("{}\n", style.bad("not reproduced")),
    };
    out + &format!("{}\n", style.dim(&found.rule))
}

fn one(cell: &CellReproduction, style: &Style) -> String {
    if let Some(failed) = &cell.failed {
        return format!("  {}\n", style.bad(&printable(failed)));
    }
    let mut out = String::new();
    let mut line = |name: &str, pair: &Option<Pair>, sound: Option<bool>, show: fn(f64) -> String| {
        let Some(Pair { there, here }) = pair else { return };
        let verdict = match sound {
            Some(true) => style.good("reproduces"),
            Some(false) => style.bad("does not reproduce"),
            None => style.dim("not judged"),
        };
        out += &format!("  {name:<26} {:>10} there, {:>10} here  {verdict}\n", show(*there), show(*here));
    };
    line("nDCG@10 x100", &cell.ndcg10, cell.quality_reproduces, |value| format!("{:.2}", 100.0 * value));
    line("worst cosine", &cell.worst_cosine, cell.parity_reproduces, |value| format!("{value:.6}"));
    line("texts/s over reference", &cell.speed_ratio, None, |value| format!("{value:.2}"));
    out
}
