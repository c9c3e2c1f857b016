//! [`Ops`] that record an ONNX graph instead of computing.

use std::collections::BTreeSet;

use patina_backend::{
    Activation, Attention, Averaging, Bias, EngineError, LayerNorm, Linear, Model, NORM_EPSILON, Ops, Param, Reach, Result, RmsNorm, Rope,
    Runtime, Token, Weights,
};

use crate::inputs::{Data, Input};
use crate::kernels::linear;
use crate::operators;

/// The operator sets of the graphs, by domain. Like all that is recorded below they decide the vectors to the last bit: what changes a
/// value raises [`GRAPH_VERSION`](crate::GRAPH_VERSION).
pub(crate) const OPERATOR_SETS: [(&str, u32); 3] = [("", 20), (MICROSOFT, 1), (operators::DOMAIN, 1)];
/// The domain of ONNX Runtime's own operators.
const MICROSOFT: &str = "com.microsoft";

/// The name of the graph's output, `[rows, dimensions]`.
pub(crate) const OUTPUT: &str = "embeddings";

/// The name of a tensor's initializer in the graph: no tensor's name can meet another value's.
pub(crate) fn initializer_name(tensor: &str) -> String {
    format!("weights/{tensor}")
}

/// The name of the initializer of a tensor whose numbers are taken as they are stored, in bf16.
pub(crate) fn bf16_name(tensor: &str) -> String {
    format!("bf16/{tensor}")
}

/// The names of the initializers that a quantized weight becomes: its integers `[in, out]`, what one of them stands for in each output, and
/// each output's sum of them.
pub(crate) fn quantized_names(tensor: &str) -> [String; 3] {
    [format!("int8/{tensor}"), format!("int8 scales/{tensor}"), format!("int8 sums/{tensor}")]
}

/// A graph without its weights.
#[derive(Default)]
pub(crate) struct Graph {
    /// In an order in which they can be computed.
    pub nodes: Vec<Node>,
    /// Small initializers with their values.
    pub constants: Vec<Constant>,
    /// The tensors that the other initializers are; [`initializer_name`] gives the initializer of each.
    pub parameters: BTreeSet<String>,
    /// Those that stay in bf16, as they are stored; [`bf16_name`] gives the initializer of each.
    pub halves: BTreeSet<String>,
    /// The weights of linear layers that are computed with in eight bits: `[out, in]` each, and the initializers that
    /// [`quantized_names`] names are made of it.
    pub quantized: BTreeSet<String>,
    /// Its inputs, in order.
    pub inputs: Vec<Input>,
}

/// An operator.
pub(crate) struct Node {
    pub operator: &'static str,
    pub domain: &'static str,
    /// An empty one is left out.
    pub inputs: Vec<Value>,
    pub outputs: Vec<Value>,
    pub attributes: Vec<Attribute>,
}

/// A setting of an operator.
pub(crate) enum Attribute {
    Int(&'static str, i64),
    Float(&'static str, f32),
}

/// An initializer that belongs to the graph and not to the model.
pub(crate) struct Constant {
    pub name: String,
    pub shape: Vec<i64>,
    pub data: Data,
}

/// The smallest number of bytes of an initializer that can stay where it lies: what is smaller ONNX Runtime wants to own.
pub(crate) const LEAST_IN_PLACE: usize = 128;

/// `TensorProto.DataType.FLOAT`, as the operator `Cast` numbers it.
const FLOAT: i64 = 1;

/// Records the forward pass of a model, with linear layers in eight bits if `int8` says so.
pub(crate) fn record(model: &Model, int8: bool) -> Result<Graph> {
    let mut recorder =
        Recorder { weights: model.weights(), graph: Graph::default(), known: BTreeSet::new(), turns: Vec::new(), int8, quantized: None };
    let last = model.forward(&mut recorder)?;
    recorder.node("Identity", "", &[&last], OUTPUT.into(), vec![]);
    Ok(recorder.graph)
}

struct Recorder<'a> {
    weights: &'a Weights,
    graph: Graph,
    known: BTreeSet<String>,
    /// Cosines and sines of each token's angles, made once for all layers.
    turns: Vec<(Rope, Turn)>,
    /// Whether linear layers are computed in eight bits.
    int8: bool,
    /// The value that was quantized last, and its integers, scales and zeros: queries, keys and values are of the same one.
    quantized: Option<(Value, [Value; 3])>,
}

/// A number for each token and frequency.
#[derive(Clone)]
struct Turn {
    cosines: Value,
    sines: Value,
}

/// The name of a value in the graph.
type Value = String;

/// Inputs without those at the end that are left out.
fn trimmed<'a, 'b>(inputs: &'b [&'a str]) -> &'b [&'a str] {
    let given = inputs.iter().rposition(|input| !input.is_empty()).map_or(0, |last| last + 1);
    &inputs[..given]
}

