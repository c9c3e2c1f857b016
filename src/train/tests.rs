//! The gradients are true, training learns what is there to learn and nothing else, and the gate tells the difference.

use ndarray::{Array1, Array2};

use super::config::{Architecture, Loss, Start, TrainConfig};
use super::loss;
use super::network::{Layer, Network};
use super::trainer::{gradient, start};
use super::*;
use crate::error::ErrorKind;
use crate::metrics::random::SplitMix64;
use crate::progress::{Cancel, Job, Silent};

const INFO_NCE: Loss = Loss::InfoNce { temperature: 0.1 };
const TRIPLET: Loss = Loss::Triplet { margin: 0.3 };
const ARCHITECTURES: [Architecture; 3] = [Architecture::Linear, Architecture::Residual, Architecture::Mlp];

/// Every number of every tensor, every architecture with every loss: the gradient is the slope of the loss.
#[test]
fn gradients_are_the_finite_differences() {
    let mut random = SplitMix64::new(9);
    for architecture in ARCHITECTURES {
        let (input, hidden) = (6, 9);
        let output = if architecture == Architecture::Residual { input } else { 4 };
        let mut layer = |out: usize, input: usize| Layer {
            weight: Array2::from_shape_fn((out, input), |_| random.normal() * 0.7),
            bias: Array1::from_shape_fn(out, |_| random.normal() * 0.3),
        };
        let layers = if architecture.has_hidden() { vec![layer(hidden, input), layer(output, hidden)] } else { vec![layer(output, input)] };
        let mut network = Network::<f64> { architecture, layers };
        let rows = Array2::from_shape_fn((16, input), |_| random.normal());
        // Pairs 0 and 1 share a group, 7 is of the group of all but itself: masked rows are part of the proof.
        let negatives = Array2::from_shape_fn((8, 8), |(i, j)| i != j && i + j != 1 && i.max(j) != 7);
        for loss in [INFO_NCE, TRIPLET] {
            let (value, gradients) = gradient(&network, loss, rows.view(), &negatives);
            assert!(value > 0.01, "{architecture:?} {loss:?}: nothing to learn in {value}");
            let (mut checked, mut moving) = (0, 0);
            for (at, gradient_of) in gradients.iter().enumerate() {
                for is_bias in [false, true] {
                    let length = if is_bias { network.layers[at].bias.len() } else { network.layers[at].weight.len() };
                    for number in 0..length {
                        let mut nudged = |by: f64| {
                            let layer = &mut network.layers[at];
                            let values = if is_bias { layer.bias.as_slice_mut() } else { layer.weight.as_slice_mut() };
                            values.expect("contiguous")[number] += by;
                            gradient(&network, loss, rows.view(), &negatives).0
                        };
                        let step = 1e-6;
                        let above = nudged(step);
                        let below = nudged(-2.0 * step);
                        nudged(step);
                        let slope = (above - below) / (2.0 * step);
                        let values = if is_bias { gradient_of.bias.as_slice() } else { gradient_of.weight.as_slice() };
                        let found = values.expect("contiguous")[number];
                        let error = (found - slope).abs() / found.abs().max(slope.abs()).max(1e-3);
                        assert!(error < 1e-5, "{architecture:?} {loss:?} layer {at} bias {is_bias} {number}: {found} but {slope}");
                        checked += 1;
                        moving += usize::from(found.abs() > 1e-6);
                    }
                }
            }
            assert!(moving * 2 > checked, "{architecture:?} {loss:?}: only {moving} of {checked} gradients are not zero");
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
        let found = loss::negatives(&vectors, &[first, other]);
        assert_eq!((found[(0, 1)], found[(1, 0)]), (is_negative, is_negative), "{other:?}");
        assert!(!found[(0, 0)] && !found[(1, 1)]);
    }
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

fn trial<'a>(world: &'a World, projection: &'a Projection) -> Trial<'a> {
    Trial { vectors: &world.vectors, test: &world.test, candidates: None, projection, lexical: None, must_beat_lexical: false, seed: 1 }
}

fn config(architecture: Architecture, output: usize) -> TrainConfig {
    let hidden = architecture.has_hidden().then_some(64);
    TrainConfig { epochs: 12, learning_rate: 3e-3, ..TrainConfig::new(architecture, 32, hidden, output) }
}

#[test]
fn every_architecture_and_loss_learns_the_subspace_and_passes_the_gate() {
    let world = world(1000, 32, 8, 1.0, 4);
    for (architecture, output) in
        [(Architecture::Linear, 32), (Architecture::Linear, 12), (Architecture::Residual, 32), (Architecture::Mlp, 16)]
    {
        for loss in [INFO_NCE, TRIPLET] {
            let config = TrainConfig { loss, ..config(architecture, output) };
            let (projection, history) = train(&config, &world.vectors, &world.train, &world.validation, Job::silent()).expect("trained");
            let verdict = judge(&trial(&world, &projection), Job::silent()).expect("judged");
            assert!(history.best > 0, "{architecture:?} {output} {loss:?}: {history:?}");
            assert!(verdict.published, "{architecture:?} {output} {loss:?}: {}", verdict.reason);
            assert_eq!((verdict.queries, verdict.groups, verdict.candidates), (200, 40, 2000));
            assert_eq!(verdict.pca.is_some(), output < 32);
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
        let (projection, _) = train(&config, &world.vectors, &world.train, &world.validation, Job::silent()).expect("trained");
        let verdict = judge(&trial(&world, &projection), Job::silent()).expect("judged");
        assert!(!verdict.published, "{}", verdict.reason);
        assert!(verdict.reason.contains("does not clearly beat"), "{}", verdict.reason);
    }
    let few = World { test: world.test[..20].to_vec(), ..world };
    let verdict = judge(&trial(&few, &pca(&few.vectors, 16).expect("pca")), Job::silent()).expect("judged");
    assert!(!verdict.published && verdict.reason.contains("too little is held out"), "{}", verdict.reason);
    let none = World { test: Vec::new(), ..few };
    let verdict = judge(&trial(&none, &pca(&none.vectors, 16).expect("pca")), Job::silent()).expect("judged");
    assert!(!verdict.published && verdict.reason.contains("no held-out pairs"), "{}", verdict.reason);
}

#[test]
fn bm25_is_compared_and_may_decide() {
    let world = world(1000, 32, 8, 1.0, 4);
    let (projection, _) =
        train(&config(Architecture::Linear, 32), &world.vectors, &world.train, &world.validation, Job::silent()).expect("trained");
    // The anchor itself first, as BM25 would, then its partner: a perfect ranking once the query is left out.
    let perfect = |row: usize, limit: usize| Ok([row, row ^ 1, 5, 7].into_iter().take(limit).collect());
    let shown = Trial { lexical: Some(&perfect), ..trial(&world, &projection) };
    let verdict = judge(&shown, Job::silent()).expect("judged");
    let lexical = verdict.lexical.expect("BM25");
    assert_eq!(lexical.figures.ndcg.mean, 1.0);
    assert!(lexical.gain.ndcg.mean < 0.0, "the projection is not perfect");
    assert!(verdict.published && verdict.reason.contains("beats raw vectors"), "{}", verdict.reason);
    let verdict = judge(&Trial { must_beat_lexical: true, ..shown }, Job::silent()).expect("judged");
    assert!(!verdict.published && verdict.reason.contains("does not clearly beat BM25"), "{}", verdict.reason);
}

#[test]
fn same_seed_gives_the_same_bytes_and_another_seed_others() {
    let world = world(300, 32, 8, 1.0, 6);
    for architecture in ARCHITECTURES {
        let run = |seed: u64| {
            let config = TrainConfig { seed, epochs: 2, ..config(architecture, if architecture == Architecture::Mlp { 16 } else { 32 }) };
            let (projection, history) = train(&config, &world.vectors, &world.train, &world.validation, Job::silent()).expect("trained");
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
    let (projection, history) = train(&config, &world.vectors, &world.train, &world.validation, Job::silent()).expect("trained");
    assert_eq!((history.best, history.epochs.len(), history.stopped_early), (0, 3, true), "{history:?}");
    let kept = projection.apply_rows(world.vectors.all().as_slice().expect("rows")).expect("applied");
    assert!(kept.iter().zip(world.vectors.all()).all(|(a, b)| (a - b).abs() < 1e-6), "the start is the identity");
    let (_, history) = train(&config, &world.vectors, &world.train, &[], Job::silent()).expect("trained");
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
    ];
    for config in bad {
        let error = train(&config, &world.vectors, &world.train, &[], Job::silent()).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Usage, "{config:?}: {error}");
    }
    assert_eq!(train(&good, &world.vectors, &[], &[], Job::silent()).expect_err("no pairs").kind(), ErrorKind::Usage);
    let outside = [RowPair { anchor: 0, positive: 10_000, group: 0 }];
    assert_eq!(train(&good, &world.vectors, &outside, &[], Job::silent()).expect_err("outside").kind(), ErrorKind::Bug);
    let cancel = Cancel::default();
    cancel.raise();
    let error = train(&good, &world.vectors, &world.train, &[], Job::new(&Silent, &cancel)).expect_err("stopped");
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

/// `cargo test --lib train::tests::figures -- --ignored --nocapture`: the time of a training run of the seed recipe's shape.
#[test]
#[ignore = "takes a minute; prints figures"]
#[allow(clippy::print_stdout)]
fn figures() {
    let world = world(28_572, 384, 64, 1.0, 1);
    for (architecture, hidden, output, batch_size) in
        [(Architecture::Mlp, Some(1024), 256, 32), (Architecture::Mlp, Some(1024), 256, 128), (Architecture::Linear, None, 384, 32)]
    {
        let config = TrainConfig { batch_size, patience: 100, ..TrainConfig::new(architecture, 384, hidden, output) };
        let begun = std::time::Instant::now();
        let (projection, history) = train(&config, &world.vectors, &world.train, &world.validation, Job::silent()).expect("trained");
        let trained = begun.elapsed();
        let verdict = judge(&trial(&world, &projection), Job::silent()).expect("judged");
        println!(
            "{architecture:?} {output} batch {batch_size}: {} steps in {trained:.1?}, judged in {:.1?}",
            history.steps,
            begun.elapsed() - trained
        );
        println!("  {}", verdict.reason);
    }
}
