//! What the stored vectors look like as a whole: their lengths, and whether different texts have the same one.

use std::collections::HashMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Groups of the same vector that are named; the rest is counted.
const NAMED: usize = 5;

/// The vectors of a model in the store.
#[derive(Debug, Serialize)]
pub(super) struct VectorsReport {
    /// Chunks that have a vector.
    pub vectors: usize,
    /// Chunks that have none yet.
    pub missing: usize,
    /// The lengths of the vectors: least, median, greatest.
    pub norms: Option<[f64; 3]>,
    /// Vectors of length zero: they are near to nothing.
    pub zero: usize,
    /// Different texts that share a vector with another, and in how many groups.
    pub duplicates: usize,
    /// Groups of texts with the same vector.
    pub duplicate_groups: usize,
    /// The first groups: chunks, one for each text.
    pub first_duplicates: Vec<Vec<u64>>,
}

/// What is kept of the vectors while they are read: not the vectors.
#[derive(Debug, Default)]
pub(super) struct Look {
    norms: Vec<f64>,
    same: HashMap<[u8; 32], Vec<u64>>,
}

impl Look {
    /// The next vector, by rising chunk id.
    pub fn at(&mut self, id: u64, vector: &[f32]) {
        self.norms.push(vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt());
        let mut hash = Sha256::new();
        vector.iter().for_each(|value| hash.update(value.to_bits().to_le_bytes()));
        self.same.entry(hash.finalize().into()).or_default().push(id);
    }

    /// What they are like; `texts` has the hash of each chunk's text, of those without a vector too.
    pub fn report(self, texts: &HashMap<u64, [u8; 32]>) -> VectorsReport {
        let Look { mut norms, same } = self;
        let zero = norms.iter().filter(|&&norm| norm == 0.0).count();
        norms.sort_by(f64::total_cmp);
        let mut groups = Vec::new();
        for ids in same.into_values().filter(|ids| ids.len() > 1) {
            // The same text in several places has the same vector by right.
            let mut seen = std::collections::HashSet::new();
            let distinct: Vec<u64> = ids.into_iter().filter(|id| seen.insert(texts.get(id))).collect();
            if distinct.len() > 1 {
                groups.push(distinct);
            }
        }
        groups.sort();
        VectorsReport {
            vectors: norms.len(),
            missing: texts.len() - norms.len(),
            norms: norms.first().map(|&least| [least, norms[norms.len() / 2], norms[norms.len() - 1]]),
            zero,
            duplicates: groups.iter().map(Vec::len).sum(),
            duplicate_groups: groups.len(),
            first_duplicates: groups.into_iter().take(NAMED).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_different_texts_with_the_same_vector_are_duplicates() {
        let vectors = [(1, vec![3.0, 4.0]), (2, vec![3.0, 4.0]), (5, vec![0.0, 0.0]), (7, vec![3.0, 4.0]), (9, vec![0.0, 2.0])];
        let mut texts = HashMap::from([(1, [1; 32]), (2, [1; 32]), (5, [5; 32]), (7, [7; 32]), (9, [9; 32])]);
        // Four more chunks have no vector yet.
        texts.extend((20..24).map(|id| (id, [id as u8; 32])));
        let look = |vectors: &[(u64, Vec<f32>)], texts: &HashMap<u64, [u8; 32]>| {
            let mut look = Look::default();
            vectors.iter().for_each(|(id, vector)| look.at(*id, vector));
            look.report(texts)
        };
        let report = look(&vectors, &texts);
        assert_eq!((report.vectors, report.missing, report.zero), (5, 4, 1));
        assert_eq!(report.norms, Some([0.0, 5.0, 5.0]));
        assert_eq!((report.duplicates, report.duplicate_groups, report.first_duplicates), (2, 1, vec![vec![1, 7]]));
        let none = look(&[], &texts);
        assert_eq!((none.norms, none.zero, none.duplicates), (None, 0, 0));
    }
}