/// A config may name any number.
fn places(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Recorder<'_> {
    fn node(&mut self, operator: &'static str, domain: &'static str, inputs: &[&str], output: Value, attributes: Vec<Attribute>) -> Value {
        let inputs = inputs.iter().map(|&name| name.into()).collect();
        self.graph.nodes.push(Node { operator, domain, inputs, outputs: vec![output.clone()], attributes });
        output
    }

    /// A node of the standard domain with a fresh output.
    fn op(&mut self, operator: &'static str, inputs: &[&str], attributes: Vec<Attribute>) -> Value {
        let output = format!("v{}", self.graph.nodes.len());
        self.node(operator, "", inputs, output, attributes)
    }

    /// A node of ONNX Runtime's own domain with a fresh output.
    fn fused(&mut self, operator: &'static str, inputs: &[&str], attributes: Vec<Attribute>) -> Value {
        let output = format!("v{}", self.graph.nodes.len());
        self.node(operator, MICROSOFT, inputs, output, attributes)
    }

    /// A node of Patina's own domain with a fresh output.
    fn own(&mut self, operator: &'static str, inputs: &[&str], attributes: Vec<Attribute>) -> Value {
        let output = format!("v{}", self.graph.nodes.len());
        self.node(operator, operators::DOMAIN, inputs, output, attributes)
    }

    /// The integers, scales and zeros of the rows of `x`.
    fn quantize(&mut self, x: &Value) -> [Value; 3] {
        if let Some((known, quantized)) = &self.quantized
            && known == x
        {
            return quantized.clone();
        }
        let number = self.graph.nodes.len();
        let outputs = ["integers", "scales", "zeros"].map(|what| format!("v{number} {what}"));
        let (operator, domain) = (operators::QUANTIZE, operators::DOMAIN);
        self.graph.nodes.push(Node { operator, domain, inputs: vec![x.clone()], outputs: outputs.to_vec(), attributes: vec![] });
        self.quantized.insert((x.clone(), outputs)).1.clone()
    }

    /// A linear layer whose products are summed as integers.
    fn linear_int8(&mut self, x: &Value, linear: &Linear) -> Value {
        let [integers, scales, zeros] = self.quantize(x);
        self.graph.quantized.insert(linear.weight.name().to_owned());
        let [weight, weight_scales, weight_sums] = quantized_names(linear.weight.name());
        let sums = self.op("MatMulInteger", &[&integers, &weight], vec![]);
        let bias = linear.bias.as_ref().map(|bias| self.parameter(bias));
        let mut inputs = vec![&*sums, &*scales, &*zeros, &*weight_scales, &*weight_sums];
        inputs.extend(bias.as_deref());
        self.own(operators::DEQUANTIZE, &inputs, vec![])
    }

    fn input(&mut self, input: Input) -> Result<Value> {
        match self.graph.inputs.iter().find(|known| known.name() == input.name()) {
            Some(known) if *known == input => {}
            // Two pooling weights or two position offsets in one model: no architecture has them.
            Some(_) => {
                return Err(EngineError::Runtime {
                    runtime: Runtime::Onnx,
                    doing: "build the graph",
                    reason: format!("the input {} is asked for in two forms", input.name()),
                });
            }
            None => self.graph.inputs.push(input),
        }
        Ok(input.name().into())
    }

    /// An initializer whose bytes are given when the session is made.
    fn parameter(&mut self, param: &Param) -> Value {
        self.graph.parameters.insert(param.name().to_owned());
        initializer_name(param.name())
    }

    /// An initializer in bf16, if that is how it is stored and it can stay where it lies.
    fn half(&mut self, param: &Param) -> Option<Value> {
        let stored = self.weights.get(param.name())?;
        stored.bf16_in_place().filter(|numbers| size_of_val(*numbers) >= LEAST_IN_PLACE)?;
        self.graph.halves.insert(param.name().to_owned());
        Some(bf16_name(param.name()))
    }

    fn constant(&mut self, name: String, shape: &[usize], data: Data) -> Value {
        if self.known.insert(name.clone()) {
            self.graph.constants.push(Constant { name: name.clone(), shape: shape.iter().map(|&n| n as i64).collect(), data });
        }
        name
    }

    fn ints(&mut self, values: &[i64]) -> Value {
        self.constant(format!("ints{values:?}"), &[values.len()], Data::Int64(values.to_vec()))
    }

    fn scalar_int(&mut self, value: i64) -> Value {
        self.constant(format!("int {value}"), &[], Data::Int64(vec![value]))
    }

    fn scalar_float(&mut self, value: f32) -> Value {
        self.constant(format!("float {value:e}"), &[], Data::Float(vec![value]))
    }

    /// `x` with another shape; -1 is whatever is left.
    fn reshape(&mut self, x: &str, shape: &[i64]) -> Value {
        let shape = self.ints(shape);
        self.op("Reshape", &[x, &shape], vec![])
    }

    fn turn(&mut self, rope: &Rope) -> Result<Turn> {
        if let Some((_, turn)) = self.turns.iter().find(|(known, _)| known == rope) {
            return Ok(turn.clone());
        }
        let positions = self.input(Input::Positions(0))?;
        let positions = self.op("Cast", &[&positions], vec![Attribute::Int("to", FLOAT)]);
        let positions = self.reshape(&positions, &[-1, 1]);
        let name = format!("frequencies {}", self.turns.len());
        let frequencies = self.constant(name, &[1, rope.frequencies.len()], Data::Float(rope.frequencies.clone()));
        let angles = self.op("Mul", &[&positions, &frequencies], vec![]);
        let turn = Turn { cosines: self.op("Cos", &[&angles], vec![]), sines: self.op("Sin", &[&angles], vec![]) };
        self.turns.push((rope.clone(), turn.clone()));
        Ok(turn)
    }

    /// The input that says which tokens of the batch these are.
    fn tokens(&mut self, token: Token) -> Result<Value> {
        self.input(match token {
            Token::First => Input::Firsts,
            Token::Last => Input::Lasts,
        })
    }

    /// The heads of `[tokens, heads * head_size]`, or of `[rows, heads * head_size]` with `only`, turned by their positions. The operator
    /// looks each token's angles up in a table of positions: the table given has a row for each token of the batch.
    fn turned(&mut self, x: &str, heads: usize, head_size: usize, rope: &Rope, only: Option<Token>) -> Result<Value> {
        let Turn { cosines, sines } = self.turn(rope)?;
        let numbers = match only {
            None => self.input(Input::Numbers)?,
            Some(token) => {
                let tokens = self.tokens(token)?;
                self.reshape(&tokens, &[1, -1])
            }
        };
        let width = (heads * head_size) as i64;
        let row = self.reshape(x, &[1, -1, width]);
        let turned = 2 * rope.frequencies.len();
        let attributes = match turned == head_size {
            true => vec![],
            false => vec![Attribute::Int("num_heads", heads as i64), Attribute::Int("rotary_embedding_dim", turned as i64)],
        };
        let turned = self.fused("RotaryEmbedding", &[&row, &numbers, &cosines, &sines], attributes);
        Ok(self.reshape(&turned, &[-1, width]))
    }

    fn gather(&mut self, x: &str, indices: &str) -> Value {
        self.op("Gather", &[x, indices], vec![Attribute::Int("axis", 0)])
    }
}

