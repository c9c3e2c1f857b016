//! The choice from made-up figures, the measurement with made-up engines, and records that are not believed.

use super::race::{BUDGETS, Engines, Space, race};
use super::*;
use crate::recipe::lock::Machine;

fn machine() -> Machine {
    let instruction_set = vec!["avx2".to_owned()];
    Machine { os: "linux".into(), arch: "x86_64".into(), cpu: Some("a processor".into()), threads: 4, instruction_set }
}

fn setting(runtime: &str, threads: usize, token_budget: usize) -> Setting {
    Setting { runtime: runtime.into(), threads, token_budget }
}

fn row(setting: Setting, rates: &[u64]) -> Timed {
    Timed { setting, tokens_per_second: rates.to_vec(), problem: None }
}

fn calibration(comparisons: Vec<Comparison>) -> Calibration {
    let version = |name: &str| RuntimeVersion { name: name.into(), version: Some("1".into()), graph: None };
    Calibration {
        machine: machine(),
        model: "m".into(),
        precision: "f32".into(),
        group_size: None,
        runtimes: vec![version("onnx"), version("mlx")],
        texts: "built in".into(),
        other_load: None,
        comparisons,
        left_out: Vec::new(),
    }
}

fn budgets(rates: &[(usize, &[u64])]) -> Comparison {
    let rows = rates.iter().map(|(budget, rates)| row(setting("onnx", 4, *budget), rates)).collect();
    Comparison { of: Compared::TokenBudget, tokens: 4096, rows }
}

fn budget_of(rates: &[(usize, &[u64])]) -> usize {
    super::setting(&calibration(vec![budgets(rates)]), None).0.token_budget
}

#[test]
fn a_default_is_left_only_for_what_wins_beyond_noise() {
    let default: (usize, &[u64]) = (1024, &[1000, 1010, 990]);
    // Equal, slower, and faster by less than the margin.
    assert_eq!(budget_of(&[default, (512, &[1000, 1010, 990])]), 1024);
    assert_eq!(budget_of(&[default, (512, &[900, 910, 890])]), 1024);
    assert_eq!(budget_of(&[default, (512, &[1040, 1050, 1030])]), 1024);
    assert_eq!(budget_of(&[default, (512, &[1060, 1080, 1050])]), 512);
    // Twice as fast in most rounds, and slower in one: that is noise.
    assert_eq!(budget_of(&[default, (512, &[2000, 2000, 980])]), 1024);
    // A machine that slows down harms both of a round alike.
    assert_eq!(budget_of(&[(1024, &[1000, 500, 100]), (512, &[1100, 550, 110])]), 512);
    // Too few rounds say nothing, however clear.
    assert_eq!(budget_of(&[(1024, &[1000, 1000]), (512, &[3000, 3000])]), 1024);
    assert_eq!(budget_of(&[(1024, &[]), (512, &[])]), 1024);
}

#[test]
fn of_several_that_win_the_nearest_is_taken_unless_a_further_one_beats_it() {
    let default: (usize, &[u64]) = (1024, &[1000, 1000, 1000]);
    let twice: (usize, &[u64]) = (2048, &[1200, 1200, 1200]);
    assert_eq!(budget_of(&[default, (512, &[1000, 1000, 1000]), twice, (4096, &[1210, 1220, 1230])]), 2048);
    assert_eq!(budget_of(&[default, (512, &[1000, 1000, 1000]), twice, (4096, &[1300, 1300, 1300])]), 4096);
}

/// ONNX Runtime and MLX at their defaults.
fn runtimes(onnx: &[u64], mlx: &[u64]) -> Comparison {
    let rows = vec![row(setting("onnx", 4, 1024), onnx), row(setting("mlx", 4, 1024), mlx)];
    Comparison { of: Compared::Runtime, tokens: 1024, rows }
}

