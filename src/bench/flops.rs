//! The floating-point operations of a forward pass, counted by running it over an [`Ops`] that counts and computes nothing.
//!
//! A product of matrices counts two for each multiplication; attention counts both of its products over all pairs of a row's tokens,
//! whatever its reach, and where one token of each row alone is pooled, in the last layer over the pairs of that token with its row: what
//! follows that layer's keys and values is counted once a row, as it is done. What is done number by number (norms, activations, sums) is not counted, nor is padding. For a BERT that is
//! 2 x parameters of its linear layers x tokens + 4 x layers x hidden x the sum over rows of length², if it pools all tokens.

use patina_backend::{
    Activation, Attention, Averaging, Bias, LayerNorm, Linear, Model, Ops, Param, Result as BackendResult, RmsNorm, Token,
};

use crate::embed::Tally;
use crate::error::Result;

/// Operations by what they grow with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// For each token.
    pub token: f64,
    /// For each row: what follows the pooling.
    pub row: f64,
    /// For each row and the square of its tokens.
    pub square: f64,
}

impl Cost {
    /// Of a model's forward pass; zeros for a table, which multiplies nothing.
    pub fn of(model: &Model) -> Result<Cost> {
        let mut counter = Counter::default();
        model.forward(&mut counter)?;
        Ok(counter.cost)
    }

    /// Operations of what was embedded.
    pub fn flops(&self, tally: &Tally) -> f64 {
        self.token * tally.tokens as f64 + self.row * tally.rows as f64 + self.square * tally.squares as f64
    }
}

/// What a tensor has a line of numbers for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lines {
    Tokens,
    Rows,
}

#[derive(Default)]
struct Counter {
    cost: Cost,
}

impl Ops for Counter {
    type Tensor = Lines;

    fn token_embedding(&mut self, _: &Param, _: Option<&[u32]>) -> BackendResult<Lines> {
        Ok(Lines::Tokens)
    }

    fn token_weights(&mut self, x: &Lines, _: &Param) -> BackendResult<Lines> {
        Ok(*x)
    }

    fn position_embedding(&mut self, _: &Param, _: usize) -> BackendResult<Lines> {
        Ok(Lines::Tokens)
    }

    fn segment_embedding(&mut self, _: &Param) -> BackendResult<Lines> {
        Ok(Lines::Tokens)
    }

    fn add(&mut self, a: &Lines, _: &Lines) -> BackendResult<Lines> {
        Ok(*a)
    }

    fn add_row(&mut self, x: &Lines, _: &Param, _: usize) -> BackendResult<Lines> {
        Ok(*x)
    }

    fn multiply(&mut self, a: &Lines, _: &Lines) -> BackendResult<Lines> {
        Ok(*a)
    }

    fn scale(&mut self, x: &Lines, _: f32) -> BackendResult<Lines> {
        Ok(*x)
    }

    fn columns(&mut self, x: &Lines, _: usize, _: usize) -> BackendResult<Lines> {
        Ok(*x)
    }

    fn concat(&mut self, parts: &[Lines]) -> BackendResult<Lines> {
        Ok(parts.first().copied().unwrap_or(Lines::Rows))
    }

    fn linear(&mut self, x: &Lines, linear: &Linear) -> BackendResult<Lines> {
        let operations = 2.0 * linear.weight.shape().iter().map(|&size| size as f64).product::<f64>();
        match x {
            Lines::Tokens => self.cost.token += operations,
            Lines::Rows => self.cost.row += operations,
        }
        Ok(*x)
    }

    fn layer_norm(&mut self, x: &Lines, _: Option<&Lines>, _: &LayerNorm) -> BackendResult<Lines> {
        Ok(*x)
    }

    fn rms_norm(&mut self, x: &Lines, _: &RmsNorm) -> BackendResult<Lines> {
        Ok(*x)
    }

    fn activation(&mut self, x: &Lines, _: Activation) -> BackendResult<Lines> {
        Ok(*x)
    }

    fn attention_bias(&mut self, _: &Bias, _: usize) -> BackendResult<Lines> {
        Ok(Lines::Tokens)
    }

    fn attention(
        &mut self,
        q: &Lines,
        _: &Lines,
        _: &Lines,
        attention: &Attention,
        _: Option<&Lines>,
        only: Option<Token>,
    ) -> BackendResult<Lines> {
        let operations = 4.0 * (attention.heads * attention.head_size) as f64;
        match only {
            None => self.cost.square += operations,
            // One query meets each of its row's keys.
            Some(_) => self.cost.token += operations,
        }
        Ok(*q)
    }

