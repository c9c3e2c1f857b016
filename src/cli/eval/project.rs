//! `patina eval project` and `patina eval queries`: the project's own search, judged on questions from its history or of one's own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use super::{deliver, engine_line, not_a_folder};
use crate::cli::Context;
use crate::cli::fusion;
use crate::cli::pins::Depth;
use crate::cli::project::Project;
use crate::cli::projections::{self, Outcome};
use crate::cli::report::{Style, count, plural};
use crate::cli::setup::{self, Overrides, Setup};
use crate::embed::Embedder;
use crate::embed::select::Purpose;
use crate::error::{Error, Result};
use crate::eval::project::comments::Comments;
use crate::eval::project::labels::Labels;
use crate::eval::project::{self, Flat, Joined, Projected, Rankings, Searched, Set, SetReport, choice, history, sentences};
use crate::eval::{EngineReport, Figure, VERSION};
use crate::index::Index;
use crate::progress::Job;
use crate::search::{Exact, VectorIndex, Weights};
use crate::store::{Store, Symbol};
use crate::train::{Projection, Sides};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ProjectArguments {
    /// Which questions; all that the project gives if left out.
    #[arg(long, value_enum, value_name = "KIND")]
    kind: Option<SetKind>,
    /// The most questions of a kind; of more, the same ones are drawn every time.
    #[arg(long, value_name = "N", default_value_t = project::DEFAULT_LIMIT)]
    limit: usize,
    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct QueriesArguments {
    /// The questions: {"name": ..., "queries": [{"id": ..., "query": ..., "relevant_docs": ["path", "path:line", "path#heading", "hash"]}]}.
    file: PathBuf,
    #[command(flatten)]
    shared: Shared,
}

/// What both commands take.
#[derive(Debug, clap::Args)]
struct Shared {
    /// How many of the questions that hybrid search answers worst are shown.
    #[arg(long, value_name = "N", default_value_t = project::DEFAULT_WORST)]
    worst: usize,
    /// Write the rankings into this folder too: a run of TREC for every way of searching, and the judgements.
    #[arg(long, value_name = "FOLDER")]
    run: Option<PathBuf>,
    /// The runtime, in place of the recipe's: auto, onnx, mlx or measured.
    #[arg(long, value_name = "R")]
    runtime: Option<String>,
    /// Write the report as JSON to this file too.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SetKind {
    /// Subjects of commits ask for the files that they touched.
    Commits,
    /// Doc comments ask for their functions, in code without doc comments.
    Docs,
    /// Sentences of notes and documents ask for their files, without their own piece.
    Sentences,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    task: &'static str,
    engine: EngineReport,
    sets: Vec<SetReport>,
    /// Kinds of questions of which the project gives too few, and why.
    too_few: Vec<String>,
}

pub(super) fn project(context: &Context, arguments: ProjectArguments) -> Result<()> {
    if arguments.limit < project::MIN_QUERIES {
        let (limit, least) = (arguments.limit, project::MIN_QUERIES);
        return Err(Error::usage(format!("--limit is {limit}; fewer than {least} questions say nothing")));
    }
    arguments.shared.check()?;
    let ground = Ground::open(context, &arguments.shared)?;
    let trained = ground.trained()?;
    let kinds = arguments.kind.map_or_else(|| SetKind::value_variants().to_vec(), |kind| vec![kind]);
    let (mut asked, mut too_few) = (Vec::new(), Vec::new());
    for kind in kinds {
        let questions = ground.questions(kind, &trained, arguments.limit)?;
        match questions.set.check() {
            Ok(()) => asked.push(questions),
            Err(error) => too_few.push(error),
        }
    }
    ground.judge(context, "project", asked, too_few, &arguments.shared)
}

pub(super) fn queries(context: &Context, arguments: QueriesArguments) -> Result<()> {
    arguments.shared.check()?;
    let labels = Labels::read(&arguments.file)?;
    let ground = Ground::open(context, &arguments.shared)?;
    let mut set = labels.resolve(&arguments.file, &ground.store)?;
    if set.queries.len() < project::MIN_QUERIES {
        let (few, least) = (plural(set.queries.len(), "question"), project::MIN_QUERIES);
        // An interval resamples what is there: of one question it has no width.
        set.notes.push(format!("only {few}: fewer than {least} say little, and their intervals are narrower than what is not known"));
    }
    ground.judge(context, "queries", vec![Questions { set, symbols: Vec::new(), projections: true }], Vec::new(), &arguments.shared)
}

impl Shared {
    fn check(&self) -> Result<()> {
        not_a_folder(self.output.as_deref())?;
        match &self.run {
            Some(path) if path.is_file() => {
                Err(Error::usage("--run is a file").at(path).hint("name a folder: there is a run for each way of searching"))
            }
            _ => Ok(()),
        }
    }
}

/// Of the half of the questions that judged the weights: they are used because it liked them.
const ACCEPTED: &str = "these questions accepted the weights of the fusion, which are used because they won here: hybrid search looks better on \
                        them than it will on others";

/// A set, and the symbols of its doc comments if it is made of them.
struct Questions {
    set: Set,
    symbols: Vec<Symbol>,
    /// Whether projections answer too; not where they were trained on what is asked for.
    projections: bool,
}

/// The project as it is searched.
struct Ground {
    setup: Setup,
    store: Store,
    base: Index,
    projections: Vec<Opened>,
    /// Which of them joins hybrid search.
    joined: Option<usize>,
    /// What each retriever counts; the usual if none.
    weights: Option<Weights>,
}

/// A projection that is there.
struct Opened {
    name: String,
    published: bool,
    projection: Projection,
    /// Of documents; none where they stay as they are.
    index: Option<Box<dyn VectorIndex>>,
}

impl Ground {
    fn open(context: &Context, shared: &Shared) -> Result<Ground> {
        let project = Project::find(context.project.as_deref())?;
        let store = Store::open_existing(&project.database())?;
        let overrides = Overrides { runtime: shared.runtime.clone(), ..Overrides::default() };
        let setup = setup::for_project(&project, &overrides, Purpose::Query)?;
        if let Some(not_shared) = &setup.not_shared {
            return Err(not_shared.error());
        }
        let base = Index::open(&setup.embeddings.base(), &setup.expected(&store)?)?;
        let projections = opened(&setup, &store)?;
        let best = projections::best_published(&setup).map(|plan| plan.name.clone());
        let joined = best.and_then(|name| projections.iter().position(|one| one.name == name));
        let weights = fusion::weights(&setup, &store, joined.map(|at: usize| projections[at].name.as_str()))?;
        Ok(Ground { setup, store, base, projections, joined, weights })
    }

    /// The sessions, files and commits of all pairs that the projections which are there were trained on, or stopped by.
    fn trained(&self) -> Result<BTreeSet<String>> {
        let mut all = BTreeSet::new();
        for opened in &self.projections {
            if let Some(plan) = self.setup.plan.projection(&opened.name) {
                all.extend(projections::trained_on(plan, &self.store, opened.published)?);
            }
        }
        Ok(all)
    }

    /// The questions of a kind that no projection was trained on. Where too few are left, all of the kind, which no projection answers then:
    /// it would be asked for what it was taught.
    fn questions(&self, kind: SetKind, trained: &BTreeSet<String>, limit: usize) -> Result<Questions> {
        let unseen = self.asked(kind, trained, limit, true)?;
        if trained.is_empty() || unseen.set.check().is_ok() {
            return Ok(unseen);
        }
        let mut all = self.asked(kind, &BTreeSet::new(), limit, false)?;
        if all.set.check().is_err() {
            return Ok(unseen);
        }
        all.set.notes.push(format!(
            "these are all questions of the kind, and no projection answers them: {} would be left without what projections were trained on, and \
             at least {} are needed. `patina eval queries FILE` asks them questions of your own",
            unseen.set.queries.len(),
            project::MIN_QUERIES
        ));
        Ok(all)
    }

    fn asked(&self, kind: SetKind, trained: &BTreeSet<String>, limit: usize, projections: bool) -> Result<Questions> {
        let (mut set, symbols) = match kind {
            SetKind::Commits => (history::commits(&self.store, trained, limit)?, Vec::new()),
            SetKind::Sentences => (sentences::sentences(&self.store, trained, limit)?, Vec::new()),
            SetKind::Docs => Comments::questions(&self.store, trained, limit)?,
        };
        let chosen = self.fused(projections).weights.is_some() && fusion::explicit(&self.setup).is_none();
        if chosen && kind != SetKind::Docs {
            set.leave_out("questions", "they chose the weights of the fusion", |query| choice::chooses(&query.group));
            set.notes.push(ACCEPTED.to_owned());
        }
        Ok(Questions { set, symbols, projections })
    }

    /// Hybrid search as it is, or as it is without a projection: what was chosen with one says nothing about that.
    fn fused(&self, projections: bool) -> Joined {
        match self.joined {
            Some(_) if !projections => Joined { projection: None, weights: fusion::explicit(&self.setup) },
            joined => Joined { projection: joined, weights: self.weights },
        }
    }

    fn judge(&self, context: &Context, task: &'static str, asked: Vec<Questions>, mut few: Vec<Error>, shared: &Shared) -> Result<()> {
        let progress = context.report.progress();
        let job = Job::new(progress.as_ref(), &context.cancel);
        if asked.is_empty()
            && let Some(error) = few.pop()
        {
            return Err(error);
        }
        for why in &few {
            job.progress.note(why.message());
        }
        let mut embedder = Embedder::open(self.setup.settings.clone())?;
        let engine = EngineReport::new(&self.setup.plan.embedding_model, &self.setup.settings, &embedder);
        let mut reports = Vec::with_capacity(asked.len());
        for Questions { set, symbols, projections } in asked {
            let shown = if projections { self.projections.as_slice() } else { &[] };
            let fused = self.fused(projections);
            let (set, rankings) = match symbols.is_empty() {
                true => {
                    let vectors = self.setup.vectors(&self.store)?;
                    let base = Exact { index: &self.base, vectors: &vectors };
                    let projected = shown.iter().map(|one| one.over(one.index.as_deref().unwrap_or(&base))).collect();
                    let searched = Searched { store: &self.store, base: &base, projections: projected, joined: fused };
                    let rankings = searched.rank(&set, &project::embed(&set, &mut embedder, job)?, job)?;
                    (set, rankings)
                }
                false => {
                    let comments = Comments::build((set, symbols), &self.store, &self.setup.vectors(&self.store)?, &mut embedder, job)?;
                    // Some comments leave no code behind, and some code says what its comment says.
                    if let Err(error) = comments.set.check() {
                        job.progress.note(error.message());
                        few.push(error);
                        continue;
                    }
                    self.without_comments(comments, (shown, fused), &mut embedder, job)?
                }
            };
            reports.push(rankings.report(&set, shared.worst)?);
            if let Some(folder) = &shared.run {
                rankings.write(&set, folder)?;
            }
        }
        if reports.is_empty()
            && let Some(error) = few.pop()
        {
            return Err(error);
        }
        let too_few = few.iter().map(|error| error.message().to_owned()).collect();
        let report = Report { version: VERSION, task, engine, sets: reports, too_few };
        deliver(context, shared.output.as_deref(), &report, |style| text(&report, shared.run.as_deref(), style))
    }

    /// Asks for functions in a copy of the project without doc comments.
    fn without_comments(
        &self,
        comments: Comments,
        (shown, fused): (&[Opened], Joined),
        embedder: &mut Embedder,
        job: Job<'_>,
    ) -> Result<(Set, Rankings)> {
        let mut projected = Vec::with_capacity(shown.len());
        for one in shown {
            if one.index.is_none() {
                projected.push(None);
                continue;
            }
            let mut flat = Flat::new(one.projection.output_dim());
            comments.vectors.each(&mut |id, vector| flat.push(id, &one.projection.apply(vector)?))?;
            projected.push(Some(flat));
        }
        let raw = &comments.vectors as &dyn VectorIndex;
        let indexes = projected.iter().map(|flat| flat.as_ref().map_or(raw, |flat| flat as &dyn VectorIndex));
        let projections = shown.iter().zip(indexes).map(|(one, index)| one.over(index)).collect();
        let searched = Searched { store: &comments.store, base: raw, projections, joined: fused };
        let rankings = searched.rank(&comments.set, &project::embed(&comments.set, embedder, job)?, job)?;
        Ok((comments.set, rankings))
    }
}

impl Opened {
    fn over<'a>(&'a self, index: &'a dyn VectorIndex) -> Projected<'a> {
        let note = if self.published { "published" } else { "not published" };
        Projected { name: self.name.clone(), note: note.to_owned(), projection: &self.projection, index }
    }
}

/// Every projection of the recipe that was judged: published ones with their index, refused ones with vectors made now.
fn opened(setup: &Setup, store: &Store) -> Result<Vec<Opened>> {
    let mut out = Vec::new();
    for plan in &setup.plan.projections {
        let (name, Some(outcome)) = (plan.name.clone(), Outcome::read(&setup.embeddings.verdict(&plan.name))?) else { continue };
        if outcome.published {
            let (projection, index) = projections::open(plan, &setup.embeddings, &setup.fingerprint, store, Depth::Stamps)?;
            let index = index.map(|index| Box::new(index) as Box<dyn VectorIndex>);
            out.push(Opened { name, published: true, projection, index });
            continue;
        }
        let Some(projection) = projections::open_refused(plan, &outcome, setup, store)? else { continue };
        let index = match projection.sides() {
            Sides::Query => None,
            Sides::Both => {
                let vectors = setup.vectors(store)?;
                let mut flat = Flat::new(projection.output_dim());
                vectors.each(&vectors.ids()?, &mut |id, vector| flat.push(id, &projection.apply(vector)?))?;
                Some(Box::new(flat) as Box<dyn VectorIndex>)
            }
        };
        out.push(Opened { name, published: false, projection, index });
    }
    Ok(out)
}

fn text(report: &Report, run: Option<&Path>, style: &Style) -> String {
    let mut out = engine_line(&report.engine, style);
    for set in &report.sets {
        out += &set_text(set, style);
    }
    if let Some(folder) = run {
        out += &format!("runs and judgements are in {}\n", folder.display());
    }
    out
}

/// How much of a question is shown.
const QUESTION_SHOWN: usize = 100;
/// What it should have found is shown up to so many.
const RELEVANT_SHOWN: usize = 5;

fn set_text(set: &SetReport, style: &Style) -> String {
    let title = format!("{}: {}", set.name, set.about);
    let mut out = format!("\n{}\n", style.bold(&title));
    let (queries, relevant, groups) = (plural(set.queries, "question"), count(set.relevant as u64), plural(set.groups, "group"));
    out += &format!(
        "{queries} of {groups}, {relevant} answers in all; {} hidden, since they hold a question's own text\n",
        plural(set.hidden_chunks, "piece")
    );
    out += &format!(
        "{}\n",
        style.dim("                     nDCG@10  95 % interval    MRR@10  recall@10   minus hybrid in nDCG@10 (95 % interval)")
    );
    for system in &set.systems {
        let of = &system.figures;
        let hundred = |figure: Figure| 100.0 * figure.value;
        let interval = format!("{:.2} to {:.2}", 100.0 * of.ndcg_at_10.low, 100.0 * of.ndcg_at_10.high);
        let against = system.against_hybrid.map(|gain| gain.ndcg_at_10).map_or_else(
            || system.note.clone(),
            |gain| {
                let [value, low, high] = [gain.value, gain.low, gain.high].map(|value| 100.0 * value);
                let note = if system.note.is_empty() { String::new() } else { format!("  {}", system.note) };
                format!("{value:+.2} ({low:+.2} to {high:+.2}){note}")
            },
        );
        let line = format!(
            "{:<20} {:>7.2}  {interval:<16} {:>6.2}  {:>9.2}   {against}",
            system.name,
            hundred(of.ndcg_at_10),
            hundred(of.mrr_at_10),
            hundred(of.recall_at_10)
        );
        out += &format!("{}\n", line.trim_end());
    }
    for note in &set.notes {
        out += &format!("note: {note}\n");
    }
    for left in &set.left_out {
        out += &format!("{}\n", style.dim(&format!("left out: {} {}: {}", count(left.count as u64), left.what, left.reason)));
    }
    if !set.worst.is_empty() {
        out += &format!("{}\n", style.bold("worst in hybrid search"));
    }
    for worst in &set.worst {
        let question: String = worst.query.chars().take(QUESTION_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
        // A hash says enough with its first digits.
        let is_hash = worst.id.len() == 40 && worst.id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = if is_hash { &worst.id[..12] } else { &worst.id };
        out += &format!("  {} {question}\n", style.dim(id));
        let ranked = |(unit, rank): &(String, Option<usize>)| match rank {
            Some(rank) => format!("{unit} (#{rank})"),
            None => format!("{unit} (not found)"),
        };
        let mut expected: Vec<String> = worst.relevant.iter().take(RELEVANT_SHOWN).map(ranked).collect();
        if worst.relevant.len() > RELEVANT_SHOWN {
            expected.push(format!("{} more", worst.relevant.len() - RELEVANT_SHOWN));
        }
        out += &format!("    should find {}\n", expected.join(", "));
        out += &format!("    found first {}\n", if worst.found.is_empty() { "nothing else".to_owned() } else { worst.found.join(", ") });
    }
    out
}