#[test]
fn the_faster_runtime_is_taken_and_the_project_s_is_kept() {
    let slow = calibration(vec![runtimes(&[1000, 1000, 1000], &[300, 310, 320]), budgets(&[(1024, &[1000; 3]), (512, &[1100; 3])])]);
    let choice = choose(&slow, None).expect("a choice");
    assert_eq!((choice.runtime, choice.measured), (Runtime::Onnx, Some(setting("onnx", 4, 512))));
    assert!(choice.reason.contains("1100 tokens/s with 4 threads and 512 tokens a batch"), "{}", choice.reason);
    assert!(choice.refused[0].reason.starts_with("0.31 times as fast"), "{}", choice.refused[0].reason);

    // Nothing was tuned for MLX here: its defaults.
    let fast = calibration(vec![runtimes(&[1000, 1000, 1000], &[3000, 3100, 3200]), budgets(&[(1024, &[1000; 3]), (512, &[1100; 3])])]);
    let choice = choose(&fast, None).expect("a choice");
    assert_eq!((choice.runtime, choice.measured), (Runtime::Mlx, Some(setting("mlx", 4, 1024))));
    // An index, and a lockfile that a run is held to, are not left for speed; how to is said.
    for stay in [Stay::Index(Runtime::Onnx), Stay::Lock(Runtime::Onnx)] {
        let choice = choose(&fast, Some(stay)).expect("a choice");
        assert_eq!((choice.runtime, choice.measured), (Runtime::Onnx, Some(setting("onnx", 4, 512))));
        let refused = &choice.refused[0].reason;
        assert!(refused.starts_with("3.10 times as fast") && refused.contains("--runtime mlx"), "{refused}");
    }
}

#[test]
fn a_runtime_that_fails_is_named_with_its_reason() {
    let mut comparison = runtimes(&[], &[1000, 1000, 1000]);
    comparison.rows[0].problem = Some("the library is broken".into());
    let failed = calibration(vec![comparison]);
    let choice = choose(&failed, None).expect("a choice");
    assert_eq!(choice.runtime, Runtime::Mlx);
    assert_eq!(choice.refused[0].reason, "it failed when it was measured: the library is broken");
    // Its index is not given up for it: the run fails with the runtime's own error.
    assert_eq!(choose(&failed, Some(Stay::Index(Runtime::Onnx))).expect("a choice").runtime, Runtime::Onnx);
}

#[test]
fn threads_are_the_last_word() {
    let threads = |one: &[u64], half: &[u64]| Comparison {
        of: Compared::Threads,
        tokens: 4096,
        rows: vec![row(setting("onnx", 4, 512), one), row(setting("onnx", 2, 512), half)],
    };
    let with = |comparison| super::setting(&calibration(vec![budgets(&[(1024, &[1000; 3]), (512, &[1100; 3])]), comparison]), None);
    assert_eq!(with(threads(&[1100, 1090, 1110], &[600, 600, 600])), (setting("onnx", 4, 512), Some(1100)));
    let fewer = || threads(&[1100, 1090, 1110], &[1300, 1310, 1320]);
    assert_eq!(with(fewer()), (setting("onnx", 2, 512), Some(1310)));
    // Unless others were running: then fewer threads win for a reason that is gone tomorrow.
    let beside = |other_load| {
        let comparisons = vec![budgets(&[(1024, &[1000; 3]), (512, &[1100; 3])]), fewer()];
        super::setting(&Calibration { other_load: Some(other_load), ..calibration(comparisons) }, None).0
    };
    assert_eq!(beside(MOST_OTHER_LOAD), setting("onnx", 2, 512));
    assert_eq!(beside(MOST_OTHER_LOAD + 1), setting("onnx", 4, 512));
}

/// Engines whose time is made up.
struct Made<'a> {
    /// Tokens a second of a setting in a run, or why it fails.
    rate: &'a dyn Fn(&Setting, usize) -> Result<f64>,
    runs: usize,
    seconds: f64,
    open: usize,
}

impl Engines for Made<'_> {
    type Engine = Setting;

    fn open(&mut self, setting: &Setting) -> Result<Setting> {
        self.open += 1;
        (self.rate)(setting, 0).map(|_| setting.clone())
    }

    fn run(&mut self, engine: &mut Setting, token_budget: usize, tokens: usize) -> Result<(usize, f64)> {
        self.runs += 1;
        let setting = Setting { token_budget, ..engine.clone() };
        let seconds = tokens as f64 / (self.rate)(&setting, self.runs)?;
        self.seconds += seconds;
        Ok((tokens, seconds))
    }

    fn elapsed(&self) -> f64 {
        self.seconds
    }
}

