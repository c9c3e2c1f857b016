//! How the hidden states of a row become one vector.

/// A pooling mode, as sentence-transformers defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The first token's.
    Cls,
    /// Their greatest values.
    Max,
    /// Their mean.
    Mean,
    /// Their sum over the square root of their number.
    MeanSqrtLength,
    /// Their mean weighted by position.
    WeightedMean,
    /// The last token's.
    LastToken,
}

impl Pooling {
    /// Every mode, in the order in which several stand side by side.
    pub const ALL: &'static [Pooling] =
        &[Pooling::Cls, Pooling::Max, Pooling::Mean, Pooling::MeanSqrtLength, Pooling::WeightedMean, Pooling::LastToken];

    /// The word that newer pooling files, recipes and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Pooling::Cls => "cls",
            Pooling::Max => "max",
            Pooling::Mean => "mean",
            Pooling::MeanSqrtLength => "mean_sqrt_len_tokens",
            Pooling::WeightedMean => "weightedmean",
            Pooling::LastToken => "lasttoken",
        }
    }

    /// The mode of a word.
    pub fn parse(word: &str) -> Option<Pooling> {
        Pooling::ALL.iter().copied().find(|mode| mode.name() == word)
    }

    /// The flag of older pooling files.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Pooling::Cls => "pooling_mode_cls_token",
            Pooling::Max => "pooling_mode_max_tokens",
            Pooling::Mean => "pooling_mode_mean_tokens",
            Pooling::MeanSqrtLength => "pooling_mode_mean_sqrt_len_tokens",
            Pooling::WeightedMean => "pooling_mode_weightedmean_tokens",
            Pooling::LastToken => "pooling_mode_lasttoken",
        }
    }

    /// All words, for messages.
    pub(crate) fn names() -> String {
        Pooling::ALL.iter().map(|mode| mode.name()).collect::<Vec<_>>().join(", ")
    }
}
