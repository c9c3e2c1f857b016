//! What takes turns with what, on how many tokens, and for how long.

use super::{LEAST_ROUNDS, told, winner};
use crate::embed::TOKEN_BUDGET;
use crate::error::{Error, Result};
use crate::recipe::lock::{Compared, Comparison, Setting, Timed};

use patina_backend::Runtime;

/// Seconds that are timed in all. Loading the models comes on top.
const LIMIT: f64 = 5.0;
/// Seconds of them that go to the comparison of runtimes, where there are several.
const OF_RUNTIMES: f64 = 1.5;
/// More rounds are not run, however quick they are.
const MOST_ROUNDS: usize = 5;
/// Tokens of the runs that warm an engine up and say about how fast it is: the first claims memory and reads the weights.
const WARM_UP: [usize; 3] = [64, 256, 1024];
/// Tokens of a run that is not timed, before each that is: another engine's threads go to sleep, and the caches are this one's again.
const LEAD_IN: usize = 64;
/// The most tokens of a timed run.
const MOST_TOKENS: usize = 16_384;
/// Runtimes are compared on no more, and on no fewer.
const RUNTIME_TOKENS: (usize, usize) = (128, 4096);
/// Threads are compared on no fewer.
const FEWEST_TOKENS: usize = 256;
/// Token budgets, the default first, then the nearest. A slow machine tries the first two or three, or none.
pub(super) const BUDGETS: [usize; 4] = [TOKEN_BUDGET, TOKEN_BUDGET / 2, TOKEN_BUDGET * 2, TOKEN_BUDGET * 4];

/// What runs. The tests have one whose time is made up.
pub(super) trait Engines {
    type Engine;

    /// Loads an engine.
    fn open(&mut self, setting: &Setting) -> Result<Self::Engine>;

    /// Embeds texts of at least so many tokens; gives their number, and seconds.
    fn run(&mut self, engine: &mut Self::Engine, token_budget: usize, tokens: usize) -> Result<(usize, f64)>;

    /// Seconds since the beginning.
    fn elapsed(&self) -> f64;
}

/// What there is to choose from.
pub(super) struct Space {
    /// Each runtime at its defaults; the first is what `auto` takes.
    pub defaults: Vec<Setting>,
    /// For each runtime: thread counts, the default first. One where the runtime takes no heed of them.
    pub threads: Vec<Vec<usize>>,
}

impl Space {
    /// `on_cpu` says where threads count.
    pub fn new(runtimes: &[Runtime], cores: usize, on_cpu: impl Fn(Runtime) -> bool) -> Space {
        let default = |runtime: &Runtime| Setting { runtime: runtime.name().to_owned(), threads: cores, token_budget: TOKEN_BUDGET };
        // Half: one a core where each core shows as two. A quarter: many cores share the way to the memory.
        let fewer = [(cores / 2, cores >= 2), (cores / 4, cores >= 8)];
        let threads = |runtime: &Runtime| {
            let fewer = fewer.iter().filter(|(_, of_use)| *of_use && on_cpu(*runtime)).map(|(n, _)| *n);
            std::iter::once(cores).chain(fewer).collect()
        };
        Space { defaults: runtimes.iter().map(default).collect(), threads: runtimes.iter().map(threads).collect() }
    }
}

/// An engine, warm, and its rough rate in tokens a second.
struct Warm<E> {
    engine: E,
    rate: f64,
}

type Raced = (Vec<Comparison>, Vec<String>);

/// Runtimes first, at their defaults; then token budgets, then threads of the fastest and of the one that is `tuned` in any case. What is
/// left out for lack of time is named.
pub(super) fn race<E: Engines>(engines: &mut E, space: &Space, tuned: Option<&str>) -> Result<Raced> {
    let mut out: Raced = (Vec::new(), Vec::new());
    let mut warm: Vec<Result<Warm<E::Engine>>> = Vec::new();
    for setting in &space.defaults {
        let opened = warmed(engines, setting);
        if let Err(error) = opened {
            // An interruption is no fault of the runtime.
            if error.kind() == crate::error::ErrorKind::Interrupted {
                return Err(error);
            }
            warm.push(Err(error));
        } else {
            warm.push(opened);
        }
    }
    if warm.iter().all(Result::is_err) {
        return Err(warm.into_iter().find_map(Result::err).unwrap_or_else(|| Error::bug("there is no runtime to measure")));
    }
    let mut left = LIMIT;
    if warm.len() > 1 {
        left -= OF_RUNTIMES;
        let comparison = runtimes(engines, space, &mut warm, OF_RUNTIMES, &mut out.1)?;
        out.0.push(comparison);
    }
    let fastest = match out.0.first() {
        Some(comparison) => winner(comparison).setting.runtime.clone(),
        None => space.defaults[0].runtime.clone(),
    };
    let mut tune: Vec<String> = vec![fastest];
    tune.extend(tuned.filter(|&tuned| tuned != tune[0]).map(str::to_owned));
    let share = left / tune.len() as f64;
    for (at, opened) in warm.into_iter().enumerate() {
        // Those that are not tuned are closed: their memory is needed.
        if let (Ok(mut warm), true) = (opened, tune.contains(&space.defaults[at].runtime)) {
            tune_one(engines, &space.defaults[at], &space.threads[at], &mut warm, share, &mut out)?;
        }
    }
    Ok(out)
}

