//! Calls: the function that calls asks, the function that is called answers. The direction is kept.

use std::collections::BTreeMap;

use super::link::Link;
use crate::store::{CallEdge, Chunk, Symbol};

/// What more functions call than this is a tool of all, and says nothing about any of them.
pub(super) const MAX_CALLERS: usize = 30;
/// The most functions that one is paired with as the caller, and as the callee.
pub(super) const MAX_PAIRS_PER_FUNCTION: usize = 6;

/// All links, those to the least called functions first: they say most. `names` names the unit of every chunk that may be in a pair.
pub(super) fn links<'a>(
    chunks: &BTreeMap<u64, &'a Chunk>,
    names: &'a BTreeMap<u64, String>,
    symbols: &[Symbol],
    edges: &[CallEdge],
) -> Vec<Link<'a>> {
    let place: BTreeMap<u64, u64> = symbols.iter().filter_map(|symbol| Some((symbol.id, symbol.chunk?))).collect();
    let mut callers: BTreeMap<u64, usize> = BTreeMap::new();
    for edge in edges {
        *callers.entry(edge.callee).or_default() += 1;
    }
    let mut found: Vec<(usize, u64, u64, u64)> = edges
        .iter()
        .filter_map(|edge| {
            let (caller, callee) = (*place.get(&edge.caller)?, *place.get(&edge.callee)?);
            let popular = callers[&edge.callee];
            let usable = caller != callee && popular <= MAX_CALLERS && chunks.contains_key(&caller) && chunks.contains_key(&callee);
            usable.then_some((popular, u64::MAX - edge.count, caller, callee))
        })
        .collect();
    found.sort_unstable();
    let (mut asked, mut answered): (BTreeMap<u64, usize>, BTreeMap<u64, usize>) = (BTreeMap::new(), BTreeMap::new());
    let mut out = Vec::new();
    for (_, _, caller, callee) in found {
        let (asked, answered) = (asked.entry(caller).or_default(), answered.entry(callee).or_default());
        if *asked < MAX_PAIRS_PER_FUNCTION && *answered < MAX_PAIRS_PER_FUNCTION {
            *asked += 1;
            *answered += 1;
            out.push(Link { anchor: caller, positive: callee, anchor_group: &names[&caller], positive_group: &names[&callee] });
        }
    }
    out
}
