//! Training a small projection on a project's own pairs, and judging honestly whether it helps.
//!
//! A projection maps the vectors of the embedding model to vectors that are compared by cosine as before. Everything here works on
//! L2-normalised inputs: [`Vectors`] normalises on the way in, [`Projection::apply`] does the same with a query, so that a model
//! without a normalisation of its own is treated alike in training and in search.
//!
//! - `network`: the architectures, forward and backward; `loss`: InfoNCE, multiple negatives, triplet, distillation; `objective`: what a
//!   batch costs; `optimizer`: AdamW. All are generic over the number, so that tests prove the gradients by finite differences in `f64`
//!   while training runs in `f32`.
//! - `trainer`: batches, schedule, early stopping. `mining`: hard negatives. `projection`: the safetensors file. `pca`: the start and the
//!   projections that a trained one must beat.
//! - `gate`: the verdict on held-out groups.
//!
//! Same seed and same input give the same bytes on the same kind of machine: the order of every sum is fixed, and two threads split
//! the work by what it is (halves of a matrix), never by who is free.

mod config;
mod eigen;
mod gate;
mod loss;
mod mining;
mod network;
mod objective;
mod optimizer;
mod pca;
mod projection;
mod ranking;
#[cfg(test)]
mod tests;
mod trainer;
mod vectors;

pub use config::{Architecture, Loss, Schedule, Sides, Start, TrainConfig};
pub use gate::{
    Comparison, FUSED_DEPTH, Figures, Fold, Found, Fuse, Hybrid, Lexical, MIN_RAW_NDCG, MIN_TEST_GROUPS, MIN_TEST_QUERIES,
    NOT_WORSE_MARGIN, Trial, Verdict, judge,
};
pub use mining::{FALSE_NEGATIVE_SHARE, MAX_MINED_ROWS, MINED_FROM, Mining, Related, mine};
pub use pca::{cut, pca, random};
pub use projection::{MAX_PROJECTION_BYTES, Projection};
pub use trainer::{Epoch, History, Lesson, train};
pub use vectors::{RowPair, Vectors};