    fn take(&mut self, _: &Lines, _: Token) -> BackendResult<Lines> {
        Ok(Lines::Rows)
    }

    fn single(&mut self, x: &Lines) -> BackendResult<Lines> {
        Ok(*x)
    }

    fn average(&mut self, _: &Lines, _: Averaging) -> BackendResult<Lines> {
        Ok(Lines::Rows)
    }

    fn max(&mut self, _: &Lines) -> BackendResult<Lines> {
        Ok(Lines::Rows)
    }

    fn normalize(&mut self, x: &Lines) -> BackendResult<Lines> {
        Ok(*x)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use patina_backend::{ModelOptions, Pooling};

    use super::*;

    fn golden(name: &str) -> Model {
        Model::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden").join(name)).expect(name)
    }

    /// The definition: twice the parameters of the layers' matrices a token, and both products of attention.
    #[test]
    fn a_bert_costs_what_its_parameters_say() {
        let model = golden("bert-mean");
        let config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(model.folder().join("config.json")).expect("config")).expect("JSON");
        let number = |key: &str| config[key].as_f64().expect(key);
        let (layers, hidden, inner) = (number("num_hidden_layers"), number("hidden_size"), number("intermediate_size"));
        let cost = Cost::of(&model).expect("a cost");
        assert_eq!(cost.token, 2.0 * layers * (4.0 * hidden * hidden + 2.0 * hidden * inner));
        assert_eq!((cost.square, cost.row), (4.0 * layers * hidden, 0.0));
        let tally = Tally { rows: 2, tokens: 7, places: 8, squares: 25 };
        assert_eq!(cost.flops(&tally), 7.0 * cost.token + 25.0 * cost.square);
    }

    /// In the last layer only keys and values are of all tokens where one token of each row is pooled; mean pooling needs all.
    #[test]
    fn one_pooled_token_spares_the_rest_of_the_last_layer() {
        let of = |name: &str, pooling| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden").join(name);
            let model = Model::open_with(&folder, &ModelOptions { dimensions: None, pooling: Some(pooling) }).expect(name);
            Cost::of(&model).expect("a cost")
        };
        let model = golden("bert-mean");
        let config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(model.folder().join("config.json")).expect("config")).expect("JSON");
        let number = |key: &str| config[key].as_f64().expect(key);
        let (layers, hidden, inner) = (number("num_hidden_layers"), number("hidden_size"), number("intermediate_size"));
        for pooling in [Pooling::Cls, Pooling::LastToken] {
            let cost = of("bert-mean", pooling);
            let pooled = 2.0 * (2.0 * hidden * hidden + 2.0 * hidden * inner);
            let layer = 2.0 * (4.0 * hidden * hidden + 2.0 * hidden * inner);
            assert_eq!(cost.token, layers * layer - pooled + 4.0 * hidden, "{pooling:?}");
            assert_eq!((cost.square, cost.row), (4.0 * (layers - 1.0) * hidden, pooled), "{pooling:?}");
        }
        for pooling in [Pooling::Mean, Pooling::Max, Pooling::WeightedMean, Pooling::MeanSqrtLength] {
            assert_eq!(of("bert-mean", pooling), Cost::of(&model).expect("a cost"), "{pooling:?}");
        }
        // Every shape of layers, weights of queries, keys and values in one among them.
        for name in ["modernbert-cls-gte", "qwen3-lasttoken", "gte-new-cls", "nomic-bert-mean", "mpnet-mean", "jina-bert-code"] {
            let (one, all) = (of(name, Pooling::Cls), of(name, Pooling::Mean));
            assert!(one.token < all.token && one.square < all.square && one.row > all.row, "{name}: {one:?} {all:?}");
        }
    }

    #[test]
    fn heads_of_their_own_size_and_dense_heads_are_counted() {
        let decoder = Cost::of(&golden("qwen3-lasttoken")).expect("a cost");
        assert!(decoder.token > 0.0 && decoder.square > 0.0);
        // What follows the pooling is done once a row.
        let dense = Cost::of(&golden("bert-mean-dense-labse")).expect("a cost");
        assert!(dense.row > 0.0, "{dense:?}");
        assert_eq!(Cost::of(&golden("static-model2vec")).expect("a cost"), Cost::default());
    }
}
