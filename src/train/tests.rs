//! The gradients are true, training learns what is there to learn and nothing else, and the gate tells the difference.

use ndarray::{Array1, Array2, Axis};

use super::config::{Architecture, Loss, Start, TrainConfig};
use super::loss::{self, Known};
use super::network::{Layer, Network, normalize};
use super::objective::{Batch, Objective, gradient};
use super::trainer::start;
use super::*;
use crate::error::ErrorKind;
use crate::metrics::random::SplitMix64;
use crate::progress::{Cancel, Job, Silent};

const INFO_NCE: Loss = Loss::InfoNce { temperature: 0.1 };
const RANKING: Loss = Loss::MultipleNegatives { temperature: 0.1 };
const TRIPLET: Loss = Loss::Triplet { margin: 0.3 };

/// Every number of every tensor, every architecture with every loss, both sides and one, with and without smaller sizes, distillation
/// and hard negatives: the gradient is the slope of the loss.
#[test]
fn gradients_are_the_finite_differences() {
    let mut random = SplitMix64::new(9);
    for architecture in Architecture::ALL {
        let (input, hidden) = (6, 9);
        for (sides, matryoshka, distillation, hard) in [
            (Sides::Both, vec![], 0.0, 0),
            (Sides::Both, vec![2, 3], 0.0, 0),
            (Sides::Both, vec![3], 0.8, 5),
            (Sides::Query, vec![], 0.8, 5),
        ] {
            let output = if architecture.adds_input() || sides == Sides::Query { input } else { 4 };
            let mut layer = |out: usize, input: usize| Layer {
                weight: Array2::from_shape_fn((out, input), |_| random.normal() * 0.7),
                bias: Array1::from_shape_fn(out, |_| random.normal() * 0.3),
            };
            let layers =
                if architecture.has_hidden() { vec![layer(hidden, input), layer(output, hidden)] } else { vec![layer(output, input)] };
            let mut network = Network::<f64> { architecture, layers };
            let mut rows = Array2::from_shape_fn((16 + hard, input), |_| random.normal());
            normalize(&mut rows);
            let (anchors, documents) = rows.view().split_at(Axis(0), 8);
            // Pairs 0 and 1 share a group, 7 is of the group of all but itself: masked rows are part of the proof.
            let negatives = Array2::from_shape_fn((8, 8 + hard), |(i, j)| i != j && i + j != 1 && (j > 7 || i.max(j) != 7));
            let batch = Batch { anchors, documents, negatives: &negatives };
            for loss in [INFO_NCE, RANKING, TRIPLET] {
                let objective = Objective { loss, sides, matryoshka: matryoshka.clone(), distillation };
                let what = format!("{architecture:?} {objective:?}");
                let (value, gradients) = gradient(&network, &objective, &batch).expect("a gradient");
                assert!(value > 0.01, "{what}: nothing to learn in {value}");
                let (mut checked, mut moving) = (0, 0);
                for (at, gradient_of) in gradients.iter().enumerate() {
                    for is_bias in [false, true] {
                        let length = if is_bias { network.layers[at].bias.len() } else { network.layers[at].weight.len() };
                        for number in 0..length {
                            let mut nudged = |by: f64| {
                                let layer = &mut network.layers[at];
                                let values = if is_bias { layer.bias.as_slice_mut() } else { layer.weight.as_slice_mut() };
                                values.expect("contiguous")[number] += by;
                                gradient(&network, &objective, &batch).expect("a gradient").0
                            };
                            let step = 1e-6;
                            let above = nudged(step);
                            let below = nudged(-2.0 * step);
                            nudged(step);
                            let slope = (above - below) / (2.0 * step);
                            let values = if is_bias { gradient_of.bias.as_slice() } else { gradient_of.weight.as_slice() };
                            let found = values.expect("contiguous")[number];
                            let error = (found - slope).abs() / found.abs().max(slope.abs()).max(1e-3);
                            assert!(error < 1e-5, "{what} layer {at} bias {is_bias} {number}: {found} but {slope}");
                            checked += 1;
                            moving += usize::from(found.abs() > 1e-6);
                        }
                    }
                }
                assert!(moving * 2 > checked, "{what}: only {moving} of {checked} gradients are not zero");
            }
        }
    }
}

