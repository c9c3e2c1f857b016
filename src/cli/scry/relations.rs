//! `patina scry --file`, `--callers` and `--callees`: what tables answer, without a model.

use std::path::Path;

use serde::Serialize;

use crate::cli::Context;
use crate::cli::project::Project;
use crate::cli::report::{Style, count, plural};
use crate::error::{Error, Result};
use crate::recipe::suggest::closest;
use crate::search::MAX_LIMIT;
use crate::search::snippet::printable;
use crate::store::{
    CO_CHANGE_MAX_FILES, CO_CHANGE_MIN_SUPPORT, Companion, Companions, MAX_CALL_DEPTH, Related, Relatives, Resolution, Store, Symbol,
};

/// Candidates of an ambiguous name, and lines of one caller, that are named; the rest is counted.
const NAMED: usize = 8;

#[derive(Debug, clap::Args)]
#[group(
    id = "relations",
    multiple = false,
    // What would be ignored is refused: a table knows no mode, and a lockfile pins nothing of it.
    conflicts_with_all = [
        "mode", "projection", "kind", "path", "since", "until", "language", "rerank", "no_rerank", "no_fold", "explain", "runtime", "locked"
    ]
)]
pub(in crate::cli) struct Arguments {
    /// In place of a question: what changes together with this file, by the git history.
    #[arg(long, value_name = "PATH")]
    file: Option<String>,
    /// In place of a question: who calls this function, such as open, Store::open or store/open.rs:open.
    #[arg(long, value_name = "NAME", group = "calls")]
    callers: Option<String>,
    /// In place of a question: whom this function calls.
    #[arg(long, value_name = "NAME", group = "calls")]
    callees: Option<String>,
}

#[derive(Clone, Copy)]
enum Direction {
    Callers,
    Callees,
}

/// What changes with a file, as it is told.
#[derive(Serialize)]
struct Changes<'a> {
    path: &'a str,
    commits: u64,
    touching: u64,
    sweeping: u64,
    /// Files, before the limit.
    found: usize,
    files: Vec<Changed<'a>>,
}

#[derive(Serialize)]
struct Changed<'a> {
    #[serde(flatten)]
    companion: &'a Companion,
    /// Whether it is there now, whatever a scrape reads of it.
    present: bool,
}

#[derive(Serialize)]
struct Calls<'a> {
    direction: &'static str,
    symbol: &'a Symbol,
    depth: usize,
    /// Of all depths, before the limit.
    found: usize,
    /// Whether what was found is all there is.
    complete: bool,
    calls: &'a [Related],
}

impl Arguments {
    /// Whether one of them was asked for.
    pub fn is_asked(&self) -> bool {
        self.file.is_some() || self.callers.is_some() || self.callees.is_some()
    }
}

pub(in crate::cli) fn run(context: &Context, arguments: &Arguments, limit: usize, depth: usize) -> Result<()> {
    if limit == 0 || limit > MAX_LIMIT {
        return Err(Error::usage(format!("--limit is {limit}; it must be 1 to {MAX_LIMIT}")));
    }
    if depth == 0 || depth > MAX_CALL_DEPTH {
        return Err(Error::usage(format!("--depth is {depth}; it must be 1 to {MAX_CALL_DEPTH}")));
    }
    let project = Project::find(context.project.as_deref())?;
    let store = Store::open_existing(&project.database())?;
    match (&arguments.file, &arguments.callers, &arguments.callees) {
        (Some(path), _, _) => companions(context, &project, &store, path, limit),
        (_, Some(name), _) => calls(context, &store, name, Direction::Callers, limit, depth),
        (_, _, Some(name)) => calls(context, &store, name, Direction::Callees, limit, depth),
        _ => Err(Error::bug("no relation was asked for")),
    }
}