fn warmed<E: Engines>(engines: &mut E, setting: &Setting) -> Result<Warm<E::Engine>> {
    let mut engine = engines.open(setting)?;
    let (mut rate, mut took) = (0.0, 0.0);
    for tokens in WARM_UP {
        // A slow machine has no time for more.
        if took * 4.0 > LIMIT / 2.0 {
            break;
        }
        let (tokens, seconds) = engines.run(&mut engine, setting.token_budget, tokens)?;
        (rate, took) = (tokens as f64 / seconds.max(1e-6), seconds);
    }
    Ok(Warm { engine, rate })
}

fn runtimes<E: Engines>(
    engines: &mut E,
    space: &Space,
    warm: &mut [Result<Warm<E::Engine>>],
    share: f64,
    left_out: &mut Vec<String>,
) -> Result<Comparison> {
    let seconds_a_token: f64 = warm.iter().flatten().map(|warm| 1.0 / warm.rate).sum();
    let tokens = ((share / LEAST_ROUNDS as f64 / seconds_a_token) as usize).min(RUNTIME_TOKENS.1);
    let problem = |warm: &Result<Warm<E::Engine>>| warm.as_ref().err().map(ToString::to_string);
    let rows = space.defaults.iter().zip(warm.iter());
    let rows = rows.map(|(setting, warm)| Timed { setting: setting.clone(), tokens_per_second: Vec::new(), problem: problem(warm) });
    let mut comparison = Comparison { of: Compared::Runtime, tokens, rows: rows.collect() };
    let mut running: Vec<(usize, &mut E::Engine)> =
        warm.iter_mut().enumerate().filter_map(|(at, warm)| warm.as_mut().ok().map(|warm| (at, &mut warm.engine))).collect();
    if running.len() > 1 {
        match tokens >= RUNTIME_TOKENS.0 {
            true => turns(engines, &mut comparison, &mut running, share, left_out)?,
            false => left_out.push(too_slow("the runtimes", 1.0 / seconds_a_token)),
        }
    }
    Ok(comparison)
}

/// Token budgets on one engine, then threads on two at a time: models are large, and more do not fit into memory.
fn tune_one<E: Engines>(
    engines: &mut E,
    default: &Setting,
    threads: &[usize],
    warm: &mut Warm<E::Engine>,
    share: f64,
    out: &mut Raced,
) -> Result<()> {
    // A run with half of the threads takes up to twice as long.
    let of_threads: usize = if threads.len() > 1 { threads.iter().map(|&n| threads[0].div_ceil(n)).sum() } else { 0 };
    let fits = |budgets: usize| {
        let turns = if budgets > 1 { budgets } else { 0 } + of_threads;
        let tokens = (warm.rate * share / (LEAST_ROUNDS * turns.max(1)) as f64) as usize;
        let least = if budgets > 1 { BUDGETS[..budgets].iter().copied().max().unwrap_or(0) } else { FEWEST_TOKENS };
        (tokens >= least).then_some((budgets, tokens.min(MOST_TOKENS), share / turns.max(1) as f64))
    };
    let named = format!("{} of {}", if of_threads > 0 { "token budgets and threads" } else { "token budgets" }, default.runtime);
    let Some((budgets, tokens, turn)) = [4, 3, 2, 1].into_iter().find_map(fits) else {
        out.1.push(too_slow(&named, warm.rate));
        return Ok(());
    };
    if budgets < BUDGETS.len() {
        let left_out: Vec<String> = BUDGETS[budgets..].iter().map(ToString::to_string).collect();
        out.1.push(too_slow(&format!("token budgets of {} with {}", left_out.join(", "), default.runtime), warm.rate));
    }
    let row = |threads, token_budget| Timed {
        setting: Setting { threads, token_budget, ..default.clone() },
        tokens_per_second: Vec::new(),
        problem: None,
    };
    let mut token_budget = default.token_budget;
    if budgets > 1 {
        let rows = BUDGETS[..budgets].iter().map(|&budget| row(default.threads, budget)).collect();
        let mut comparison = Comparison { of: Compared::TokenBudget, tokens, rows };
        one_engine(engines, &mut comparison, &mut warm.engine, turn * budgets as f64, &mut out.1)?;
        token_budget = winner(&comparison).setting.token_budget;
        out.0.push(comparison);
    }
    for &fewer in threads.iter().skip(1) {
        let mut comparison =
            Comparison { of: Compared::Threads, tokens, rows: vec![row(default.threads, token_budget), row(fewer, token_budget)] };
        match warmed(engines, &comparison.rows[1].setting) {
            Ok(mut other) => {
                let share = turn * (1 + threads[0].div_ceil(fewer)) as f64;
                let mut running = [(0, &mut warm.engine), (1, &mut other.engine)];
                turns(engines, &mut comparison, &mut running, share, &mut out.1)?;
            }
            Err(error) => comparison.rows[1].problem = Some(told(error)?),
        }
        let slower = winner(&comparison).setting.threads == default.threads;
        out.0.push(comparison);
        // Where half of the threads lose, a quarter does too; where they win, they are what a quarter would have to beat.
        if slower {
            break;
        }
    }
    Ok(())
}