/// The losses by hand, on two pairs.
#[test]
fn losses_are_the_formulas() {
    let similarities = ndarray::arr2(&[[0.9f64, 0.4], [0.2, 0.7]]);
    let all = Array2::from_shape_fn((2, 2), |(i, j)| i != j);
    let (value, _) = loss::evaluate(INFO_NCE, &similarities, &all);
    let entropy = |own: f64, other: f64| (1.0 + ((other - own) / 0.1).exp()).ln();
    let expected = (entropy(0.9, 0.4) + entropy(0.7, 0.2) + entropy(0.9, 0.2) + entropy(0.7, 0.4)) / 4.0;
    assert!((value - expected).abs() < 1e-12, "{value} {expected}");
    let (value, slopes) = loss::evaluate(Loss::Triplet { margin: 0.55 }, &similarities, &all);
    assert!((value - ((0.55 - 0.9 + 0.4) + (0.55 - 0.7 + 0.2)) / 2.0).abs() < 1e-12, "{value}");
    assert_eq!(slopes, ndarray::arr2(&[[-0.5, 0.5], [0.5, -0.5]]));
    let (value, _) = loss::evaluate(RANKING, &similarities, &all);
    assert!((value - (entropy(0.9, 0.4) + entropy(0.7, 0.2)) / 2.0).abs() < 1e-12, "one direction: {value}");
    // A hard negative behind the positives is one more to tell apart, for the anchors alone.
    let wider = ndarray::arr2(&[[0.9f64, 0.4, 0.8], [0.2, 0.7, 0.1]]);
    let hard = ndarray::arr2(&[[false, true, true], [true, false, false]]);
    let (value, _) = loss::evaluate(RANKING, &wider, &hard);
    let three = (1.0 + ((0.4 - 0.9) / 0.1f64).exp() + ((0.8 - 0.9) / 0.1f64).exp()).ln();
    assert!((value - (three + entropy(0.7, 0.2)) / 2.0).abs() < 1e-12, "{value}");
    let (value, slopes) = loss::evaluate(Loss::Triplet { margin: 0.55 }, &wider, &hard);
    assert!((value - ((0.55 - 0.9 + 0.8) + (0.55 - 0.7 + 0.2)) / 2.0).abs() < 1e-12, "{value}");
    assert_eq!(slopes[(0, 2)], 0.5);
    let mut slopes = Array2::zeros((2, 2));
    let value = loss::distill(0.5, &similarities, &ndarray::arr2(&[[0.9, 0.0], [0.2, 0.7]]), &mut slopes);
    assert!((value - 0.5 * 0.16 / 4.0).abs() < 1e-12 && (slopes[(0, 1)] - 0.5 * 2.0 * 0.4 / 4.0).abs() < 1e-12, "{value} {slopes}");
    let (value, slopes) = loss::evaluate(INFO_NCE, &similarities, &Array2::from_elem((2, 2), false));
    assert!(value == 0.0 && slopes.iter().all(|&slope| slope == 0.0), "without negatives there is nothing to learn");
}

#[test]
fn pairs_that_belong_together_are_no_negatives() {
    let items: Vec<(u64, [f32; 2])> =
        [0.0f32, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8, 0.3].iter().zip(0..).map(|(a, id)| (id, [a.cos(), a.sin()])).collect();
    let vectors = Vectors::new(2, &items).expect("vectors");
    let pair = |anchor, positive, group| RowPair { anchor, positive, group };
    let first = pair(0, 1, 0);
    for (other, is_negative) in [
        (pair(2, 3, 1), true),
        (pair(2, 3, 0), false), // the group
        (pair(0, 3, 1), false), // the anchor
        (pair(2, 1, 1), false), // the positive
        (pair(2, 7, 1), false), // a copy of the positive
        (pair(1, 3, 1), false), // its anchor is the other's positive
    ] {
        let found = loss::negatives(&vectors, &[first, other], &[], &Known::default());
        assert_eq!((found[(0, 1)], found[(1, 0)]), (is_negative, is_negative), "{other:?}");
        assert!(!found[(0, 0)] && !found[(1, 1)]);
    }
    // Hard negatives: 4 is one, 1 and its copy 7 are the positive; what another pair ties to an anchor is none, in or behind the batch.
    let found = loss::negatives(&vectors, &[first, pair(2, 3, 1)], &[4, 1, 7, 5], &Known::new(&vectors, &[pair(0, 3, 2), pair(5, 2, 3)]));
    let row = |i: usize| found.row(i).to_vec();
    assert_eq!(row(0), [false, false, true, false, false, true]);
    assert_eq!(row(1), [true, false, true, true, true, false]);
}

