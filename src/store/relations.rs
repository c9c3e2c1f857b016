//! Relations that a table answers: what changed together, who calls whom. Nothing here needs a model.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;
use serde::Serialize;

use super::{CO_CHANGE_MAX_FILES, Call, Resolution, Store, Symbol};
use crate::error::Result;

/// Two files that changed together in fewer commits than this are not said to change together: once is an accident.
pub const CO_CHANGE_MIN_SUPPORT: u64 = 2;

/// Calls of calls of calls are followed at most this far.
pub const MAX_CALL_DEPTH: usize = 8;

/// At most this many callers or callees are gathered; [`Relatives::complete`] says whether there are more.
pub const MAX_RELATED: usize = 1_000;

/// What changes with a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Companions {
    /// The file.
    pub path: String,
    /// Commits of 1 to [`CO_CHANGE_MAX_FILES`] files.
    pub commits: u64,
    /// Those of them that touch the file.
    pub touching: u64,
    /// Commits that touch the file and more than [`CO_CHANGE_MAX_FILES`] files: they are not counted.
    pub sweeping: u64,
    /// The files that changed with it in at least [`CO_CHANGE_MIN_SUPPORT`] commits, best first.
    pub files: Vec<Companion>,
}

/// A file that changed together with another one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Companion {
    /// Its path.
    pub path: String,
    /// Whether the last scrape read it. Lock files, images and what is left out are not read, and are there all the same.
    pub indexed: bool,
    /// Commits that touch both.
    pub together: u64,
    /// Commits that touch this one.
    pub touching: u64,
    /// How many times as often they change together as they would by chance: `together * commits / (touching a * touching b)`.
    pub lift: f64,
    /// Pointwise mutual information, the logarithm of the lift to base 2, in bits.
    pub pmi: f64,
    /// What ranks them: `together * pmi`. The count alone puts files first that change with everything, the lift alone what changed twice.
    pub score: f64,
}

/// How two files are tied: the lift, the PMI and the score of [`Companion`], where of `commits` each of them is in as many as `touching` says
/// and both are in `together`.
pub fn tie(together: u64, touching: [u64; 2], commits: u64) -> [f64; 3] {
    let lift = together as f64 * commits as f64 / (touching[0] as f64 * touching[1] as f64);
    let pmi = lift.log2();
    [lift, pmi, together as f64 * pmi]
}

/// A caller or a callee, with all calls between the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    /// How far away, from 1.
    pub depth: usize,
    /// The symbol; nothing for the top of a file, and for a callee that is not known.
    pub symbol: Option<Symbol>,
    /// The symbol nearer to the one that was asked about, which this one calls or is called by.
    pub of: u64,
    /// The called name.
    pub name: String,
    /// What stands before it.
    pub receiver: String,
    /// How the callee was understood. An ambiguous one is possible and not certain.
    pub resolution: Resolution,
    /// How many symbols the name could mean.
    pub candidates: usize,
    /// The file of the calls.
    pub path: String,
    /// Their lines, rising.
    pub lines: Vec<u32>,
}

/// Callers or callees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Relatives {
    /// At most [`MAX_RELATED`].
    pub found: Vec<Related>,
    /// Whether these are all.
    pub complete: bool,
}

/// A call as it is seen from one of its two ends.
struct Near {
    /// The symbol at the other end.
    other: Option<u64>,
    call: Call,
    candidates: usize,
    /// Whether what stands before the name tells two of them apart: callees that are not known have nothing else.
    by_receiver: bool,
}

/// What the calls between two symbols have in common: the other one, the file, the name, how they were understood, and what tells them apart.
type Between = (Option<u64>, String, String, Resolution, String);

