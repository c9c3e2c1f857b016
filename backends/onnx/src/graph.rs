//! [`Ops`] that record an ONNX graph instead of computing.

use std::collections::BTreeSet;

use patina_backend::{
    Activation, Attention, Averaging, EngineError, LayerNorm, Linear, Model, NORM_EPSILON, Ops, Param, Result, Runtime, Token,
};
use prost::Message;

use crate::inputs::Input;
use crate::proto::{self, Attribute};

/// The version of the graphs below: part of what vectors are reproduced by. Raise it when a change alters any value.
const IR_VERSION: i64 = 10;
const OPSET: i64 = 20;
const MICROSOFT_OPSET: i64 = 1;

/// The name of the graph's output, `[rows, dimensions]`.
pub(crate) const OUTPUT: &str = "embeddings";

/// A graph as bytes, and what must be given to it.
pub(crate) struct Graph {
    /// A serialized `ModelProto` without any weights.
    pub bytes: Vec<u8>,
    /// Its inputs, in order.
    pub inputs: Vec<Input>,
    /// Its initializers, by the names of the tensors.
    pub parameters: BTreeSet<String>,
}

/// Records the forward pass of a model.
pub(crate) fn record(model: &Model) -> Result<Graph> {
    let mut recorder = Recorder::default();
    let last = model.forward(&mut recorder)?;
    recorder.node("Identity", "", &[&last], OUTPUT.into(), vec![]);
    let dimension = |name: &&str| proto::Dimension { value: None, parameter: Some((*name).into()) };
    let value = |name: &str, elem_type, dim| proto::ValueInfo {
        name: name.into(),
        kind: Some(proto::Type { tensor: Some(proto::TensorType { elem_type, shape: Some(proto::Shape { dim }) }) }),
    };
    let element = |input: &Input| match input {
        Input::Lengths => proto::INT32,
        Input::Averages(_) | Input::Beyond => proto::FLOAT,
        _ => proto::INT64,
    };
    let graph = proto::Graph {
        node: recorder.nodes,
        name: "patina".into(),
        initializer: recorder.initializers,
        input: recorder
            .inputs
            .iter()
            .map(|input| value(input.name(), element(input), input.dimensions().iter().map(dimension).collect()))
            .collect(),
        output: vec![value(
            OUTPUT,
            proto::FLOAT,
            vec![dimension(&"rows"), proto::Dimension { value: Some(model.dimensions() as i64), parameter: None }],
        )],
    };
    let opset = |domain: &str, version| proto::OperatorSet { domain: domain.into(), version };
    let model = proto::Model {
        ir_version: IR_VERSION,
        producer_name: "patina".into(),
        graph: Some(graph),
        opset_import: vec![opset("", OPSET), opset("com.microsoft", MICROSOFT_OPSET)],
    };
    Ok(Graph { bytes: model.encode_to_vec(), inputs: recorder.inputs, parameters: recorder.parameters })
}

#[derive(Default)]
struct Recorder {
    nodes: Vec<proto::Node>,
    initializers: Vec<proto::Tensor>,
    parameters: BTreeSet<String>,
    inputs: Vec<Input>,
    constants: BTreeSet<String>,
}

/// The name of a value in the graph.
type Value = String;

impl Recorder {
    fn node(&mut self, op: &str, domain: &str, inputs: &[&str], output: Value, attribute: Vec<Attribute>) -> Value {
        self.nodes.push(proto::Node {
            input: inputs.iter().map(|&name| name.into()).collect(),
            output: vec![output.clone()],
            name: format!("{op}_{}", self.nodes.len()),
            op_type: op.into(),
            attribute,
            domain: domain.into(),
        });
        output
    }

    /// A node of the standard domain with a fresh output.
    fn op(&mut self, op: &str, inputs: &[&str], attribute: Vec<Attribute>) -> Value {
        let output = format!("v{}", self.nodes.len());
        self.node(op, "", inputs, output, attribute)
    }

    /// A node of ONNX Runtime's own domain with a fresh output.
    fn fused(&mut self, op: &str, inputs: &[&str], attribute: Vec<Attribute>) -> Value {
        let output = format!("v{}", self.nodes.len());
        self.node(op, "com.microsoft", inputs, output, attribute)
    }

    fn input(&mut self, input: Input) -> Result<Value> {
        match self.inputs.iter().find(|known| known.name() == input.name()) {
            Some(known) if *known == input => {}
            // Two pooling weights or two position offsets in one model: no architecture has them.
            Some(_) => {
                return Err(EngineError::Runtime {
                    runtime: Runtime::Onnx,
                    doing: "build the graph",
                    reason: format!("the input {} is asked for in two forms", input.name()),
                });
            }
            None => self.inputs.push(input),
        }
        Ok(input.name().into())
    }