#[test]
fn hard_negatives_are_near_and_no_answers() {
    let angle = |degrees: f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
    // The anchor at 0 degrees, its positive at 30; 31 is beyond the positive but almost as near, 29 nearer; the rest are further.
    let items: Vec<(u64, [f32; 2])> =
        [0.0, 30.0, 29.0, 31.0, 40.0, 50.0, 60.0, 70.0, 80.0].iter().zip(0..).map(|(&degrees, id)| (id, angle(degrees))).collect();
    let vectors = Vectors::new(2, &items).expect("vectors");
    let pair = |anchor, positive, group| RowPair { anchor, positive, group };
    let groups = [0, 0, 1, 1, 1, 0, 2, 3, 4];
    let all: Vec<usize> = (0..9).collect();
    let mined = |rows: &[usize], pairs: &[RowPair], wanted| {
        mine(&vectors, pairs, &Mining { rows, groups: &groups, related: Related::default() }, wanted, Job::silent()).expect("mined")
    };
    // 0.95 x cos 30 is cos 34.6: nothing nearer. 5 is of the anchor's group.
    assert_eq!(mined(&all, &[pair(0, 1, 0)], 3), [[4, 6, 7]]);
    assert_eq!(mined(&all, &[pair(0, 1, 0)], 1), [[4]]);
    assert_eq!(mined(&[0, 1, 2, 3, 5, 6], &[pair(0, 1, 0)], 3), [[6]], "what is held out is left out");
    let mined_both = mined(&all, &[pair(0, 1, 0), pair(0, 6, 0)], 9);
    assert_eq!(mined_both[0], [4, 7, 8], "another positive of the anchor is no negative");
    assert_eq!(
        mine(&vectors, &[pair(0, 1, 0)], &Mining { rows: &[], groups: &groups, related: Related::default() }, 3, Job::silent())
            .expect("none"),
        [[0; 0]]
    );
}

/// A right answer that a bound left out of the pairs is no negative: as a row, by its group, and as a copy; hard or in a batch.
#[test]
fn kin_are_no_negatives() {
    let angle = |degrees: f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
    // The anchor, its positive, and four further ones; 6 is a copy of 3 in a group of its own.
    let items: Vec<(u64, [f32; 2])> =
        [0.0, 30.0, 40.0, 50.0, 60.0, 70.0, 50.0].iter().zip(0..).map(|(&degrees, id)| (id, angle(degrees))).collect();
    let vectors = Vectors::new(2, &items).expect("vectors");
    let pair = |anchor, positive, group| RowPair { anchor, positive, group };
    let (groups, all): ([usize; 7], Vec<usize>) = ([0, 1, 2, 3, 4, 5, 6], (0..7).collect());
    let mined = |related: Related<'_>| {
        let mining = Mining { rows: &all, groups: &groups, related };
        mine(&vectors, &[pair(0, 1, 0)], &mining, 9, Job::silent()).expect("mined").remove(0)
    };
    assert_eq!(mined(Related::default()), [2, 3, 4, 5]);
    assert_eq!(mined(Related { rows: &[(4, 0)], groups: &[] }), [2, 3, 5], "in either direction");
    assert_eq!(mined(Related { rows: &[], groups: &[(2, 0), (0, 5), (3, 4)] }), [3, 4], "others' kin are none of the anchor's");
    assert_eq!(mined(Related { rows: &[(0, 6)], groups: &[] }), [2, 4, 5], "a copy");
    assert_eq!(mined(Related { rows: &[], groups: &[(0, 6)] }), [2, 4, 5], "a copy's group");
    let mining = Mining { rows: &all, groups: &groups, related: Related { rows: &[(0, 4)], groups: &[(2, 1)] } };
    let known = Known::new(&vectors, &[]).and(&vectors, &mining);
    let found = loss::negatives(&vectors, &[pair(0, 1, 0), pair(2, 4, 1)], &[], &known);
    assert_eq!(found, ndarray::arr2(&[[false; 2]; 2]), "0 and 4 are kin, and so are the groups of 2 and 1");
}

/// Vectors whose first `signal` numbers (before a rotation) anchor and positive share, the rest being noise of `noise` times their
/// size; and pairs in groups of five. Ids are 2 i and 2 i + 1.
struct World {
    vectors: Vectors,
    train: Vec<RowPair>,
    validation: Vec<RowPair>,
    test: Vec<RowPair>,
}

fn world(pairs: usize, dimensions: usize, signal: usize, noise: f64, seed: u64) -> World {
    let mut random = SplitMix64::new(seed);
    let rotation = Array2::from_shape_fn((dimensions, dimensions), |_| random.normal());
    let mut items: Vec<(u64, Vec<f32>)> = Vec::new();
    for pair in 0..pairs as u64 {
        let shared: Vec<f64> = (0..signal).map(|_| random.normal()).collect();
        for end in 0..2 {
            let own = (0..dimensions).map(|at| shared.get(at).map_or(noise * random.normal(), |s| s + 0.2 * random.normal()));
            let own: Array1<f64> = own.collect();
            items.push((2 * pair + end, rotation.dot(&own).iter().map(|&value| value as f32).collect()));
        }
    }
    let vectors = Vectors::new(dimensions, &items).expect("vectors");
    let names: Vec<String> = (0..pairs).map(|pair| format!("{:05}", pair / 5)).collect();
    let all = (0..pairs as u64).zip(&names).map(|(pair, name)| (2 * pair, 2 * pair + 1, name.as_str()));
    let (rows, left_out) = vectors.pairs(all);
    assert_eq!(left_out, 0);
    let part = |from: usize, to: usize| rows[pairs * from / 10..pairs * to / 10].to_vec();
    World { train: part(0, 7), validation: part(7, 8), test: part(8, 10), vectors }
}