impl Ops for Recorder<'_> {
    type Tensor = Value;

    fn token_embedding(&mut self, table: &Param, map: Option<&[u32]>) -> Result<Value> {
        let name = format!("map of {}", table.name());
        let half = self.half(table);
        let table = half.clone().unwrap_or_else(|| self.parameter(table));
        let mut ids = self.input(Input::Ids)?;
        if let Some(map) = map {
            let map = self.constant(name, &[map.len()], Data::Int64(map.iter().map(|&row| row.into()).collect()));
            ids = self.gather(&map, &ids);
        }
        let rows = self.gather(&table, &ids);
        // The rows that are asked for, not the table.
        Ok(if half.is_some() { self.op("Cast", &[&rows], vec![Attribute::Int("to", FLOAT)]) } else { rows })
    }

    fn token_weights(&mut self, x: &Value, weights: &Param) -> Result<Value> {
        let weights = self.parameter(weights);
        let ids = self.input(Input::Ids)?;
        let factors = self.gather(&weights, &ids);
        let factors = self.reshape(&factors, &[-1, 1]);
        Ok(self.op("Mul", &[x, &factors], vec![]))
    }

    fn position_embedding(&mut self, table: &Param, offset: usize) -> Result<Value> {
        let table = self.parameter(table);
        let positions = self.input(Input::Positions(offset))?;
        Ok(self.gather(&table, &positions))
    }

    fn segment_embedding(&mut self, table: &Param) -> Result<Value> {
        let table = self.parameter(table);
        let segments = self.input(Input::Segments)?;
        Ok(self.gather(&table, &segments))
    }

    fn add(&mut self, a: &Value, b: &Value) -> Result<Value> {
        Ok(self.op("Add", &[a, b], vec![]))
    }

    fn add_row(&mut self, x: &Value, table: &Param, row: usize) -> Result<Value> {
        let table = self.parameter(table);
        let row = self.scalar_int(row as i64);
        let row = self.gather(&table, &row);
        Ok(self.op("Add", &[x, &row], vec![]))
    }

    fn multiply(&mut self, a: &Value, b: &Value) -> Result<Value> {
        Ok(self.op("Mul", &[a, b], vec![]))
    }

    fn scale(&mut self, x: &Value, factor: f32) -> Result<Value> {
        let factor = self.scalar_float(factor);
        Ok(self.op("Mul", &[x, &factor], vec![]))
    }

    fn columns(&mut self, x: &Value, start: usize, width: usize) -> Result<Value> {
        let [from, to, axis] = [start as i64, (start + width) as i64, 1].map(|n| self.ints(&[n]));
        Ok(self.op("Slice", &[x, &from, &to, &axis], vec![]))
    }

    fn concat(&mut self, parts: &[Value]) -> Result<Value> {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok(self.op("Concat", &parts, vec![Attribute::Int("axis", -1)]))
    }

    fn linear(&mut self, x: &Value, linear: &Linear) -> Result<Value> {
        if self.int8 {
            return Ok(self.linear_int8(x, linear));
        }
        if linear::worthwhile() {
            let (operator, weight) = match self.half(&linear.weight) {
                Some(weight) => (operators::LINEAR_BF16, weight),
                None => (operators::LINEAR, self.parameter(&linear.weight)),
            };
            let bias = linear.bias.as_ref().map(|bias| self.parameter(bias)).unwrap_or_default();
            return Ok(self.own(operator, trimmed(&[x, &weight, &bias]), vec![]));
        }
        let weight = self.parameter(&linear.weight);
        let transposed = vec![Attribute::Int("transB", 1)];
        Ok(match &linear.bias {
            Some(bias) => {
                let bias = self.parameter(bias);
                self.op("Gemm", &[x, &weight, &bias], transposed)
            }
            None => self.op("Gemm", &[x, &weight], transposed),
        })
    }

    fn layer_norm(&mut self, x: &Value, residual: Option<&Value>, norm: &LayerNorm) -> Result<Value> {
        let weight = self.parameter(&norm.weight);
        let bias = norm.bias.as_ref().map(|bias| self.parameter(bias)).unwrap_or_default();
        let residual = residual.cloned().unwrap_or_default();
        let attributes = vec![Attribute::Float("epsilon", norm.epsilon), Attribute::Int("centred", 1)];
        Ok(self.own(operators::NORM, trimmed(&[x, &weight, &bias, &residual]), attributes))
    }

    fn rms_norm(&mut self, x: &Value, norm: &RmsNorm) -> Result<Value> {
        let mut weight = self.parameter(&norm.weight);
        if norm.around_one {
            let one = self.scalar_float(1.0);
            weight = self.op("Add", &[&weight, &one], vec![]);
        }
        // Each group of a row, a head, is normalized as a row of its own.
        let attributes = vec![Attribute::Float("epsilon", norm.epsilon), Attribute::Int("centred", 0)];
        Ok(self.own(operators::NORM, &[x, &weight], attributes))
    }

    fn activation(&mut self, x: &Value, activation: Activation) -> Result<Value> {
        Ok(match activation {
            Activation::Gelu => self.fused("Gelu", &[x], vec![]),
            Activation::GeluTanh => self.fused("FastGelu", &[x], vec![]),
            Activation::Relu => self.op("Relu", &[x], vec![]),
            Activation::Silu => self.fused("QuickGelu", &[x], vec![Attribute::Float("alpha", 1.0)]),
            Activation::Tanh => self.op("Tanh", &[x], vec![]),
        })
    }

    fn attention_bias(&mut self, bias: &Bias, heads: usize) -> Result<Value> {
        match bias {
            Bias::Linear(slopes) => {
                let distances = self.input(Input::Distances)?;
                let falling = slopes.iter().map(|slope| -slope).collect();
                let slopes = self.constant("slopes".into(), &[1, heads], Data::Float(falling));
                Ok(self.op("Mul", &[&distances, &slopes], vec![]))
            }
            Bias::Bucketed { table, buckets } => {
                let table = self.parameter(table);
                let buckets = self.input(Input::Buckets(*buckets))?;
                Ok(self.gather(&table, &buckets))
            }
        }
    }

    fn attention(
        &mut self,
        q: &Value,
        k: &Value,
        v: &Value,
        attention: &Attention,
        bias: Option<&Value>,
        only: Option<Token>,
    ) -> Result<Value> {
        let (mut q, mut k) = (q.clone(), k.clone());
        if let Some(rope) = &attention.rope {
            q = self.turned(&q, attention.heads, attention.head_size, rope, only)?;
            k = self.turned(&k, attention.kv_heads, attention.head_size, rope, None)?;
        }
        let starts = self.input(Input::Starts)?;
        // With a bias the reach is the row.
        let (before, after) = match (bias, attention.reach) {
            (Some(_), _) | (None, Reach::Row) => (i64::MAX, i64::MAX),
            (None, Reach::Causal) => (i64::MAX, 0),
            (None, Reach::Within { before, after }) => (places(before), places(after)),
        };
        let attributes = vec![
            Attribute::Int("heads", attention.heads as i64),
            Attribute::Int("kv_heads", attention.kv_heads as i64),
            Attribute::Int("before", before),
            Attribute::Int("after", after),
            Attribute::Float("scale", attention.scale),
        ];
        let bias = bias.cloned().unwrap_or_default();
        let asking = only.map(|token| self.tokens(token)).transpose()?.unwrap_or_default();
        Ok(self.own(operators::ATTENTION, trimmed(&[&q, &k, v, &starts, &bias, &asking]), attributes))
    }

    fn take(&mut self, x: &Value, token: Token) -> Result<Value> {
        let which = self.tokens(token)?;
        Ok(self.gather(x, &which))
    }

    /// Everything is.
    fn single(&mut self, x: &Value) -> Result<Value> {
        Ok(x.clone())
    }

    fn average(&mut self, x: &Value, averaging: Averaging) -> Result<Value> {
        let weights = self.input(Input::Averages(averaging))?;
        Ok(self.op("MatMul", &[&weights, x], vec![]))
    }

    fn max(&mut self, x: &Value) -> Result<Value> {
        let pad = self.input(Input::Pad)?;
        let beyond = self.input(Input::Beyond)?;
        let padded = self.gather(x, &pad);
        let masked = self.op("Add", &[&padded, &beyond], vec![]);
        let axis = self.ints(&[1]);
        Ok(self.op("ReduceMax", &[&masked, &axis], vec![Attribute::Int("keepdims", 0)]))
    }

    fn normalize(&mut self, x: &Value) -> Result<Value> {
        let axis = self.ints(&[-1]);
        let norm = self.op("ReduceL2", &[x, &axis], vec![Attribute::Int("keepdims", 1)]);
        let least = self.scalar_float(NORM_EPSILON);
        let norm = self.op("Max", &[&norm, &least], vec![]);
        Ok(self.op("Div", &[x, &norm], vec![]))
    }
}
