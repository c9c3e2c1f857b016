//! Several splits of a small project, so that every group is held out once: one split of few groups would judge by a handful.

use super::Pair;
use super::split::{MIN_GROUPS, MIN_PAIRS, Split, TooLittle, seeded};

/// In how many parts a small project is split; each is held out once.
pub const FOLDS: usize = 5;
/// A project with fewer components than this is small: a fifth of them would be no more than a dozen.
pub const SMALL_GROUPS: usize = 60;

/// [`FOLDS`] splits by component: in each another part is the test, the next one stops the training, and the rest trains. Which component
/// is in which part depends on `seed` and names alone, largest first, so that parts have about as many pairs.
///
/// Time is not cut: what comes later trains too. Fails with what is missing, as [`split`](super::split()) does.
pub fn folds(pairs: &[Pair], seed: u64) -> Result<Vec<Split>, TooLittle> {
    let mut components: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for pair in pairs {
        *components.entry(&pair.group).or_default() += 1;
    }
    if components.len() < MIN_GROUPS {
        return Err(TooLittle::Groups { found: components.len() });
    }
    if pairs.len() < MIN_PAIRS {
        return Err(TooLittle::Pairs { found: pairs.len() });
    }
    let mut order: Vec<(usize, [u8; 32], &str)> = components.into_iter().map(|(name, size)| (size, seeded(seed, name), name)).collect();
    order.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut filled = [0usize; FOLDS];
    let mut part_of: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for (size, _, name) in order {
        let least = (0..FOLDS).min_by_key(|&part| (filled[part], part)).unwrap_or(0);
        filled[least] += size;
        part_of.insert(name, least);
    }
    let of = |fold: usize| {
        let mut split = Split::default();
        let mut groups: [std::collections::BTreeSet<&str>; 3] = Default::default();
        for pair in pairs {
            let at = (part_of[pair.group.as_str()] + FOLDS - fold) % FOLDS;
            let (part, number) = match at {
                0 => (&mut split.test, 2),
                1 => (&mut split.validation, 1),
                _ => (&mut split.train, 0),
            };
            groups[number].insert(&pair.group);
            part.push(pair.clone());
        }
        for part in [&mut split.train, &mut split.validation, &mut split.test] {
            part.sort_unstable();
        }
        split.groups = groups.map(|groups| groups.len());
        split
    };
    Ok((0..FOLDS).map(of).collect())
}