fn trial<'a>(world: &'a World, folds: &'a [Fold<'a>]) -> Trial<'a> {
    let (candidates, lexical, table, fuse) = (None, None, None, None);
    Trial { vectors: &world.vectors, folds, candidates, lexical, table, fuse, must_beat_lexical: false, seed: 1 }
}

/// Trained and judged on the world's own parts.
fn trained(config: &TrainConfig, world: &World) -> (Projection, History) {
    train(config, &world.lesson(), Job::silent()).expect("trained")
}

fn judged(world: &World, projection: &Projection) -> Verdict {
    judge(&trial(world, &[Fold { projection, test: &world.test }]), Job::silent()).expect("judged")
}

impl World {
    fn lesson(&self) -> Lesson<'_> {
        Lesson { vectors: &self.vectors, pairs: &self.train, validation: &self.validation, candidates: None, mining: None }
    }
}

fn config(architecture: Architecture, output: usize) -> TrainConfig {
    let hidden = architecture.has_hidden().then_some(64);
    TrainConfig { epochs: 12, learning_rate: 3e-3, ..TrainConfig::new(architecture, 32, hidden, output) }
}

#[test]
fn every_architecture_and_loss_learns_the_subspace_and_passes_the_gate() {
    let world = world(1000, 32, 8, 1.0, 4);
    for (architecture, output) in [
        (Architecture::Linear, 32),
        (Architecture::Linear, 12),
        (Architecture::Residual, 32),
        (Architecture::LowRank, 32),
        (Architecture::Mlp, 16),
    ] {
        for loss in [INFO_NCE, RANKING, TRIPLET] {
            let config = TrainConfig { loss, ..config(architecture, output) };
            let (projection, history) = trained(&config, &world);
            let verdict = judged(&world, &projection);
            assert!(history.best > 0, "{architecture:?} {output} {loss:?}: {history:?}");
            assert!(verdict.published, "{architecture:?} {output} {loss:?}: {}", verdict.reason);
            assert_eq!((verdict.queries, verdict.groups, verdict.candidates), (200, 40, 2000));
            assert_eq!((verdict.pca.is_some(), verdict.cut.is_some(), verdict.random.is_some()), (output < 32, output < 32, true));
            let raw = verdict.raw.expect("raw");
            assert!((raw.gain.mrr.mean + raw.figures.mrr.mean - verdict.projection.expect("own").mrr.mean).abs() < 1e-12);
        }
    }
}

#[test]
fn what_has_no_structure_is_not_published() {
    // Anchor and positive share nothing.
    let world = world(1000, 32, 0, 1.0, 5);
    for (architecture, output) in [(Architecture::Linear, 32), (Architecture::Linear, 16), (Architecture::Mlp, 16)] {
        let config = config(architecture, output);
        let (projection, _) = trained(&config, &world);
        let verdict = judged(&world, &projection);
        assert!(!verdict.published, "{}", verdict.reason);
        assert!(verdict.reason.contains("does not clearly beat"), "{}", verdict.reason);
    }
    let few = World { test: world.test[..20].to_vec(), ..world };
    let verdict = judged(&few, &pca(&few.vectors, 16).expect("pca"));
    assert!(!verdict.published && verdict.reason.contains("too little is held out"), "{}", verdict.reason);
    let none = World { test: Vec::new(), ..few };
    let verdict = judged(&none, &pca(&none.vectors, 16).expect("pca"));
    assert!(!verdict.published && verdict.reason.contains("no held-out pairs"), "{}", verdict.reason);
}

