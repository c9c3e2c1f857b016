//! Which pairs train, which stop the training and which judge it: whole components, the latest ones held out.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use sha2::{Digest, Sha256};

use super::Pair;
use crate::error::{Error, Result};
use crate::store::Chunk;

/// Fewer components than this cannot be split so that the result means anything.
pub const MIN_GROUPS: usize = 10;
/// Fewer pairs than this teach nothing that would hold elsewhere.
pub const MIN_PAIRS: usize = 50;
/// A test of fewer components has no interval worth showing.
pub const MIN_TEST_GROUPS: usize = 3;
/// A test of fewer pairs has no interval worth showing.
pub const MIN_TEST_PAIRS: usize = 10;

/// A component with more pairs than this many times what a held-out part shall have goes to training: one group is no test.
const MAX_OVERSHOOT: usize = 2;

/// What share of the pairs is held out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fractions {
    validation: f64,
    test: f64,
}

impl Fractions {
    /// Both above 0, and together below 1.
    pub fn new(validation: f64, test: f64) -> Result<Fractions> {
        if validation > 0.0 && test > 0.0 && validation + test < 1.0 {
            Ok(Fractions { validation, test })
        } else {
            Err(Error::usage(format!("cannot hold out the fractions {validation} and {test}: each must be above 0, the sum below 1")))
        }
    }
}

impl Default for Fractions {
    /// A tenth to stop the training, a fifth to judge it.
    fn default() -> Fractions {
        Fractions { validation: 0.1, test: 0.2 }
    }
}

/// The three parts; each sorted as the pairs were. No component is in two of them; [`check`](super::check) proves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// What the projection learns from.
    pub train: Vec<Pair>,
    /// What says when to stop.
    pub validation: Vec<Pair>,
    /// What judges the result; nothing else may look at it.
    pub test: Vec<Pair>,
    /// The number of components in train, validation and test.
    pub groups: [usize; 3],
    /// Where time was cut: the latest date of the earliest dated component in the test part, RFC 3339 in UTC.
    pub test_from: Option<String>,
}

/// Why there is no split: the project is too small to say anything about a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLittle {
    /// Fewer components than [`MIN_GROUPS`].
    Groups {
        /// How many there are.
        found: usize,
    },
    /// Fewer pairs than [`MIN_PAIRS`].
    Pairs {
        /// How many there are.
        found: usize,
    },
    /// The test part would have fewer than [`MIN_TEST_GROUPS`] components or [`MIN_TEST_PAIRS`] pairs.
    Test {
        /// Components in the test part.
        groups: usize,
        /// Pairs in the test part.
        pairs: usize,
    },
    /// Nothing would be left to train on or to stop by.
    Uneven,
}

impl fmt::Display for TooLittle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TooLittle::Groups { found } => {
                write!(f, "there are {found} separate groups (sessions, documents, files) with pairs, and at least {MIN_GROUPS} are needed")
            }
            TooLittle::Pairs { found } => write!(f, "there are {found} training pairs, and at least {MIN_PAIRS} are needed"),
            TooLittle::Test { groups, pairs } => write!(
                f,
                "only {groups} groups with {pairs} pairs could be held out, and at least {MIN_TEST_GROUPS} with {MIN_TEST_PAIRS} are needed"
            ),
            TooLittle::Uneven => f.write_str("the groups are too uneven to be split into training, validation and test"),
        }
    }
}

impl std::error::Error for TooLittle {}

/// Splits by component ([`Pair::group`]), never by row.
///
/// Components with a date (that of their latest chunk) are cut by time: the latest are the test, those before them the
/// validation, the rest trains, so that the test asks what a user asks: does what was learnt so far hold for what comes next?
/// Components without a date are held out in the same shares, by an order that depends on `seed` and their names only. A component
/// much larger than a held-out part trains, whatever its date. The result depends on neither the order of `pairs` nor of `chunks`.
pub fn split(pairs: &[Pair], chunks: &[Chunk], seed: u64, fractions: Fractions) -> Result<Split, TooLittle> {
    split_dated(pairs, &dates(chunks), seed, fractions)
}

/// The dates of chunks that have one.
pub(super) fn dates(chunks: &[Chunk]) -> HashMap<u64, jiff::Timestamp> {
    chunks.iter().filter_map(|chunk| Some((chunk.id, parse_date(chunk.date.as_deref()?)?))).collect()
}

