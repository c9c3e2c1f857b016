//! `patina status`: what the project has, and whether it is up to date.

use serde::Serialize;

use crate::cli::Context;
use crate::cli::fusion::{self, Record};
use crate::cli::pins::{Depth, Pinned};
use crate::cli::project::Project;
use crate::cli::projections::{self, Outcome};
use crate::cli::report::{Style, count, plural};
use crate::cli::setup::{self, Overrides, Setup};
use crate::cli::verdicts;
use crate::embed::select::{Choice, Purpose};
use crate::error::{Error, ErrorKind, Result};
use crate::index::Index;
use crate::progress::Job;
use crate::recipe::lock::Lock;
use crate::search::Weights;
use crate::store::{Counts, Store};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

#[derive(Serialize)]
struct Status {
    project: String,
    embedding_model: String,
    /// Why the model cannot be used, if it cannot.
    model_problem: Option<Problem>,
    runtime: Option<Choice>,
    threads: Option<usize>,
    token_budget: Option<usize>,
    fingerprint: Option<String>,
    dimensions: Option<usize>,
    store: Option<Counts>,
    chunks_without_vector: Option<usize>,
    index: Part,
    projections: Vec<ProjectionState>,
    fusion: Fusion,
    lockfile: Part,
}

/// What hybrid search weighs by.
#[derive(Serialize)]
struct Fusion {
    /// Of the record; `current` where the recipe says the weights.
    #[serde(flatten)]
    part: Part,
    /// The recipe's own weights.
    recipe: Option<Weights>,
    record: Option<Record>,
}

#[derive(Serialize)]
struct Problem {
    message: String,
    hint: Option<String>,
}

/// The state of a derived file.
#[derive(Serialize)]
struct Part {
    /// `current`, `stale`, `missing`, `corrupt` or `unknown`.
    state: &'static str,
    message: String,
}

#[derive(Serialize)]
struct ProjectionState {
    name: String,
    #[serde(flatten)]
    part: Part,
    outcome: Option<Outcome>,
}

impl Part {
    fn of(error: &Error) -> Part {
        let state = match error.kind() {
            ErrorKind::Stale => "stale",
            ErrorKind::Missing => "missing",
            ErrorKind::Corrupt => "corrupt",
            _ => "unknown",
        };
        Part { state, message: error.message().to_owned() }
    }

    fn current() -> Part {
        Part { state: "current", message: String::new() }
    }

    fn unknown(message: &str) -> Part {
        Part { state: "unknown", message: message.to_owned() }
    }
}

pub(super) fn run(context: &Context, _: Arguments) -> Result<()> {
    let project = Project::find(context.project.as_deref())?;
    let recipe = project.recipe()?;
    let store = match Store::open_existing(&project.database()) {
        Ok(store) => Some(store),
        Err(error) if error.kind() == ErrorKind::Missing => None,
        Err(error) => return Err(error),
    };
    let setup = setup::for_project(&project, &Overrides::default(), Purpose::Query);
    let (setup, model_problem) = match setup {
        Ok(setup) => (Some(setup), None),
        Err(error) if error.kind() == ErrorKind::Recipe => return Err(error),
        Err(error) => (None, Some(Problem { message: error.to_string(), hint: error.hint_text().map(str::to_owned) })),
    };
    let mut status = Status {
        project: project.root.display().to_string(),
        embedding_model: recipe.embedding_model().to_owned(),
        model_problem,
        runtime: setup.as_ref().map(|setup| setup.choice.clone()),
        threads: setup.as_ref().map(|setup| setup.settings.threads),
        token_budget: setup.as_ref().map(|setup| setup.settings.token_budget),
        fingerprint: setup.as_ref().map(|setup| setup.fingerprint.clone()),
        dimensions: setup.as_ref().map(|setup| setup.plan.dimensions),
        store: store.as_ref().map(Store::counts).transpose()?,
        chunks_without_vector: None,
        index: Part::unknown("the model or the store is not here"),
        projections: Vec::new(),
        fusion: Fusion { part: Part::unknown("the model or the store is not here"), recipe: None, record: None },
        lockfile: Part::unknown("the model is not here"),
    };
    if let Some(setup) = &setup {
        status.lockfile = lockfile(&project, setup, store.as_ref());
    }
    if let (Some(setup), Some(store)) = (&setup, &store) {
        derived(&mut status, setup, store)?;
    }
    context.report.result(&status, |style| text(&status, style))
}

/// Whether the inputs are what the lockfile pins. What was made has its own lines; `patina lock --check` compares that too.
fn lockfile(project: &Project, setup: &Setup, store: Option<&Store>) -> Part {
    let held =
        Lock::read(&project.lock_path()).and_then(|lock| Pinned { setup, store }.hold_inputs(project, &lock, Depth::Stamps, Job::silent()));
    match held {
        Ok(()) => Part::current(),
        Err(error) => Part::of(&error),
    }
}