#[test]
fn bm25_is_compared_and_may_decide() {
    let world = world(1000, 32, 8, 1.0, 4);
    let (projection, _) = trained(&config(Architecture::Linear, 32), &world);
    // The anchor itself first, as BM25 would, then its partner: a perfect ranking once the query is left out.
    let perfect = |row: usize, limit: usize| Ok([row, row ^ 1, 5, 7].into_iter().map(|row| (row, 1.0)).take(limit).collect());
    let folds = [Fold { projection: &projection, test: &world.test }];
    let shown = Trial { lexical: Some(&perfect), ..trial(&world, &folds) };
    let verdict = judge(&shown, Job::silent()).expect("judged");
    let lexical = verdict.lexical.expect("BM25");
    assert_eq!(lexical.figures.ndcg.mean, 1.0);
    assert!(lexical.gain.ndcg.mean < 0.0, "the projection is not perfect");
    assert!(verdict.published && verdict.reason.contains("beats raw vectors"), "{}", verdict.reason);
    assert_eq!(verdict.hybrid, None, "nobody said how to fuse");
    let verdict = judge(&Trial { must_beat_lexical: true, ..shown }, Job::silent()).expect("judged");
    assert!(!verdict.published && verdict.reason.contains("does not clearly beat BM25"), "{}", verdict.reason);
    let verdict = judge(&Trial { table: Some(&perfect), ..shown }, Job::silent()).expect("judged");
    assert!(!verdict.published && verdict.reason.contains("does not clearly beat the table lookup"), "{}", verdict.reason);
    // One that knows a tenth of the answers is beaten; one that knows as much as the projection finds is not, beyond the interval.
    let own = verdict.projection.expect("figures").ndcg.mean;
    for (share, published) in [(0.1, true), (own, false)] {
        let known = |row: usize, _: usize| Ok(if ((row / 2) % 20) as f64 + 0.5 < share * 20.0 { vec![(row ^ 1, 1.0)] } else { Vec::new() });
        let verdict = judge(&Trial { table: Some(&known), ..shown }, Job::silent()).expect("judged");
        let table = verdict.table.expect("a table");
        assert!((table.figures.ndcg.mean - share).abs() < 0.03, "{table:?}");
        assert_eq!(verdict.published, published, "{share}: {}", verdict.reason);
        assert_eq!(table.gain.ndcg.is_positive(), published, "{table:?}");
    }
    let rows = |found: &[Found]| -> Vec<usize> { found.iter().map(|found| found.0).collect() };
    // Fused so that the projection spoils what words and raw vectors find, it is refused although it beats raw vectors.
    let spoilt = |words: &[Found], _: &[Found], projected: Option<&[Found]>| match projected {
        None => rows(words),
        Some(_) => rows(words).into_iter().rev().collect(),
    };
    let verdict = judge(&Trial { fuse: Some(&spoilt), ..shown }, Job::silent()).expect("judged");
    let hybrid = verdict.hybrid.expect("fused");
    assert_eq!(hybrid.without.ndcg.mean, 1.0);
    assert!(!verdict.published && verdict.reason.contains("words and vectors together gets worse"), "{}", verdict.reason);
    let first = |words: &[Found], raw: &[Found], projected: Option<&[Found]>| {
        assert_eq!(raw.len(), FUSED_DEPTH);
        [rows(projected.unwrap_or(raw)), rows(words)].concat()
    };
    let verdict = judge(&Trial { fuse: Some(&first), ..shown }, Job::silent()).expect("judged");
    let (hybrid, own) = (verdict.hybrid.expect("fused"), verdict.projection.expect("figures"));
    assert_eq!((hybrid.with.ndcg.mean, hybrid.without.ndcg.mean), (own.ndcg.mean, verdict.raw.expect("raw").figures.ndcg.mean));
    assert!(verdict.published, "{}", verdict.reason);
}

#[test]
fn folds_are_judged_together_each_by_the_projection_that_has_not_seen_it() {
    let world = world(1000, 32, 8, 1.0, 4);
    let (good, _) = trained(&config(Architecture::Linear, 32), &world);
    let bad = random(32, 32, 3);
    let (first, second) = world.test.split_at(100);
    let alone = |projection, test| judge(&trial(&world, &[Fold { projection, test }]), Job::silent()).expect("judged");
    let both = judge(&trial(&world, &[Fold { projection: &good, test: first }, Fold { projection: &bad, test: second }]), Job::silent());
    let both = both.expect("judged");
    assert_eq!((both.queries, both.groups), (200, 40));
    let mean = |verdict: &Verdict| verdict.projection.expect("figures").ndcg.mean;
    assert!((mean(&both) - (mean(&alone(&good, first)) + mean(&alone(&bad, second))) / 2.0).abs() < 1e-12);
    let smaller = pca(&world.vectors, 16).expect("pca");
    let mixed = [Fold { projection: &good, test: first }, Fold { projection: &smaller, test: second }];
    assert_eq!(judge(&trial(&world, &mixed), Job::silent()).expect_err("shapes").kind(), ErrorKind::Bug);
    assert_eq!(judge(&trial(&world, &[]), Job::silent()).expect_err("nothing").kind(), ErrorKind::Bug);
}

