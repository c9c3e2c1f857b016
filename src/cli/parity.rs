//! `patina parity`: whether the runtimes and precisions of this build give the same vectors, and a certificate of it.

use std::path::PathBuf;

use crate::bench::parity::{Report, Verdict, keep, measure, sample_texts};
use crate::cli::Context;
use crate::cli::project::Project;
use crate::cli::report::Style;
use crate::cli::setup::{self, Overrides};
use crate::embed::select::{self, Purpose};
use crate::error::{Error, Result};
use crate::fs;
use crate::index::Index;
use crate::model::Cache;
use crate::progress::Job;
use crate::store::Store;

/// Texts of a project that are compared.
const PROJECT_TEXTS: usize = 200;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A model's name, hub id or folder, compared on sample texts; the project's model on its own texts if left out.
    #[arg(long, value_name = "NAME|FOLDER")]
    model: Option<String>,
    /// Write the report as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<()> {
    let progress = context.report.progress();
    let job = Job::new(progress.as_ref(), &context.cancel);
    let candidates = select::combinations();
    let overrides = Overrides { runtime: Some("onnx".into()), ..Overrides::default() };
    let report = match &arguments.model {
        Some(model) => {
            let root = Project::at(context.project.as_deref())?.root;
            let settings = setup::for_model(model, &root, &overrides, Purpose::Bulk)?;
            measure(&settings, &candidates, &sample_texts(), None, job)?
        }
        None => {
            let project = Project::find(context.project.as_deref())?;
            let setup = setup::for_project(&project, &overrides, Purpose::Bulk)?;
            let store = Store::open_existing(&project.database())?;
            let index = Index::open(&setup.embeddings.base(), &setup.expected(&store)?).ok();
            if index.is_none() {
                context.report.note("note: there is no index of ONNX Runtime's vectors, so that neighbours are not compared");
            }
            let mut texts = project_texts(&store)?;
            if texts.is_empty() {
                texts = sample_texts();
            }
            measure(&setup.settings, &candidates, &texts, index.as_ref(), job)?
        }
    };
    let kept = keep(Cache::open()?.root(), &report)?;
    if let Some(path) = &arguments.output {
        let json = serde_json::to_vec_pretty(&report).map_err(|e| Error::bug(format!("the report has no JSON form: {e}")))?;
        fs::write_atomic(path, |out| out.write_all(&json))?;
    }
    context.report.result(&report, |style| format!("{}kept in {}", text(&report, style), kept.display()))?;
    let failed: Vec<String> = report
        .rows
        .iter()
        .filter(|row| matches!(row.verdict, Verdict::Fail | Verdict::Error))
        .map(|row| format!("{} {}", row.runtime, row.precision))
        .collect();
    match failed[..] {
        [] => Ok(()),
        _ => Err(Error::failed(format!("{} cannot stand in for ONNX Runtime with this model", failed.join(", ")))),
    }
}

/// Every n-th chunk of the project, by id, which is as good as by chance.
fn project_texts(store: &Store) -> Result<Vec<String>> {
    let keys = store.chunk_keys()?;
    let step = keys.len().div_ceil(PROJECT_TEXTS).max(1);
    let ids: Vec<u64> = keys.iter().step_by(step).map(|key| key.0).collect();
    Ok(store.chunks_by_id(&ids)?.iter().map(|chunk| chunk.embed_text()).collect())
}

fn text(report: &Report, style: &Style) -> String {
    let mut out = format!("{} texts, against ONNX Runtime {} in f32\n", report.texts, report.reference_version);
    let header = "runtime  precision  min cosine  median cosine  max difference  top-10 overlap  verdict";
    out += &format!("{}\n", style.dim(header));
    let number = |value: Option<f64>, digits: usize| value.map_or(String::new(), |value| format!("{value:.digits$}"));
    for row in &report.rows {
        let verdict = match (row.verdict, row.tolerance) {
            (Verdict::Pass, _) => style.good("pass"),
            (Verdict::Fail, Some(tolerance)) => {
                let most = tolerance.max_abs.map(|most| format!(", difference <= {most:e}")).unwrap_or_default();
                style.bad(&format!("fail (cosine >= {}{most})", tolerance.cosine))
            }
            (Verdict::Error, _) => style.bad(&format!("cannot run: {}", row.problem.as_deref().unwrap_or_default())),
            _ => "no tolerance stated".into(),
        };
        out += &format!(
            "{:<8} {:<10} {:>10}  {:>13}  {:>14}  {:>14}  {verdict}\n",
            row.runtime,
            row.precision,
            number(row.min_cosine, 7),
            number(row.median_cosine, 7),
            row.max_abs.map_or(String::new(), |value| format!("{value:.1e}")),
            number(row.top10_overlap, 3),
        );
    }
    out
}
