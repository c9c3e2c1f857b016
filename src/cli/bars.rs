//! Progress on standard error: a bar with rate and remaining time on a terminal, plain lines elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::report::{count, say};
use crate::progress::Progress;

/// Stages shorter than this are not worth a plain line of their own.
const WORTH_A_LINE: Duration = Duration::from_millis(500);

/// How often a plain line says how far a long stage is.
const PLAIN_INTERVAL: Duration = Duration::from_secs(15);

pub(super) struct Bars {
    terminal: bool,
    stage: Mutex<Option<Stage>>,
}

struct Stage {
    label: String,
    unit: &'static str,
    total: Option<u64>,
    done: u64,
    started: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl Bars {
    pub fn new(terminal: bool) -> Bars {
        Bars { terminal, stage: Mutex::new(None) }
    }

    fn with<R>(&self, act: impl FnOnce(&mut Option<Stage>) -> R) -> R {
        act(&mut self.stage.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Progress for Bars {
    fn begin(&self, label: &str, total: Option<u64>, unit: &'static str) {
        let bar = self.terminal.then(|| {
            let (bar, template) = match total {
                Some(total) if unit == "B" => {
                    (ProgressBar::new(total), "{msg:>12} [{bar:28}] {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left")
                }
                Some(total) => (ProgressBar::new(total), "{msg:>12} [{bar:28}] {human_pos}/{human_len} {prefix}  {per_sec}  {eta} left"),
                None => (ProgressBar::new_spinner(), "{msg:>12} {spinner} {human_pos} {prefix}  {per_sec}"),
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(label.to_owned());
            bar.set_prefix(unit);
            bar
        });
        let now = Instant::now();
        self.with(|stage| *stage = Some(Stage { label: label.into(), unit, total, done: 0, started: now, told: now, bar }));
    }

    fn advance(&self, n: u64) {
        self.with(|stage| {
            let Some(stage) = stage else { return };
            stage.done += n;
            match &stage.bar {
                Some(bar) => bar.inc(n),
                None if stage.told.elapsed() >= PLAIN_INTERVAL => {
                    stage.told = Instant::now();
                    let total = stage.total.map(|total| format!(" of {}", count(total))).unwrap_or_default();
                    let seconds = stage.started.elapsed().as_secs_f64();
                    say(format_args!("{}: {}{total} {} after {seconds:.0} s", stage.label, count(stage.done), stage.unit));
                }
                None => {}
            }
        });
    }

    fn end(&self, summary: &str) {
        self.with(|stage| {
            let Some(stage) = stage.take() else { return };
            if let Some(bar) = &stage.bar {
                bar.finish_and_clear();
            }
            let elapsed = stage.started.elapsed();
            if !summary.is_empty() {
                say(format_args!("{}: {summary}", stage.label));
            } else if elapsed >= WORTH_A_LINE && stage.done > 0 {
                let seconds = elapsed.as_secs_f64();
                let rate = stage.done as f64 / seconds;
                say(format_args!("{}: {} {} in {seconds:.1} s ({rate:.0}/s)", stage.label, count(stage.done), stage.unit));
            }
        });
    }

    fn note(&self, text: &str) {
        self.with(|stage| match stage.as_ref().and_then(|stage| stage.bar.as_ref()) {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        });
    }
}