/// Questions that lie turned away from their documents, every one by the same rotation in a plane of the first eight numbers.
#[test]
fn questions_alone_learn_to_turn_and_documents_stay() {
    let mut world = world(1000, 32, 8, 0.4, 11);
    let turned: Vec<(u64, Vec<f32>)> = (0..world.vectors.len())
        .map(|row| {
            let mut vector = world.vectors.all().row(row).to_vec();
            if row % 2 == 0 {
                vector.rotate_right(1);
            }
            (row as u64, vector)
        })
        .collect();
    world.vectors = Vectors::new(32, &turned).expect("vectors");
    let documents: Vec<usize> = (0..world.vectors.len()).filter(|row| row % 2 == 1).collect();
    for (architecture, hidden) in [(Architecture::LowRank, Some(32)), (Architecture::Linear, None)] {
        let config = TrainConfig {
            sides: Sides::Query,
            hard_negatives: 2,
            loss: RANKING,
            distillation: 0.1,
            epochs: 30,
            learning_rate: 1e-2,
            ..TrainConfig::new(architecture, 32, hidden, 32)
        };
        let groups: Vec<usize> = (0..world.vectors.len()).map(|row| row / 10).collect();
        let rows: Vec<usize> = documents.iter().copied().filter(|row| *row < 1400).collect();
        let mining = Some(Mining { rows: &rows, groups: &groups, related: Related::default() });
        let lesson = Lesson { candidates: Some(&documents), mining, ..world.lesson() };
        let (projection, history) = train(&config, &lesson, Job::silent()).expect("trained");
        assert!(history.best > 0, "{history:?}");
        assert_eq!(projection.sides(), Sides::Query);
        let folds = [Fold { projection: &projection, test: &world.test }];
        let verdict = judge(&Trial { candidates: Some(&documents), ..trial(&world, &folds) }, Job::silent()).expect("judged");
        assert!(verdict.published, "{architecture:?}: {}", verdict.reason);
        assert!(verdict.raw.expect("raw").gain.ndcg.mean > 0.2 && verdict.random.is_none() && verdict.pca.is_none());
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("p.safetensors");
        projection.save(&path).expect("saved");
        assert_eq!(Projection::load(&path).expect("loaded"), projection);
    }
}

#[test]
fn smaller_sizes_are_trained_where_they_are_asked_for() {
    let world = world(1000, 32, 8, 1.0, 12);
    let first = |matryoshka: Vec<usize>| {
        let config = TrainConfig { matryoshka, learning_rate: 1e-2, ..config(Architecture::Linear, 32) };
        let (projection, _) = trained(&config, &world);
        // What the first eight numbers of the projection find.
        let eight: Vec<(u64, Vec<f32>)> = (0..world.vectors.len())
            .map(|row| (row as u64, projection.apply(&world.vectors.all().row(row).to_vec()).expect("applied")[..8].to_vec()))
            .collect();
        let vectors = Vectors::new(8, &eight).expect("vectors");
        let questions = super::ranking::Questions::new(&vectors, &world.test, 0..vectors.len(), 1000);
        questions.ndcg(&questions.rank(&vectors, &|rows| rows.to_owned(), Job::silent()).expect("ranked"))
    };
    let (plain, nested) = (first(vec![]), first(vec![8]));
    assert!(nested > 1.5 * plain, "{nested} is not better than {plain}");
}

#[test]
fn distillation_holds_to_the_raw_similarities() {
    let world = world(400, 32, 8, 1.0, 13);
    let moved = |distillation: f64| {
        let config = TrainConfig { distillation, patience: 100, ..config(Architecture::Linear, 32) };
        let (projection, _) = train(&config, &Lesson { validation: &[], ..world.lesson() }, Job::silent()).expect("trained");
        let raw = world.vectors.all();
        let now = projection.forward(raw);
        (&now.dot(&now.t()) - &raw.dot(&raw.t())).mapv(|change| change * change).mean().expect("rows")
    };
    assert!(moved(10_000.0) < 0.5 * moved(0.0));
}

#[test]
fn same_seed_gives_the_same_bytes_and_another_seed_others() {
    let world = world(300, 32, 8, 1.0, 6);
    let rows: Vec<usize> = (0..world.vectors.len()).collect();
    let groups: Vec<usize> = rows.iter().map(|row| row / 10).collect();
    for architecture in Architecture::ALL {
        let run = |seed: u64| {
            let output = if architecture == Architecture::Mlp { 16 } else { 32 };
            let config = TrainConfig { seed, epochs: 2, hard_negatives: 2, ..config(architecture, output) };
            let mining = Some(Mining { rows: &rows, groups: &groups, related: Related::default() });
            let (projection, history) = train(&config, &Lesson { mining, ..world.lesson() }, Job::silent()).expect("trained");
            assert!(history.hard_negatives > 0, "{history:?}");
            (projection.to_bytes().expect("bytes"), history)
        };
        assert_eq!(run(1), run(1), "{architecture:?}");
        assert_ne!(run(1).0, run(2).0, "{architecture:?}");
    }
}