/// What racing them comes to, and the seconds that it took.
fn raced(runtimes: &[Runtime], tuned: Option<&str>, rate: &dyn Fn(&Setting, usize) -> Result<f64>) -> Result<(Calibration, f64)> {
    let mut made = Made { rate, runs: 0, seconds: 0.0, open: 0 };
    let (comparisons, left_out) = race(&mut made, &Space::new(runtimes, 4, |_| true), tuned)?;
    let mut calibration = Calibration { left_out, ..calibration(comparisons) };
    calibration.runtimes.retain(|known| runtimes.iter().any(|runtime| runtime.name() == known.name));
    assert_eq!(calibration.fault(), None);
    Ok((calibration, made.seconds))
}

#[test]
fn five_seconds_find_the_best_setting() {
    let rate = |setting: &Setting, _: usize| {
        let budget = if setting.token_budget == 2048 { 1.2 } else { 1.0 };
        let threads = if setting.threads == 2 { 1.1 } else { 1.0 };
        Ok(if setting.runtime == "mlx" { 4_000.0 } else { 20_000.0 } * budget * threads)
    };
    for (runtimes, expected) in [(&[Runtime::Onnx][..], 1), (&[Runtime::Onnx, Runtime::Mlx], 2)] {
        let (found, seconds) = raced(runtimes, None, &rate).expect("measured");
        assert_eq!(super::setting(&found, None).0, setting("onnx", 2, 2048), "{found:?}");
        assert!((2.0..9.0).contains(&seconds), "{seconds}");
        assert_eq!(found.runtimes.len(), expected);
        // Whoever loses is not tuned.
        assert!(
            found.comparisons.iter().all(|comparison| comparison.of == Compared::Runtime || comparison.rows[0].setting.runtime == "onnx")
        );
    }
    // The project's runtime is tuned although it loses.
    let (found, _) = raced(&[Runtime::Onnx, Runtime::Mlx], Some("mlx"), &rate).expect("measured");
    assert_eq!(super::setting(&found, Some("mlx")).0, setting("mlx", 2, 1024), "{found:?}");
    // That takes time, which a slow one has only for the threads.
    assert!(found.left_out.iter().any(|left_out| left_out.contains("with mlx")), "{:?}", found.left_out);
}

#[test]
fn noise_leaves_the_defaults() {
    // The machine slows down and recovers, whatever runs.
    let rate = |_: &Setting, run: usize| Ok(20_000.0 / (1.0 + (run * 7 % 5) as f64));
    let (found, _) = raced(&[Runtime::Onnx, Runtime::Mlx], None, &rate).expect("measured");
    assert_eq!(super::setting(&found, None).0, setting("onnx", 4, 1024), "{found:?}");
}

#[test]
fn a_machine_that_is_too_slow_measures_less_and_says_so() {
    let with = |tokens_a_second: f64| raced(&[Runtime::Onnx], None, &move |_: &Setting, _| Ok(tokens_a_second)).expect("measured");
    let tried = |found: &Calibration| found.comparisons.iter().map(|comparison| comparison.rows.len()).sum::<usize>();
    let (all, _) = with(100_000.0);
    assert!(all.left_out.is_empty() && all.comparisons[0].rows.len() == BUDGETS.len(), "{all:?}");
    let (fewer, seconds) = with(8_000.0);
    assert!(tried(&fewer) < tried(&all) && seconds < 12.0, "{seconds} {fewer:?}");
    assert!(fewer.left_out[0].contains("token budgets of") && fewer.left_out[0].contains("8000 tokens/s"), "{:?}", fewer.left_out);
    let (none, seconds) = with(100.0);
    assert!(none.comparisons.is_empty() && seconds < 6.0, "{seconds} {none:?}");
    assert!(none.left_out[0].contains("were not compared: at 100 tokens/s"), "{:?}", none.left_out);
    assert_eq!(super::setting(&none, None), (setting("onnx", 4, 1024), None));
}

