//! Whether another author's result comes out here too: quality and parity must, speeds are only set side by side.
//!
//! Machines differ, so that no speed is judged; how cells compare with their model's reference cell says what a recipe is worth elsewhere.

use serde::{Deserialize, Serialize};

use crate::bench::result::{Asked, BenchResult, Cell, Measured, Parity};

/// How much farther from the reference vectors may lie here than there: as far again, for other processors round otherwise, and a last bit.
const FARTHER: f64 = 2.0;
const LAST_BITS: f64 = 1e-5;

/// The rule, as the report says it.
pub const RULE: &str = "quality: nDCG@10 within the result's 95 % interval; parity: the loss of cosine at most twice the result's, plus 1e-5; \
                        speed is not judged";

/// A figure there and here.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// In the result.
    pub there: f64,
    /// Of this run.
    pub here: f64,
}

/// A cell that was run again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellReproduction {
    /// Which.
    pub asked: Asked,
    /// nDCG@10, where both measured it.
    pub ndcg10: Option<Pair>,
    /// Whether it is within the result's interval.
    pub quality_reproduces: Option<bool>,
    /// The worst cosine against the reference cell; none for that itself.
    pub worst_cosine: Option<Pair>,
    /// Whether worst and median cosine are as near.
    pub parity_reproduces: Option<bool>,
    /// Texts a second over those of the reference cell.
    pub speed_ratio: Option<Pair>,
    /// Why nothing can be said.
    pub failed: Option<String>,
}

/// Whether the result's quality was measured again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QualityCheck {
    /// The result has none.
    #[serde(rename = "none")]
    None,
    /// For every cell that was run and has one there.
    #[serde(rename = "measured")]
    Measured,
    /// Not for every such cell: what is reproduced is the rest.
    #[serde(rename = "not measured")]
    NotMeasured,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reproduction {
    /// Whether every cell that was run is as it was, in what was checked.
    pub reproduced: bool,
    /// Whether anything could be checked.
    pub judged: bool,
    /// What became of the result's quality.
    pub quality: QualityCheck,
    /// How it was judged.
    pub rule: String,
    /// The cells that were run.
    pub cells: Vec<CellReproduction>,
    /// Cells of the result that cannot be run here, and why.
    pub left_out: Vec<String>,
}

/// Sets the two side by side. Reproduced if at least one cell was judged, and none of them is otherwise or failed.
pub fn reproduce(there: &BenchResult, here: &BenchResult, left_out: Vec<String>) -> Reproduction {
    let find = |result: &BenchResult, asked: &Asked| result.cells.iter().find(|cell| cell.asked == *asked).cloned();
    let mut cells = Vec::with_capacity(here.cells.len());
    for cell in &here.cells {
        let Some(old) = find(there, &cell.asked) else { continue };
        cells.push(one(&old, cell, &ratio(there, &old), &ratio(here, cell)));
    }
    let judged = |cell: &CellReproduction| cell.quality_reproduces.is_some() || cell.parity_reproduces.is_some();
    let sound =
        |cell: &CellReproduction| cell.failed.is_none() && cell.quality_reproduces != Some(false) && cell.parity_reproduces != Some(false);
    let judged = cells.iter().any(judged);
    let has = |cell: &Cell| cell.measured.as_ref().is_some_and(|measured| measured.quality.is_some());
    let with_quality: Vec<&Cell> = here.cells.iter().filter(|cell| find(there, &cell.asked).is_some_and(|old| has(&old))).collect();
    let quality = match with_quality.as_slice() {
        [] => QualityCheck::None,
        cells if cells.iter().copied().all(has) => QualityCheck::Measured,
        _ => QualityCheck::NotMeasured,
    };
    let reproduced = judged && cells.iter().all(sound);
    Reproduction { reproduced, judged, quality, rule: RULE.to_owned(), cells, left_out }
}

fn one(there: &Cell, here: &Cell, ratio_there: &Option<f64>, ratio_here: &Option<f64>) -> CellReproduction {
    let mut out = CellReproduction {
        asked: here.asked.clone(),
        ndcg10: None,
        quality_reproduces: None,
        worst_cosine: None,
        parity_reproduces: None,
        speed_ratio: ratio_there.zip(*ratio_here).map(|(there, here)| Pair { there, here }),
        failed: None,
    };
    let (Some(old), Some(new)) = (&there.measured, &here.measured) else {
        let reason = |cell: &Cell| cell.failed.clone().unwrap_or_else(|| "nothing was measured".into());
        out.failed = Some(if here.measured.is_none() { reason(here) } else { format!("there: {}", reason(there)) });
        return out;
    };
    if let (Some(old), Some(new)) = (&old.quality, &new.quality) {
        out.ndcg10 = Some(Pair { there: old.ndcg10, here: new.ndcg10 });
        out.quality_reproduces = Some((old.low..=old.high).contains(&new.ndcg10));
    }
    // A reference cell is always as near to itself as can be.
    if let (false, Some(old), Some(new)) = (here.reference, &old.parity, &new.parity) {
        out.worst_cosine = Some(Pair { there: old.worst_cosine, here: new.worst_cosine });
        out.parity_reproduces = Some(as_near(old, new));
    }
    out
}