#[test]
fn the_faithful_start_is_raw_vectors_or_their_pca() {
    let world = world(200, 32, 8, 1.0, 7);
    let all = world.vectors.all();
    let reduced = pca(&world.vectors, 16).expect("pca").forward(all);
    for (architecture, output, hidden) in [
        (Architecture::Linear, 32, None),
        (Architecture::Residual, 32, Some(20)),
        (Architecture::LowRank, 32, Some(4)),
        (Architecture::Linear, 16, None),
        (Architecture::Mlp, 16, Some(40)),
        (Architecture::Mlp, 32, Some(64)),
    ] {
        let network = start(&TrainConfig::new(architecture, 32, hidden, output), &world.vectors).expect("start");
        let found = network.forward(all).output;
        let expected = if output < 32 { reduced.view() } else { all };
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{architecture:?} {output}");
    }
    let random = TrainConfig { start: Start::Random, ..TrainConfig::new(Architecture::Mlp, 32, Some(64), 16) };
    let weights = start(&random, &world.vectors).expect("start").layers[0].weight.clone();
    let variance = weights.iter().map(|w| w * w).sum::<f32>() / weights.len() as f32;
    assert!((variance - 2.0 / 32.0).abs() < 0.01, "He: {variance}");
    let wide = start(&TrainConfig::new(Architecture::Linear, 32, None, 40), &world.vectors).expect("start").forward(all).output;
    assert!(wide.row(3).iter().zip(all.row(3)).all(|(a, b)| (a - b).abs() < 1e-6) && wide[[3, 39]] == 0.0);
}

#[test]
fn early_stopping_keeps_the_best_epoch() {
    // Pairs that teach nonsense: the start stays the best and patience ends the run.
    let mut world = world(300, 32, 8, 0.3, 8);
    let mut random = SplitMix64::new(1);
    let mut positives: Vec<usize> = world.train.iter().map(|pair| pair.positive).collect();
    random.shuffle(&mut positives);
    world.train.iter_mut().zip(positives).for_each(|(pair, positive)| pair.positive = positive);
    let config = TrainConfig { learning_rate: 0.1, schedule: Schedule::Constant, patience: 2, ..config(Architecture::Linear, 32) };
    let (projection, history) = trained(&config, &world);
    assert_eq!((history.best, history.epochs.len(), history.stopped_early), (0, 3, true), "{history:?}");
    let kept = projection.apply_rows(world.vectors.all().as_slice().expect("rows")).expect("applied");
    assert!(kept.iter().zip(world.vectors.all()).all(|(a, b)| (a - b).abs() < 1e-6), "the start is the identity");
    let (_, history) = train(&config, &Lesson { validation: &[], ..world.lesson() }, Job::silent()).expect("trained");
    assert_eq!((history.best, history.epochs.len(), history.stopped_early), (12, 13, false), "without validation the last is kept");
}

#[test]
fn impossible_runs_are_refused_and_an_interrupted_one_stops() {
    let world = world(100, 32, 8, 1.0, 9);
    let good = config(Architecture::Linear, 32);
    let bad = [
        TrainConfig { hidden: Some(4), ..good.clone() },
        TrainConfig { architecture: Architecture::Mlp, ..good.clone() },
        TrainConfig { output: 0, ..good.clone() },
        TrainConfig { output: 1 << 20, ..good.clone() },
        TrainConfig { input: 31, ..good.clone() },
        TrainConfig { batch_size: 1, ..good.clone() },
        TrainConfig { learning_rate: f64::NAN, ..good.clone() },
        TrainConfig { weight_decay: -1.0, ..good.clone() },
        TrainConfig { loss: Loss::InfoNce { temperature: 0.0 }, ..good.clone() },
        TrainConfig { architecture: Architecture::Residual, hidden: Some(8), output: 16, ..good.clone() },
        TrainConfig { architecture: Architecture::LowRank, hidden: Some(8), output: 16, ..good.clone() },
        TrainConfig { loss: Loss::MultipleNegatives { temperature: f64::INFINITY }, ..good.clone() },
        TrainConfig { sides: Sides::Query, output: 16, ..good.clone() },
        TrainConfig { sides: Sides::Query, matryoshka: vec![8], ..good.clone() },
        TrainConfig { matryoshka: vec![16, 8], ..good.clone() },
        TrainConfig { matryoshka: vec![32], ..good.clone() },
        TrainConfig { matryoshka: vec![0], ..good.clone() },
        TrainConfig { distillation: f64::NAN, ..good.clone() },
    ];
    for config in bad {
        let error = train(&config, &world.lesson(), Job::silent()).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Usage, "{config:?}: {error}");
    }
    assert_eq!(train(&good, &Lesson { pairs: &[], ..world.lesson() }, Job::silent()).expect_err("no pairs").kind(), ErrorKind::Usage);
    let outside = [RowPair { anchor: 0, positive: 10_000, group: 0 }];
    assert_eq!(train(&good, &Lesson { pairs: &outside, ..world.lesson() }, Job::silent()).expect_err("outside").kind(), ErrorKind::Bug);
    let cancel = Cancel::default();
    cancel.raise();
    let error = train(&good, &world.lesson(), Job::new(&Silent, &cancel)).expect_err("stopped");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[test]
