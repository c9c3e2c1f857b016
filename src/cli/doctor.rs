//! `patina doctor`: what this machine and build offer, and what was chosen and why.

use patina_backend::Precision;
use serde::Serialize;

use crate::bench::calibrate;
use crate::cli::project::Project;
use crate::cli::report::Style;
use crate::cli::setup::{self, Overrides};
use crate::cli::{Context, VERSION};
use crate::embed::provision::{self, Finding, Places};
use crate::embed::select::{self, Choice, Purpose};
use crate::error::{Error, Result};
use crate::model::Cache;
use crate::recipe::{Plan, RuntimeChoice};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

#[derive(Serialize)]
struct Doctor {
    version: &'static str,
    platform: String,
    threads: usize,
    cache: Option<String>,
    runtimes: Vec<RuntimeState>,
    /// What the recipe (or `auto`, without one) comes to.
    choice: Option<Choice>,
    libraries: Vec<LibraryState>,
    models: Vec<ModelState>,
    project: Option<String>,
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct RuntimeState {
    runtime: &'static str,
    carried: bool,
    version: Option<String>,
}

#[derive(Serialize)]
struct LibraryState {
    origin: &'static str,
    path: String,
    finding: String,
    used: bool,
}

#[derive(Serialize)]
struct ModelState {
    name: String,
    problem: Option<String>,
}

#[derive(Serialize)]
struct Problem {
    message: String,
    hint: Option<String>,
}

pub(super) fn run(context: &Context, _: Arguments) -> Result<()> {
    let mut problems = Vec::new();
    let mut problem = |error: &Error| problems.push(Problem { message: error.to_string(), hint: error.hint_text().map(str::to_owned) });
    let places = Places::of_this_machine();
    let located = provision::find(&places);
    let onnx_version = match &located {
        Ok(located) => select::onnx_version(&located.path).map_err(|e| problem(&e)).ok(),
        Err(error) => {
            problem(error);
            None
        }
    };
    let used = located.ok().map(|located| located.path);
    let libraries = provision::candidates(&places)
        .into_iter()
        .map(|candidate| LibraryState {
            origin: candidate.origin.name(),
            used: used.as_ref() == Some(&candidate.path),
            path: candidate.path.display().to_string(),
            finding: match candidate.finding {
                Finding::Usable(Some(version)) => format!("version {version}"),
                Finding::Usable(None) => "version not in its name".into(),
                Finding::TooOld(version) => format!("version {version}, too old"),
                Finding::Damaged(reason) => format!("damaged: {reason}"),
                Finding::Absent => "nothing".into(),
            },
        })
        .collect();
    let runtimes = select::carried()
        .into_iter()
        .map(|(runtime, carried)| RuntimeState {
            runtime: runtime.name(),
            carried,
            version: match runtime {
                patina_backend::Runtime::Onnx => onnx_version.clone(),
                patina_backend::Runtime::Mlx => select::mlx_version().ok(),
            },
        })
        .collect();
    let project = Project::find(context.project.as_deref()).ok();
    // Doctor works anywhere: without a project it says what `auto` comes to.
    let wanted = match &project {
        Some(project) => wanted(project).map_err(|e| problem(&e)).ok(),
        None => Some((RuntimeChoice::Auto, Precision::F32)),
    };
    // What `measured` comes to depends on the model, which need not be here.
    let measured = match (&project, wanted) {
        (Some(project), Some((RuntimeChoice::Measured, _))) => setup::for_project(project, &Overrides::default(), Purpose::Query).ok(),
        _ => None,
    };
    let choice = match (measured, wanted) {
        (Some(setup), _) => Some(setup.choice),
        (None, Some((RuntimeChoice::Measured, precision))) => {
            let why = "the model cannot be opened; `patina status` says why";
            calibrate::unmeasured(precision, None, why).map_err(|e| problem(&e)).ok()
        }
        (None, Some((runtime, precision))) => select::choose(runtime, precision).map_err(|e| problem(&e)).ok(),
        (None, None) => None,
    };
    let project = project.map(|project| project.root.display().to_string());
    let cache = Cache::open().map_err(|e| problem(&e)).ok();
    let mut models = Vec::new();
    if let Some(cache) = &cache {
        for (name, folder) in cache.list()? {
            let opened = folder.and_then(|folder| Ok(patina_backend::Model::open(folder.path())?));
            models.push(ModelState { name, problem: opened.err().map(|e| e.to_string()) });
        }
    }
    let doctor = Doctor {
        version: VERSION,
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
        cache: cache.as_ref().map(|cache| cache.root().display().to_string()),
        runtimes,
        choice,
        libraries,
        models,
        project,
        problems,
    };
    context.report.result(&doctor, |style| text(&doctor, style))
}

fn wanted(project: &Project) -> Result<(RuntimeChoice, Precision)> {
    let (recipe, path) = (project.recipe()?, project.recipe_path());
    Ok((RuntimeChoice::resolve(&recipe, &path)?, Plan::precision(&recipe, &path)?))
}

fn text(doctor: &Doctor, style: &Style) -> String {
    let mut out = format!("patina       {}\n", doctor.version);
    out += &format!("machine      {}, {} threads\n", doctor.platform, doctor.threads);
    out += &format!("cache        {}\n", doctor.cache.as_deref().unwrap_or("none"));
    out += &format!("project      {}\n", doctor.project.as_deref().unwrap_or("none around this folder"));
    for runtime in &doctor.runtimes {
        let state = match (&runtime.version, runtime.carried) {
            (Some(version), _) => style.good(&format!("version {version}")),
            (None, true) => "in this build".into(),
            (None, false) => "not in this build".into(),
        };
        out += &format!("runtime      {:<5} {state}\n", runtime.runtime);
    }
    if let Some(choice) = &doctor.choice {
        out += &format!("chosen       {}: {}\n", choice.runtime.name(), choice.reason);
        for refused in &choice.refused {
            out += &format!("refused      {}: {}\n", refused.runtime.name(), refused.reason);
        }
    }
    for library in &doctor.libraries {
        let mark = if library.used { style.good("used") } else { "    ".into() };
        out += &format!("library      {mark} {:<15} {} ({})\n", library.origin, library.path, library.finding);
    }
    for model in &doctor.models {
        match &model.problem {
            None => out += &format!("model        {}\n", model.name),
            Some(problem) => out += &format!("model        {}: {}\n", model.name, style.bad(problem)),
        }
    }
    if doctor.models.is_empty() {
        out += "model        none here: patina model fetch NAME, or patina model import FOLDER\n";
    }
    for problem in &doctor.problems {
        out += &format!("{}      {}\n", style.bad("problem"), problem.message);
        if let Some(hint) = &problem.hint {
            out += &format!("             hint: {hint}\n");
        }
    }
    out
}