fn as_near(old: &Parity, new: &Parity) -> bool {
    let near = |old: f64, new: f64| 1.0 - new <= FARTHER * (1.0 - old).max(0.0) + LAST_BITS;
    near(old.worst_cosine, new.worst_cosine) && near(old.median_cosine, new.median_cosine)
}

/// A cell's texts a second over those of its model's reference in the same result.
fn ratio(result: &BenchResult, cell: &Cell) -> Option<f64> {
    let rate = |measured: &Measured| measured.texts_per_second.median;
    let reference = result.cells.iter().find(|other| other.reference && other.asked.model == cell.asked.model)?;
    Some(rate(cell.measured.as_ref()?) / rate(reference.measured.as_ref()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::compare::tests::result;

    #[test]
    fn quality_and_parity_must_come_out_and_speed_need_not() {
        let there = result(&[50.0; 5], 0.64);
        let found = reproduce(&there, &result(&[5.0; 3], 0.6401), vec![]);
        assert!(found.reproduced, "{found:?}");
        assert_eq!(found.cells[0].speed_ratio, Some(Pair { there: 1.0, here: 1.0 }));
        let other = reproduce(&there, &result(&[50.0; 5], 0.61), vec![]);
        assert_eq!((other.reproduced, other.cells[0].quality_reproduces, other.cells[0].parity_reproduces), (false, Some(false), None));
        let with_int8 = |rate: f64| {
            let mut both = result(&[50.0; 5], 0.64);
            let mut cell = result(&[rate; 5], 0.63).cells.remove(0);
            (cell.reference, cell.asked.precision) = (false, "int8".into());
            both.cells.push(cell);
            both
        };
        let (there, mut far) = (with_int8(75.0), with_int8(100.0));
        let found = reproduce(&there, &far, vec![]);
        assert_eq!((found.reproduced, found.cells[1].parity_reproduces), (true, Some(true)));
        assert_eq!(found.cells[1].speed_ratio, Some(Pair { there: 1.5, here: 2.0 }));
        far.cells[1].measured.as_mut().expect("measured").parity = Some(Parity { worst_cosine: 0.9, median_cosine: 1.0, max_abs: 0.1 });
        assert_eq!(reproduce(&there, &far, vec![]).cells[1].parity_reproduces, Some(false));
        // As far there: then it is what it was.
        assert!(reproduce(&far, &far, vec![]).reproduced);
        let mut failed = result(&[50.0; 5], 0.64);
        failed.cells[0].measured = None;
        failed.cells[0].failed = Some("no memory".into());
        let found = reproduce(&there, &failed, vec![]);
        assert_eq!((found.reproduced, found.cells[0].failed.as_deref()), (false, Some("no memory")));
    }

    /// A result that has quality and is run without it is reproduced in what was checked, and that is said.
    #[test]
    fn what_was_not_checked_is_said() {
        let both = |quality: bool| {
            let mut both = result(&[50.0; 5], 0.64);
            let mut cell = both.cells[0].clone();
            (cell.reference, cell.asked.precision) = (false, "int8".into());
            both.cells.push(cell);
            for cell in both.cells.iter_mut().filter(|_| !quality) {
                cell.measured.as_mut().expect("measured").quality = None;
            }
            both
        };
        let found = reproduce(&both(true), &both(false), vec![]);
        assert_eq!((found.reproduced, found.judged, found.quality), (true, true, QualityCheck::NotMeasured), "parity alone");
        let found = reproduce(&both(true), &both(true), vec![]);
        assert_eq!((found.reproduced, found.quality), (true, QualityCheck::Measured));
        let found = reproduce(&both(false), &both(false), vec![]);
        assert_eq!((found.reproduced, found.quality), (true, QualityCheck::None), "there is none to check");
        // A reference cell alone has nothing but quality.
        let mut bare = result(&[50.0; 5], 0.64);
        bare.cells[0].measured.as_mut().expect("measured").quality = None;
        let found = reproduce(&result(&[50.0; 5], 0.64), &bare, vec![]);
        assert_eq!((found.reproduced, found.judged, found.quality), (false, false, QualityCheck::NotMeasured));
    }

    #[test]
    fn nothing_judged_is_nothing_reproduced() {
        let mut bare = result(&[50.0; 5], 0.64);
        let measured = bare.cells[0].measured.as_mut().expect("measured");
        (measured.quality, measured.parity) = (None, None);
        assert!(!reproduce(&bare, &bare, vec![]).reproduced);
        let mut other = result(&[50.0; 5], 0.64);
        other.cells[0].asked.threads = 7;
        assert!(!reproduce(&bare, &other, vec![]).reproduced);
    }
}