fn pca_without_centring_keeps_the_dot_products() {
    // Rank eight: eight components keep every dot product, seven do not.
    let world = world(200, 32, 8, 0.0, 10);
    let flat: Vec<(u64, Vec<f32>)> = {
        let mut random = SplitMix64::new(3);
        let basis = Array2::from_shape_fn((8, 32), |_| random.normal());
        (0..300).map(|id| (id, Array1::from_shape_fn(8, |_| random.normal()).dot(&basis).iter().map(|&v| v as f32).collect())).collect()
    };
    drop(world);
    let vectors = Vectors::new(32, &flat).expect("vectors");
    let dots = |rows: Array2<f32>| rows.dot(&rows.t());
    let raw = dots(vectors.all().to_owned());
    let worst = |k: usize| {
        let reduced = dots(pca(&vectors, k).expect("pca").forward(vectors.all()));
        reduced.iter().zip(&raw).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(worst(8) < 1e-5, "{}", worst(8));
    assert!(worst(7) > 1e-2);
    assert_eq!(pca(&vectors, 33).expect_err("too many").kind(), ErrorKind::Bug);
}

#[test]
fn vectors_refuse_what_would_hide_a_wrong_model() {
    let kind = |items: &[(u64, Vec<f32>)]| Vectors::new(2, items).expect_err("refused").kind();
    assert_eq!(kind(&[(1, vec![1.0, 0.0]), (2, vec![1.0])]), ErrorKind::Corrupt);
    assert_eq!(kind(&[(1, vec![1.0, f32::INFINITY])]), ErrorKind::Corrupt);
    assert_eq!(kind(&[(1, vec![1.0, 0.0]), (1, vec![0.0, 1.0])]), ErrorKind::Bug);
    let vectors = Vectors::new(2, &[(9, [0.0f32, 0.0]), (3, [3.0, 4.0])]).expect("vectors");
    assert_eq!((vectors.row_of(3), vectors.row_of(9), vectors.row_of(4), vectors.id_of(0)), (Some(0), Some(1), None, 3));
    assert_eq!(vectors.all().row(0).to_vec(), [0.6, 0.8]);
    assert_eq!(vectors.all().row(1).to_vec(), [0.0, 0.0]);
}

/// `cargo test --release --lib train::tests::figures -- --ignored --nocapture`: 100,000 pairs of 768 numbers, ten epochs.
#[test]
#[ignore = "takes minutes; prints figures"]
#[allow(clippy::print_stdout)]
fn figures() {
    const ROWS: usize = 100_000;
    let mut random = SplitMix64::new(1);
    let mut items: Vec<(u64, Vec<f32>)> = (0..ROWS as u64).map(|id| (id, (0..768).map(|_| random.normal() as f32).collect())).collect();
    for at in (0..ROWS).step_by(2) {
        let (first, second) = items.split_at_mut(at + 1);
        second[0].1.iter_mut().zip(&first[at].1).take(200).for_each(|(value, shared)| *value = 0.3 * *value + shared);
    }
    let vectors = Vectors::new(768, &items).expect("vectors");
    drop(items);
    let pairs: Vec<RowPair> = (0..ROWS).map(|row| RowPair { anchor: row, positive: row ^ 1, group: row / 10 }).collect();
    let validation: Vec<RowPair> = pairs.iter().copied().step_by(100).collect();
    let groups: Vec<usize> = (0..ROWS).map(|row| row / 10).collect();
    let rows: Vec<usize> = (0..ROWS).collect();
    for (architecture, hidden, output, batch_size, hard_negatives) in [
        (Architecture::Mlp, Some(1024), 256, 32, 0),
        (Architecture::Mlp, Some(1024), 256, 128, 0),
        (Architecture::Linear, None, 768, 32, 0),
        (Architecture::Linear, None, 256, 32, 0),
        (Architecture::LowRank, Some(64), 768, 32, 2),
    ] {
        let config = TrainConfig { batch_size, hard_negatives, patience: 100, ..TrainConfig::new(architecture, 768, hidden, output) };
        let begun = std::time::Instant::now();
        let mining = Some(Mining { rows: &rows, groups: &groups, related: Related::default() });
        let lesson = Lesson { vectors: &vectors, pairs: &pairs, validation: &validation, candidates: None, mining };
        let (_, history) = train(&config, &lesson, Job::silent()).expect("trained");
        println!(
            "{architecture:?} {output} batch {batch_size}, {hard_negatives} hard: {} pairs, {} steps in {:.1?}",
            history.pairs,
            history.steps,
            begun.elapsed()
        );
    }
}