#[test]
fn failures_while_measuring_are_kept_or_told() {
    // One of two.
    let one = |setting: &Setting, _: usize| if setting.runtime == "onnx" { Err(Error::failed("no library")) } else { Ok(20_000.0) };
    let (found, _) = raced(&[Runtime::Onnx, Runtime::Mlx], None, &one).expect("the other is measured");
    assert_eq!(found.comparisons[0].rows[0].problem.as_deref(), Some("no library"));
    assert_eq!(super::setting(&found, None).0.runtime, "mlx");
    // In the middle of the rounds: what it had done counts for nothing.
    let later = |setting: &Setting, run: usize| match setting.threads {
        2 if run > 40 => Err(Error::failed("out of memory")),
        2 => Ok(90_000.0),
        _ => Ok(20_000.0),
    };
    let (found, _) = raced(&[Runtime::Onnx], None, &later).expect("measured");
    let threads = found.comparisons.iter().find(|comparison| comparison.of == Compared::Threads).expect("compared");
    assert_eq!((threads.rows[1].problem.as_deref(), threads.rows[1].tokens_per_second.len()), (Some("out of memory"), 0), "{found:?}");
    assert_eq!(super::setting(&found, None).0.threads, 4);
    // All: the error of the first is the run's own.
    let error = raced(&[Runtime::Onnx], None, &|_, _| Err(Error::missing("no runtime"))).expect_err("nothing runs");
    assert_eq!((error.kind(), error.message()), (ErrorKind::Missing, "no runtime"));
    // A stop is no failure of a runtime.
    let stopped = |setting: &Setting, _: usize| if setting.runtime == "mlx" { Err(Error::interrupted()) } else { Ok(20_000.0) };
    let error = raced(&[Runtime::Onnx, Runtime::Mlx], None, &stopped).expect_err("stopped");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[test]
fn a_record_counts_for_the_same_only_and_only_if_it_is_sound() {
    let cache = tempfile::tempdir().expect("a temporary folder");
    let known = calibration(vec![runtimes(&[1000; 3], &[300; 3])]);
    let blank = calibration(Vec::new());
    assert_eq!(recorded(cache.path(), &blank).expect("read"), Recorded::None);
    let path = keep(cache.path(), &known).expect("kept");
    assert_eq!(recorded(cache.path(), &blank).expect("read"), Recorded::Found(Box::new(known.clone())));
    let other = |change: &dyn Fn(&mut Calibration)| {
        let mut other = blank.clone();
        change(&mut other);
        recorded(cache.path(), &other).expect("read")
    };
    assert_eq!(other(&|other| other.machine.threads = 8), Recorded::None);
    assert_eq!(other(&|other| other.model = "n".into()), Recorded::None);
    assert_eq!(other(&|other| other.precision = "q8".into()), Recorded::None);
    assert_eq!(other(&|other| other.group_size = Some(32)), Recorded::None);
    assert_eq!(other(&|other| other.runtimes[0].version = Some("2".into())), Recorded::None);
    assert_eq!(other(&|other| other.runtimes[0].version = None), Recorded::None);

    let text = std::fs::read_to_string(&path).expect("text");
    for (fault, text) in [
        ("cut off", text[..text.len() / 2].to_owned()),
        ("of another machine", text.replacen("a processor", "another", 1)),
        ("a rate of nothing", text.replacen("1000", "0", 1)),
        ("a round is missing", text.replacen("1000,", "", 1)),
        ("no threads", text.replacen("\"threads\": 4,\n            \"token", "\"threads\": 0,\n            \"token", 1)),
        ("a runtime that was not compared", text.replacen("\"runtime\": \"mlx\"", "\"runtime\": \"cuda\"", 1)),
    ] {
        crate::fs::write_atomic(&path, |out| out.write_all(text.as_bytes())).expect("written");
        let Recorded::Damaged(why) = recorded(cache.path(), &blank).expect("read") else { panic!("{fault}: {text}") };
        assert!(why.contains("damaged"), "{why}");
    }
}