fn companions(context: &Context, project: &Project, store: &Store, path: &str, limit: usize) -> Result<()> {
    if store.counts()?.commits == 0 {
        return Err(Error::missing("the store has no commits, so that nothing is known about what changes together")
            .at(store.path())
            .hint("this needs a git repository with commits: commit, then run `patina scrape`"));
    }
    let known = store.known_paths()?;
    let asked = normal(project, path);
    let path = [asked.as_str(), path].into_iter().find(|path| known.binary_search_by(|known| known.as_str().cmp(path)).is_ok());
    let Some(path) = path else { return Err(unknown_path(&asked, &known)) };
    let companions = store.companions(path)?;
    let Companions { path, commits, touching, sweeping, files } = &companions;
    let present = |file: &Companion| project.root.join(&file.path).symlink_metadata().is_ok();
    let shown = files.iter().take(limit).map(|companion| Changed { companion, present: present(companion) }).collect();
    let changes = Changes { path, commits: *commits, touching: *touching, sweeping: *sweeping, found: files.len(), files: shown };
    context.report.result(&changes, |style| changes_text(&changes, style))
}

/// The path as the store has it: relative to the project, with forward slashes.
fn normal(project: &Project, path: &str) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| Path::new(path).to_path_buf());
    let relative = |root: &Path| absolute.strip_prefix(root).ok().map(Path::to_path_buf);
    let inside = relative(&project.root).or_else(|| project.root.canonicalize().ok().and_then(|root| relative(&root)));
    let parts = inside.as_deref().unwrap_or(Path::new(path)).components();
    let names: Vec<String> = parts
        .filter(|part| matches!(part, std::path::Component::Normal(_)))
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    names.join("/")
}

fn unknown_path(path: &str, known: &[String]) -> Error {
    let error = Error::missing(format!("no commit touches {path}, and no file of the project is called so"));
    let name = path.rsplit('/').next().unwrap_or(path);
    let same_name = known.iter().map(String::as_str).filter(|known| known.rsplit('/').next() == Some(name));
    let mut near: Vec<&str> = same_name.take(NAMED).collect();
    if near.is_empty() {
        near.extend(closest(path, known.iter().map(String::as_str)));
    }
    if near.is_empty() {
        let nearest = closest(name, known.iter().filter_map(|known| known.rsplit('/').next()));
        near.extend(known.iter().map(String::as_str).filter(|known| known.rsplit('/').next() == nearest && nearest.is_some()).take(NAMED));
    }
    match near.as_slice() {
        [] => error.hint("the path is relative to the project; what is new is known after `patina scrape`"),
        near => error.hint(format!("did you mean {}?", near.join(" or "))),
    }
}

fn changes_text(changes: &Changes<'_>, style: &Style) -> String {
    let Changes { path, commits, touching, sweeping, found, files } = changes;
    let mut out = format!("{} changed in {} of {}\n", style.bold(&printable(path)), count(*touching), plural(*commits as usize, "commit"));
    if *sweeping > 0 {
        out += &format!("{} of more than {CO_CHANGE_MAX_FILES} files not counted\n", plural(*sweeping as usize, "commit"));
    }
    if files.is_empty() {
        out += &format!("nothing changed with it in {CO_CHANGE_MIN_SUPPORT} commits or more\n");
        return out;
    }
    out += &style.dim("    together   of   lift    pmi  file");
    out.push('\n');
    for (at, &Changed { companion: file, present }) in files.iter().enumerate() {
        let gone = if present { String::new() } else { format!("  {}", style.dim("not a file of the project now")) };
        let (together, touching) = (count(file.together), count(file.touching));
        out += &format!(
            "{:>2}. {together:>8} {touching:>4} {:>6.1} {:>6.2}  {}{gone}\n",
            at + 1,
            file.lift,
            file.pmi,
            style.bold(&printable(&file.path))
        );
    }
    if *found > files.len() {
        out += &format!("and {} more (--limit shows them)\n", count(found - files.len()));
    }
    out
}

fn calls(context: &Context, store: &Store, name: &str, direction: Direction, limit: usize, depth: usize) -> Result<()> {
    let symbol = symbol(store, name)?;
    let Relatives { found: related, complete } = match direction {
        Direction::Callers => store.callers(&symbol, depth)?,
        Direction::Callees => store.callees(&symbol, depth)?,
    };
    let shown = &related[..related.len().min(limit)];
    let direction = match direction {
        Direction::Callers => "callers",
        Direction::Callees => "callees",
    };
    let answer = Calls { direction, symbol: &symbol, depth, found: related.len(), complete, calls: shown };
    context.report.result(&answer, |style| calls_text(&answer, style))
}