fn derived(status: &mut Status, setup: &Setup, store: &Store) -> Result<()> {
    status.chunks_without_vector = Some(store.missing_vectors(&setup.fingerprint)?.len());
    let expected = setup.expected(store)?;
    status.index = match &setup.not_shared {
        Some(not_shared) => Part::of(&not_shared.error()),
        None => match Index::open(&setup.embeddings.base(), &expected) {
            Ok(_) => Part::current(),
            Err(error) => Part::of(&error),
        },
    };
    for plan in &setup.plan.projections {
        let read = Outcome::read(&setup.embeddings.verdict(&plan.name));
        let inputs = projections::inputs(plan, &setup.fingerprint, store)?;
        let (part, outcome) = match read {
            Err(error) => (Part::of(&error), None),
            Ok(None) => (Part { state: "missing", message: "it was never trained".into() }, None),
            Ok(Some(outcome)) if outcome.inputs != inputs => {
                (Part { state: "stale", message: "the recipe, the model or the project changed since".into() }, Some(outcome))
            }
            Ok(Some(outcome)) if outcome.published => {
                let part = match projections::open(plan, &setup.embeddings, &setup.fingerprint, store, Depth::Stamps) {
                    Ok(_) => Part::current(),
                    Err(error) => Part::of(&error),
                };
                (part, Some(outcome))
            }
            Ok(Some(outcome)) => (Part::current(), Some(outcome)),
        };
        status.projections.push(ProjectionState { name: plan.name.clone(), part, outcome });
    }
    status.fusion.recipe = fusion::explicit(setup);
    status.fusion.part = match (status.fusion.recipe, Record::read(&setup.embeddings.fusion())) {
        (Some(_), _) => Part::current(),
        (None, Err(error)) => Part::of(&error),
        (None, Ok(None)) => Part { state: "missing", message: "nothing was chosen yet; search uses the usual weights".into() },
        (None, Ok(record)) => {
            status.fusion.record = record;
            match fusion::is_current(setup, store)? {
                true => Part::current(),
                false => Part {
                    state: "stale",
                    message: "the model, a projection or the project changed since; search uses the usual weights".into(),
                },
            }
        }
    };
    Ok(())
}

fn text(status: &Status, style: &Style) -> String {
    let mut out = format!("project      {}\n", status.project);
    let dimensions = status.dimensions.map(|n| format!(", {n} dimensions")).unwrap_or_default();
    out += &format!("model        {}{dimensions}\n", status.embedding_model);
    if let Some(problem) = &status.model_problem {
        out += &format!("             {}\n", style.bad(&problem.message));
        if let Some(hint) = &problem.hint {
            out += &format!("             hint: {hint}\n");
        }
    }
    if let Some(choice) = &status.runtime {
        out += &format!("runtime      {} ({})\n", choice.runtime, choice.reason);
    }
    match &status.store {
        None => out += "store        nothing yet: run `patina scrape`\n",
        Some(counts) => {
            let kinds: Vec<String> = counts.chunks.iter().map(|(kind, n)| format!("{} {}", count(*n), kind.name())).collect();
            out += &format!("chunks       {} ({})\n", count(counts.chunks_total()), kinds.join(", "));
            if counts.symbols > 0 {
                let (symbols, calls) = (plural(counts.symbols as usize, "symbol"), plural(counts.calls as usize, "call"));
                out += &format!("code         {symbols}, {calls}\n");
            }
            if let Some(last) = &counts.last_scrape {
                out += &format!("scraped      {last}\n");
            }
        }
    }
    if let Some(missing) = status.chunks_without_vector.filter(|&n| n > 0) {
        out += &format!("vectors      missing for {}: run `patina oxidize`\n", plural(missing, "chunk"));
    }
    out += &format!("index        {}\n", part(&status.index, style));
    for projection in &status.projections {
        out += &format!("projection   {}: {}\n", projection.name, part(&projection.part, style));
        if let Some(outcome) = &projection.outcome {
            out += &verdicts::text(outcome, style);
        }
    }
    match (&status.fusion.recipe, &status.fusion.record) {
        (Some(weights), _) => out += &format!("fusion       {} (as the recipe says)\n", weights.told(true)),
        (None, Some(record)) if status.fusion.part.state == "current" => out += &fusion::text(record, style),
        _ if status.index.state == "current" => out += &format!("fusion       {}\n", part(&status.fusion.part, style)),
        _ => {}
    }
    match status.lockfile.state {
        // The first `oxidize` writes it.
        "missing" | "unknown" => {}
        "current" => out += &format!("lockfile     {}\n", style.good("holds")),
        _ => {
            let message = &status.lockfile.message;
            out += &format!("lockfile     {} ({message}): `patina oxidize` or `patina lock` writes it anew\n", style.bad("does not hold"));
        }
    }
    out
}

fn part(part: &Part, style: &Style) -> String {
    let advice = match part.state {
        "current" | "unknown" => "",
        _ => ": run `patina oxidize`",
    };
    let message = if part.message.is_empty() { String::new() } else { format!(" ({})", part.message) };
    let state = if part.state == "current" { style.good("up to date") } else { style.bad(part.state) };
    format!("{state}{message}{advice}")
}