impl Store {
    /// What changes with a file: commits of at most [`CO_CHANGE_MAX_FILES`] files that touch it are looked at.
    pub fn companions(&self, path: &str) -> Result<Companions> {
        let most = CO_CHANGE_MAX_FILES as i64;
        let number = |sql: &str, params: &[&dyn rusqlite::ToSql]| -> Result<u64> {
            Ok(self.rows(sql, params, |row| row.get::<_, i64>(0))?.first().copied().unwrap_or_default() as u64)
        };
        let commits = number("SELECT count(*) FROM commits WHERE file_count BETWEEN 1 AND ?1", &[&most])?;
        let touching = "SELECT count(*) FROM commit_files f JOIN commits c ON c.hash = f.hash WHERE f.path = ?1 AND";
        let own = number(&format!("{touching} c.file_count <= ?2"), &[&path, &most])?;
        let sweeping = number(&format!("{touching} c.file_count > ?2"), &[&path, &most])?;
        let mut files = self.rows(
            "WITH pairs AS (
                 SELECT b.path AS path, count(*) AS together FROM commit_files a
                 JOIN commits c ON c.hash = a.hash AND c.file_count <= ?2
                 JOIN commit_files b ON b.hash = a.hash AND b.path <> a.path
                 WHERE a.path = ?1 GROUP BY b.path HAVING count(*) >= ?3
             )
             SELECT p.path, p.together,
                 (SELECT count(*) FROM commit_files f JOIN commits c ON c.hash = f.hash WHERE f.path = p.path AND c.file_count <= ?2),
                 EXISTS (SELECT 1 FROM sources s WHERE s.key = 'file:' || p.path)
             FROM pairs p",
            params![path, most, CO_CHANGE_MIN_SUPPORT as i64],
            |row| {
                let (together, touching) = (row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64);
                let [lift, pmi, score] = tie(together, [own, touching], commits);
                let (path, indexed) = (row.get(0)?, row.get(3)?);
                Ok(Companion { path, indexed, together, touching, lift, pmi, score })
            },
        )?;
        files.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| b.together.cmp(&a.together)).then_with(|| a.path.cmp(&b.path)));
        Ok(Companions { path: path.to_owned(), commits, touching: own, sweeping, files })
    }

    /// Every path that the project has or that its commits touch, sorted, each once.
    pub fn known_paths(&self) -> Result<Vec<String>> {
        self.rows("SELECT path FROM sources WHERE kind <> 'commit' UNION SELECT path FROM commit_files ORDER BY 1", [], |row| row.get(0))
    }

    /// Who calls a symbol, up to `depth` calls away: certain ones first, then by path and line, near ones first.
    /// Only certain ones are followed further.
    pub fn callers(&self, of: &Symbol, depth: usize) -> Result<Relatives> {
        self.follow(of, depth, |store, of| {
            let twins = store.twins(of)?;
            let mut found = Vec::new();
            for site in store.calls_of(&of.name)? {
                let certain = site.call.callee.is_some_and(|callee| twins.contains(&callee));
                let possible = site.call.resolution == Resolution::Ambiguous && site.candidates.iter().any(|id| twins.contains(id));
                if certain || possible {
                    let (other, candidates) = (site.call.caller, site.distinct);
                    found.push(Near { other, call: site.call, candidates, by_receiver: false });
                }
            }
            Ok(found)
        })
    }

    /// Whom a symbol calls, up to `depth` calls away: certain ones first, then by path and line, near ones first.
    /// Only certain ones are followed further.
    pub fn callees(&self, of: &Symbol, depth: usize) -> Result<Relatives> {
        self.follow(of, depth, |store, of| {
            let mut found = Vec::new();
            for twin in store.twins(of)? {
                found.extend(store.calls_in(twin)?.into_iter().map(|site| {
                    let (other, candidates) = (site.call.callee, site.distinct);
                    Near { other, call: site.call, candidates, by_receiver: other.is_none() }
                }));
            }
            Ok(found)
        })
    }

    /// The symbols that are one and the same with this one.
    fn twins(&self, of: &Symbol) -> Result<BTreeSet<u64>> {
        Ok(self.one_with(of)?.into_iter().map(|symbol| symbol.id).collect())
    }

    fn follow(&self, of: &Symbol, depth: usize, near: impl Fn(&Store, &Symbol) -> Result<Vec<Near>>) -> Result<Relatives> {
        let mut all: Vec<Related> = Vec::new();
        let mut seen: BTreeSet<u64> = self.twins(of)?;
        let mut edge = vec![of.clone()];
        for depth in 1..=depth.min(MAX_CALL_DEPTH) {
            let mut level: Vec<Related> = Vec::new();
            for from in &edge {
                // Calls between the same two are one.
                let mut grouped: BTreeMap<Between, Related> = BTreeMap::new();
                for Near { other, call, candidates, by_receiver } in near(self, from)? {
                    let Call { name, receiver, resolution, path, line, .. } = call;
                    let apart = if by_receiver { receiver.clone() } else { String::new() };
                    let key = (other, path.clone(), name.clone(), resolution, apart);
                    let related =
                        || Related { depth, symbol: None, of: from.id, name, receiver, resolution, candidates, path, lines: Vec::new() };
                    grouped.entry(key).or_insert_with(related).lines.push(line);
                }
                for ((other, ..), mut related) in grouped {
                    related.symbol = self.symbols_by_id(&other.into_iter().collect::<Vec<_>>())?.pop();
                    related.lines.sort_unstable();
                    related.lines.dedup();
                    level.push(related);
                }
            }
            level.sort_by(|a, b| {
                let key = |r: &Related| (!r.resolution.is_resolved(), r.path.clone(), r.lines.first().copied(), r.name.clone());
                key(a).cmp(&key(b))
            });
            edge = Vec::new();
            for related in level {
                let known = related.symbol.as_ref().filter(|_| related.resolution.is_resolved());
                if let Some(symbol) = known {
                    if seen.contains(&symbol.id) && depth > 1 {
                        continue;
                    }
                    if seen.insert(symbol.id) {
                        edge.push(symbol.clone());
                    }
                }
                if all.len() >= MAX_RELATED {
                    return Ok(Relatives { found: all, complete: false });
                }
                all.push(related);
            }
        }
        Ok(Relatives { found: all, complete: true })
    }
}