/// [`split`] with dates from elsewhere, by chunk.
pub(super) fn split_dated(
    pairs: &[Pair],
    dates: &HashMap<u64, jiff::Timestamp>,
    seed: u64,
    fractions: Fractions,
) -> Result<Split, TooLittle> {
    let mut components: BTreeMap<&str, Vec<&Pair>> = BTreeMap::new();
    for pair in pairs {
        components.entry(&pair.group).or_default().push(pair);
    }
    if components.len() < MIN_GROUPS {
        return Err(TooLittle::Groups { found: components.len() });
    }
    if pairs.len() < MIN_PAIRS {
        return Err(TooLittle::Pairs { found: pairs.len() });
    }
    let date = |pairs: &[&Pair]| pairs.iter().flat_map(|pair| [pair.anchor, pair.positive]).filter_map(|id| dates.get(&id)).max().copied();

    let mut dated: Vec<(jiff::Timestamp, &str)> = Vec::new();
    let mut undated: Vec<([u8; 32], &str)> = Vec::new();
    for (&name, members) in &components {
        match date(members) {
            Some(at) => dated.push((at, name)),
            None => undated.push((seeded(seed, name), name)),
        }
    }
    dated.sort_unstable_by(|a, b| b.cmp(a));
    undated.sort_unstable();

    let mut part_of: BTreeMap<&str, Part> = BTreeMap::new();
    let size = |name: &str| components.get(name).map_or(0, Vec::len);
    deal(dated.iter().map(|(_, name)| *name), size, fractions, &mut part_of);
    deal(undated.iter().map(|(_, name)| *name), size, fractions, &mut part_of);

    let mut out = Split::default();
    for (name, members) in &components {
        let part = part_of.get(name).copied().unwrap_or(Part::Train);
        out.groups[part as usize] += 1;
        let pairs = match part {
            Part::Train => &mut out.train,
            Part::Validation => &mut out.validation,
            Part::Test => &mut out.test,
        };
        pairs.extend(members.iter().copied().cloned());
    }
    for pairs in [&mut out.train, &mut out.validation, &mut out.test] {
        pairs.sort_unstable();
    }
    out.test_from =
        dated.iter().filter(|(_, name)| part_of.get(name) == Some(&Part::Test)).map(|(at, _)| at).min().map(jiff::Timestamp::to_string);
    if out.groups[Part::Test as usize] < MIN_TEST_GROUPS || out.test.len() < MIN_TEST_PAIRS {
        return Err(TooLittle::Test { groups: out.groups[Part::Test as usize], pairs: out.test.len() });
    }
    if out.train.is_empty() || out.validation.is_empty() {
        return Err(TooLittle::Uneven);
    }
    Ok(out)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Train,
    Validation,
    Test,
}

/// Deals components in order: the first to the test until it has its share of the pool's pairs, the next to the validation, the
/// rest to training.
fn deal<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    size: impl Fn(&str) -> usize,
    fractions: Fractions,
    parts: &mut BTreeMap<&'a str, Part>,
) {
    let total: usize = names.clone().map(&size).sum();
    let share = |fraction: f64| (total as f64 * fraction).ceil() as usize;
    let wanted = [(Part::Test, share(fractions.test)), (Part::Validation, share(fractions.validation))];
    let mut filled = [0usize; 2];
    for name in names {
        let size = size(name);
        let slot = (0..wanted.len()).find(|&slot| filled[slot] < wanted[slot].1);
        let part = match slot {
            Some(slot) if size <= MAX_OVERSHOOT * wanted[slot].1 => {
                filled[slot] += size;
                wanted[slot].0
            }
            _ => Part::Train,
        };
        parts.insert(name, part);
    }
}

pub(super) fn seeded(seed: u64, name: &str) -> [u8; 32] {
    Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name.as_bytes()).finalize().into()
}

/// Whether a date is before another one; never if either is none.
pub fn is_before(date: &str, cut: Option<&str>) -> bool {
    match (parse_date(date), cut.and_then(parse_date)) {
        (Some(date), Some(cut)) => date < cut,
        _ => false,
    }
}

/// A moment as sources write it: RFC 3339, or a day, which is taken at midnight UTC.
pub(super) fn parse_date(text: &str) -> Option<jiff::Timestamp> {
    let text = text.trim();
    text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let day: jiff::civil::Date = text.parse().ok()?;
        Some(day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_both_forms_are_compared_as_moments() {
        let moment = |text| parse_date(text).expect("a date");
        assert!(moment("2025-08-16T01:00:00+05:00") < moment("2025-08-15T21:00:00Z"));
        assert!(moment("2025-08-16") < moment("2025-08-16T00:00:01Z"));
        assert_eq!(parse_date("yesterday"), None);
        assert_eq!(parse_date(""), None);
    }

    #[test]
    fn fractions_that_leave_nothing_are_refused() {
        for (validation, test) in [(0.0, 0.2), (0.1, 0.0), (0.5, 0.5), (f64::NAN, 0.2), (-0.1, 0.2)] {
            assert!(Fractions::new(validation, test).is_err());
        }
        assert!(Fractions::new(0.1, 0.2).is_ok());
    }
}
