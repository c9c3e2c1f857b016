//! `runtime: measured`: looking up what was measured on this machine, measuring where nothing was, and putting it into the settings.

use std::path::PathBuf;

use patina_backend::Runtime;

use crate::bench::calibrate::{self, Recorded, Stay};
use crate::bench::corpus::project_texts;
use crate::bench::parity::sample_texts;
use crate::cli::machine;
use crate::embed::select::{self, Choice};
use crate::embed::{Settings, TOKEN_BUDGET, fingerprint};
use crate::error::Result;
use crate::fs;
use crate::index::Manifest;
use crate::model::Cache;
use crate::progress::Job;
use crate::recipe::lock::{Calibration, CalibrationPins};
use crate::store::Store;

/// Texts of a project that are measured with.
const PROJECT_TEXTS: usize = 400;

/// Why a model that embeds token ids alone is not measured.
const NO_TEXTS: &str = "the model has no tokenizer.json, and so no texts to measure with";

/// What a measurement decides, and what it may not.
#[derive(Debug, Default)]
pub(super) struct Measuring {
    /// The runtime that the project stays with.
    pub stay: Option<Stay>,
    /// Threads that the recipe or the command line says.
    pub threads: Option<usize>,
    /// The token budget that they say.
    pub token_budget: Option<usize>,
}

/// Texts, and what they are called.
pub(super) struct Texts {
    texts: Vec<String>,
    from: &'static str,
}

impl Texts {
    /// Those that are built in.
    pub fn built_in() -> Texts {
        Texts { texts: sample_texts(), from: "built in" }
    }

    /// Some of a project, or the built-in ones if it has none.
    pub fn of_project(store: Option<&Store>) -> Result<Texts> {
        let Some(store) = store else { return Ok(Texts::built_in()) };
        let texts = project_texts(store, PROJECT_TEXTS)?;
        Ok(if texts.is_empty() { Texts::built_in() } else { Texts { texts, from: "the project's" } })
    }
}

/// The runtime whose vectors an index has, if this build carries it.
pub(super) fn of_index(settings: &Settings, manifest: &Manifest) -> Option<Stay> {
    let made_it = |&runtime: &Runtime| fingerprint(&Settings { runtime, ..settings.clone() }) == manifest.fingerprint;
    select::candidates(settings.precision).into_iter().find(made_it).map(Stay::Index)
}

/// The runtime of a lockfile, if this build carries it.
pub(super) fn of_lock(settings: &Settings, name: &str) -> Option<Stay> {
    select::candidates(settings.precision).into_iter().find(|runtime| runtime.name() == name).map(Stay::Lock)
}

impl Measuring {
    /// Puts what was measured before into the settings: what the cache has, else what the project's lockfile has of this very machine.
    /// Without either, `auto`'s choice stands in, and the choice says so.
    pub fn recall(
        &self,
        settings: &mut Settings,
        cache: &Cache,
        lock: Option<CalibrationPins>,
    ) -> Result<(Choice, Option<CalibrationPins>)> {
        let blank = calibrate::blank(settings, machine::this());
        let of_lock = || lock.map(|pins| pins.measured).filter(|measured| measured.is_of_the_same(&blank));
        let (found, why) = match calibrate::recorded(cache.root(), &blank)? {
            Recorded::Found(found) => (Some(*found), String::new()),
            Recorded::None if settings.tokenizer.is_none() => (None, NO_TEXTS.into()),
            Recorded::None => (of_lock(), "`patina oxidize` and `patina calibrate` do".into()),
            Recorded::Damaged(why) => (of_lock(), why),
        };
        match found {
            Some(calibration) => self.settle(settings, calibration),
            None => {
                let choice = calibrate::unmeasured(settings.precision, self.stay, &why)?;
                settings.runtime = choice.runtime;
                Ok((choice, None))
            }
        }
    }

    /// Measures, keeps it in the cache, and puts it into the settings. Unless it is to be done `anew`, what another process measured
    /// meanwhile is taken.
    pub fn measure(
        &self,
        settings: &mut Settings,
        cache: &Cache,
        texts: &Texts,
        anew: bool,
        job: Job<'_>,
    ) -> Result<(Choice, Option<CalibrationPins>, Option<PathBuf>)> {
        let blank = calibrate::blank(settings, machine::this());
        // Two that measure at once measure one another. Where no lock can be had, nothing can be kept either, and that is told below.
        let mut told = false;
        let turn = fs::Lock::wait(&calibrate::folder(cache.root()).join("lock"), "calibrate", |holder| {
            if !std::mem::replace(&mut told, true) {
                job.progress.note(&format!("waiting for {holder}, which measures too"));
            }
            job.check()
        });
        job.check()?;
        let _turn = turn.ok();
        match calibrate::recorded(cache.root(), &blank)? {
            Recorded::Found(found) if !anew => {
                let (choice, pins) = self.settle(settings, *found)?;
                return Ok((choice, pins, None));
            }
            Recorded::Damaged(why) => job.progress.note(&format!("{why}; it is measured anew")),
            Recorded::Found(_) | Recorded::None => {}
        }
        let calibration = calibrate::measure(blank, settings, &texts.texts, texts.from, self.stay, job)?;
        let kept = match calibrate::keep(cache.root(), &calibration) {
            Ok(path) => Some(path),
            Err(error) => {
                job.progress.note(&format!("what was measured could not be kept: {error}"));
                None
            }
        };
        for left_out in &calibration.left_out {
            job.progress.note(left_out);
        }
        let (choice, pins) = self.settle(settings, calibration)?;
        Ok((choice, pins, kept))
    }

    fn settle(&self, settings: &mut Settings, calibration: Calibration) -> Result<(Choice, Option<CalibrationPins>)> {
        let choice = calibrate::choose(&calibration, self.stay)?;
        settings.runtime = choice.runtime;
        let pins = choice.measured.clone().map(|chosen| {
            settings.threads = self.threads.unwrap_or(chosen.threads);
            settings.token_budget = self.token_budget.unwrap_or(chosen.token_budget);
            CalibrationPins { chosen, measured: calibration }
        });
        Ok((choice, pins))
    }
}

/// What a choice is told as, in one line: threads and budget as they are used, which the recipe may say.
pub(super) fn told(choice: &Choice, settings: &Settings) -> String {
    let mut out = format!("{} ({})", choice.runtime, choice.reason);
    if let Some(measured) = &choice.measured {
        if (measured.threads, measured.token_budget) != (settings.threads, settings.token_budget) {
            out += &format!("; {} threads and {} tokens a batch were asked for", settings.threads, settings.token_budget);
        }
    } else if settings.token_budget != TOKEN_BUDGET {
        out += &format!("; {} tokens a batch", settings.token_budget);
    }
    out
}