/// The one symbol that a name means.
fn symbol(store: &Store, name: &str) -> Result<Symbol> {
    let mut distinct = store.meant_by(name)?;
    match distinct.len() {
        1 => distinct.pop().ok_or_else(|| Error::bug("a list of one is empty")),
        0 => Err(unknown_name(store, name)?),
        many => {
            let place = |symbol: &Symbol| format!("{} ({}:{})", symbol.qualified, symbol.path, symbol.line);
            let named: Vec<String> = distinct.iter().take(NAMED).map(place).collect();
            let more = if many > NAMED { format!(" and {} more", many - NAMED) } else { String::new() };
            Err(Error::usage(format!("{name} can mean {}: {}{more}", plural(many, "symbol"), named.join(", ")))
                .hint(format!("say it with what is around it, or with its file, such as {}:{}", distinct[0].path, distinct[0].qualified)))
        }
    }
}

fn unknown_name(store: &Store, name: &str) -> Result<Error> {
    if store.counts()?.symbols == 0 {
        return Ok(Error::missing("nothing is known about functions and calls here")
            .at(store.path())
            .hint("run `patina scrape`; if it was run, no file of the project is in a language that Patina has a grammar for"));
    }
    let named = store.symbols_named(name)?;
    if !named.is_empty() {
        let place = |symbol: &Symbol| format!("the {} {} ({}:{})", symbol.kind.name(), symbol.qualified, symbol.path, symbol.line);
        let more = if named.len() > NAMED { format!(" and {} more", named.len() - NAMED) } else { String::new() };
        let places: Vec<String> = named.iter().take(NAMED).map(place).collect();
        return Ok(Error::usage(format!("no call can mean {name}: it is {}{more}", places.join(", ")))
            .hint("functions, methods and macros are called, and types whose name makes one of them"));
    }
    let last = name.rsplit([':', '.', '#', '/']).next().unwrap_or(name);
    let error = Error::missing(format!("no function, type or macro of the project is called {name}"));
    let names = store.symbol_names()?;
    Ok(match closest(last, names.iter().map(String::as_str)).filter(|nearest| *nearest != last) {
        Some(nearest) => error.hint(format!("did you mean {nearest}?")),
        None if name != last && names.iter().any(|known| known == last) => {
            error.hint(format!("there is {last} elsewhere: try it without what stands before it"))
        }
        None => error.hint("what is new is known after `patina scrape`"),
    })
}

fn calls_text(answer: &Calls<'_>, style: &Style) -> String {
    let Calls { direction, symbol, found, complete, calls, .. } = answer;
    let place = printable(&format!("{}:{}", symbol.path, symbol.line));
    let mut out = format!("{direction} of {}  {}\n", style.bold(&printable(&symbol.qualified)), style.dim(&place));
    if calls.is_empty() {
        out += "none that names tell\n";
    }
    for (at, call) in calls.iter().enumerate() {
        let lines: Vec<String> = call.lines.iter().take(NAMED).map(u32::to_string).collect();
        let more = if call.lines.len() > NAMED { ",..." } else { "" };
        let place = format!("{}:{}{more}", call.path, lines.join(","));
        let who = match &call.symbol {
            Some(symbol) => symbol.qualified.clone(),
            None if *direction == "callers" => "(top of the file)".to_owned(),
            None if call.receiver.is_empty() => call.name.clone(),
            None => format!("{}{}{}", call.receiver, if call.receiver.ends_with("::") { "" } else { "." }, call.name),
        };
        let how = match call.resolution {
            Resolution::Ambiguous => format!("possible: {} of that name", plural(call.candidates, "symbol")),
            Resolution::Unknown => "not of the project".to_owned(),
            Resolution::Unique => "the only one of that name".to_owned(),
            Resolution::SameFile | Resolution::Imported => String::new(),
        };
        let depth = if call.depth > 1 { format!("  depth {}", call.depth) } else { String::new() };
        let notes = format!("{depth}{}{how}", if how.is_empty() { "" } else { "  " });
        out += &format!("{:>2}. {}  {}{}\n", at + 1, style.bold(&printable(&who)), printable(&place), style.dim(&notes));
    }
    if *found > calls.len() {
        out += &format!("and {} more (--limit shows them)\n", count(*found - calls.len()));
    }
    if !complete {
        out += &format!("there are more than {}; the rest was not looked for\n", count(*found));
    }
    out
}