/// Rounds in which each engine has its turn, there and back, so that a machine that slows down harms none more than another.
fn turns<E: Engines>(
    engines: &mut E,
    comparison: &mut Comparison,
    running: &mut [(usize, &mut E::Engine)],
    share: f64,
    left_out: &mut Vec<String>,
) -> Result<()> {
    rounds(engines, comparison, running.len(), share, left_out, |engines, turn, tokens, comparison| {
        let (row, engine) = &mut running[turn];
        let budget = comparison.rows[*row].setting.token_budget;
        Ok((*row, timed(engines, engine, budget, tokens)?))
    })
}

/// The same with one engine: only the budget differs.
fn one_engine<E: Engines>(
    engines: &mut E,
    comparison: &mut Comparison,
    engine: &mut E::Engine,
    share: f64,
    left_out: &mut Vec<String>,
) -> Result<()> {
    let rows = comparison.rows.len();
    rounds(engines, comparison, rows, share, left_out, |engines, row, tokens, comparison| {
        Ok((row, timed(engines, engine, comparison.rows[row].setting.token_budget, tokens)?))
    })
}

/// Tokens a second, or why not.
fn timed<E: Engines>(engines: &mut E, engine: &mut E::Engine, budget: usize, tokens: usize) -> Result<Result<u64, String>> {
    let run = engines.run(engine, budget, LEAD_IN.min(tokens / 8)).and_then(|_| engines.run(engine, budget, tokens));
    Ok(match run {
        Ok((tokens, seconds)) => Ok(((tokens as f64 / seconds.max(1e-6)).round() as u64).max(1)),
        Err(error) => Err(told(error)?),
    })
}

fn rounds<E: Engines>(
    engines: &mut E,
    comparison: &mut Comparison,
    turns: usize,
    share: f64,
    left_out: &mut Vec<String>,
    mut turn: impl FnMut(&mut E, usize, usize, &Comparison) -> Result<(usize, Result<u64, String>)>,
) -> Result<()> {
    let begun = engines.elapsed();
    let mut done = 0;
    while done < MOST_ROUNDS {
        let spent = engines.elapsed() - begun;
        if spent >= if done < LEAST_ROUNDS { share * 2.0 } else { share } {
            break;
        }
        let mut round = Vec::with_capacity(turns);
        for at in 0..turns {
            // Back and forth.
            let at = if done % 2 == 0 { at } else { turns - 1 - at };
            let (row, rate) = turn(engines, at, comparison.tokens, comparison)?;
            if comparison.rows[row].problem.is_some() {
                continue;
            }
            match rate {
                Ok(rate) => round.push((row, rate)),
                Err(problem) => {
                    comparison.rows[row].problem = Some(problem);
                    comparison.rows[row].tokens_per_second.clear();
                }
            }
        }
        for (row, rate) in round {
            comparison.rows[row].tokens_per_second.push(rate);
        }
        done += 1;
    }
    if done < LEAST_ROUNDS {
        let of = match comparison.of {
            Compared::Runtime => "runtimes",
            Compared::TokenBudget => "token budgets",
            Compared::Threads => "threads",
        };
        left_out
            .push(format!("time was up after {done} of {LEAST_ROUNDS} rounds of {of}: something else was running, and the defaults stay"));
    }
    Ok(())
}

fn too_slow(what: &str, rate: f64) -> String {
    format!("{what} were not compared: at {rate:.0} tokens/s, {LIMIT:.0} seconds are too short")
}