    /// An initializer whose bytes are given when the session is made.
    fn parameter(&mut self, param: &Param) -> Value {
        if self.parameters.insert(param.name().to_owned()) {
            let entry = |key: &str, value: &str| proto::StringEntry { key: key.into(), value: value.into() };
            self.initializers.push(proto::Tensor {
                dims: param.shape().iter().map(|&n| n as i64).collect(),
                data_type: proto::FLOAT,
                name: param.name().to_owned(),
                raw_data: None,
                // Never opened: every parameter is given by name.
                external_data: vec![entry("location", "model.safetensors")],
                data_location: Some(proto::EXTERNAL),
            });
        }
        param.name().to_owned()
    }

    fn constant(&mut self, name: String, data_type: i32, dims: Vec<i64>, raw: Vec<u8>) -> Value {
        if self.constants.insert(name.clone()) {
            self.initializers.push(proto::Tensor {
                dims,
                data_type,
                name: name.clone(),
                raw_data: Some(raw),
                external_data: vec![],
                data_location: None,
            });
        }
        name
    }

    fn ints(&mut self, values: &[i64]) -> Value {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(format!("ints{values:?}"), proto::INT64, vec![values.len() as i64], raw)
    }

    fn scalar_int(&mut self, value: i64) -> Value {
        self.constant(format!("int {value}"), proto::INT64, vec![], value.to_le_bytes().to_vec())
    }

    fn scalar_float(&mut self, value: f32) -> Value {
        self.constant(format!("float {value:e}"), proto::FLOAT, vec![], value.to_le_bytes().to_vec())
    }

    fn gather(&mut self, x: &str, indices: &str) -> Value {
        self.op("Gather", &[x, indices], vec![Attribute::int("axis", 0)])
    }
}

impl Ops for Recorder {
    type Tensor = Value;

    fn token_embedding(&mut self, table: &Param) -> Result<Value> {
        let table = self.parameter(table);
        let ids = self.input(Input::Ids)?;
        Ok(self.gather(&table, &ids))
    }

    fn position_embedding(&mut self, table: &Param, offset: usize) -> Result<Value> {
        let table = self.parameter(table);
        let positions = self.input(Input::Positions(offset))?;
        Ok(self.gather(&table, &positions))
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

    fn columns(&mut self, x: &Value, start: usize, width: usize) -> Result<Value> {
        let [start, end, axis] = [start, start + width, 1].map(|n| self.ints(&[n as i64]));
        Ok(self.op("Slice", &[x, &start, &end, &axis], vec![]))
    }

    fn concat(&mut self, parts: &[Value]) -> Result<Value> {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok(self.op("Concat", &parts, vec![Attribute::int("axis", -1)]))
    }

    fn linear(&mut self, x: &Value, linear: &Linear) -> Result<Value> {
        let weight = self.parameter(&linear.weight);
        let transposed = vec![Attribute::int("transB", 1)];
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
        let bias = self.parameter(&norm.bias);
        let epsilon = Attribute::float("epsilon", norm.epsilon);
        Ok(match residual {
            Some(residual) => self.fused("SkipLayerNormalization", &[x, residual, &weight, &bias], vec![epsilon]),
            None => self.op("LayerNormalization", &[x, &weight, &bias], vec![epsilon, Attribute::int("axis", -1)]),
        })
    }

    fn activation(&mut self, x: &Value, activation: Activation) -> Result<Value> {
        Ok(match activation {
            Activation::Gelu => self.fused("Gelu", &[x], vec![]),
            Activation::GeluTanh => self.fused("FastGelu", &[x], vec![]),
            Activation::Relu => self.op("Relu", &[x], vec![]),
            Activation::Silu => self.fused("QuickGelu", &[x], vec![Attribute::float("alpha", 1.0)]),
            Activation::Tanh => self.op("Tanh", &[x], vec![]),
        })
    }

    fn attention(&mut self, q: &Value, k: &Value, v: &Value, attention: Attention) -> Result<Value> {
        let pad = self.input(Input::Pad)?;
        let unpad = self.input(Input::Unpad)?;
        let lengths = self.input(Input::Lengths)?;
        let [q, k, v] = [q, k, v].map(|x| self.gather(x, &pad));
        let heads = Attribute::int("num_heads", attention.heads as i64);
        let attended = self.fused("MultiHeadAttention", &[&q, &k, &v, "", &lengths], vec![heads]);
        let flat = self.op("Flatten", &[&attended], vec![Attribute::int("axis", 2)]);
        Ok(self.gather(&flat, &unpad))
    }

    fn take(&mut self, x: &Value, token: Token) -> Result<Value> {
        let which = self.input(match token {
            Token::First => Input::Firsts,
            Token::Last => Input::Lasts,
        })?;
        Ok(self.gather(x, &which))
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
        Ok(self.op("ReduceMax", &[&masked, &axis], vec![Attribute::int("keepdims", 0)]))
    }

    fn normalize(&mut self, x: &Value) -> Result<Value> {
        let axis = self.ints(&[-1]);
        let norm = self.op("ReduceL2", &[x, &axis], vec![Attribute::int("keepdims", 1)]);
        let least = self.scalar_float(NORM_EPSILON);
        let norm = self.op("Max", &[&norm, &least], vec![]);
        Ok(self.op("Div", &[x, &norm], vec![]))
    }
}
