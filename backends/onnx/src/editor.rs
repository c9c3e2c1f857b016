//! From a recorded graph to a session, through ONNX Runtime's model editor: initializers are handed over as values that lie where they lie.

use half::bf16;
use ort::editor;
use ort::memory::Allocator;
use ort::operator::Attribute as OrtAttribute;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{
    DynTensor, DynValue, Outlet, PrimitiveTensorElementType, Shape, SymbolicDimensions, Tensor, TensorElementType, ValueType,
};

use crate::graph::{Attribute, Constant, Graph, LEAST_IN_PLACE, Node, OPERATOR_SETS, OUTPUT};
use crate::inputs::{Data, Input};

/// A session that computes the graph with these tensors, which must outlive it: ONNX Runtime does not copy them.
pub(crate) fn session(
    graph: Graph,
    tensors: Vec<(String, DynValue)>,
    dimensions: usize,
    builder: &mut SessionBuilder,
) -> ort::Result<Session> {
    let mut edited = editor::Graph::new()?;
    edited.set_inputs(graph.inputs.iter().map(|&input| outlet(input)))?;
    edited.set_outputs([named(OUTPUT, TensorElementType::Float32, [("rows", -1), ("", dimensions as i64)])])?;
    for (name, value) in tensors {
        let value: DynTensor = value.downcast()?;
        match value.data_type() {
            TensorElementType::Int8 => initializer::<i8>(&mut edited, name, value)?,
            TensorElementType::Bfloat16 => initializer::<bf16>(&mut edited, name, value)?,
            _ => initializer::<f32>(&mut edited, name, value)?,
        }
    }
    for constant in graph.constants {
        add_constant(&mut edited, constant)?;
    }
    for (number, Node { operator, domain, inputs, outputs, attributes }) in graph.nodes.into_iter().enumerate() {
        let attributes = attributes.into_iter().map(attribute).collect::<ort::Result<Vec<_>>>()?;
        edited.add_node(editor::Node::new(operator, domain, format!("{operator}_{number}"), &inputs, &outputs, attributes)?)?;
    }
    let sets = OPERATOR_SETS.iter().map(|&(domain, version)| editor::Opset::new(domain, version)).collect::<ort::Result<Vec<_>>>()?;
    let mut model = editor::Model::new(sets)?;
    model.set_graph(edited)?;
    // A session that is made of a model at once does not know operators of others; one that begins with a model in ONNX's own form does, and
    // this graph takes that one's place.
    let mut session = builder.edit_from_memory(&seed())?;
    session.apply_model(&model)?;
    session.into_session()
}

/// The smallest model that ONNX Runtime begins with: it gives one constant, and names the operator sets. In the wire format of protocol
/// buffers, by the field numbers of ONNX's `onnx.proto`.
fn seed() -> Vec<u8> {
    /// The version of the format, `IR_VERSION_2023_5_5`.
    const IR_VERSION: u8 = 9;
    const FLOAT: u8 = 1;
    fn number(field: u8, value: u8) -> Vec<u8> {
        vec![field << 3, value]
    }
    fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
        debug_assert!(field < 16 && value.len() < 128, "one byte for each");
        [&[field << 3 | 2, value.len() as u8], value].concat()
    }
    // AttributeProto: name, f (a fixed 32-bit number), type (field 20, whose tag takes two bytes).
    let attribute = [bytes(1, b"value_float"), vec![2 << 3 | 5, 0, 0, 0, 0], vec![0xa0, 0x01, FLOAT]].concat();
    // NodeProto: output, op_type, attribute.
    let node = [bytes(2, b"seed"), bytes(4, b"Constant"), bytes(5, &attribute)].concat();
    // ValueInfoProto: name, type; TypeProto: tensor_type; its elem_type and an empty shape.
    let output = [bytes(1, b"seed"), bytes(2, &bytes(1, &[number(1, FLOAT), bytes(2, &[])].concat()))].concat();
    // GraphProto: node, name, output.
    let graph = [bytes(1, &node), bytes(2, b"seed"), bytes(12, &output)].concat();
    let sets = OPERATOR_SETS.iter().map(|&(domain, version)| bytes(8, &[bytes(1, domain.as_bytes()), number(2, version as u8)].concat()));
    // ModelProto: ir_version, graph, opset_import.
    [number(1, IR_VERSION), bytes(7, &graph)].into_iter().chain(sets).flatten().collect()
}

/// Adds an initializer that stays where it lies, or a copy of it if it is too small for that.
fn initializer<T>(edited: &mut editor::Graph, name: String, value: DynTensor) -> ort::Result<()>
where
    T: PrimitiveTensorElementType + Copy + std::fmt::Debug,
{
    if value.shape().num_elements() * size_of::<T>() >= LEAST_IN_PLACE {
        return edited.add_initializer(name, value, true);
    }
    let (shape, values) = value.try_extract_tensor::<T>()?;
    edited.add_initializer(name, filled(shape.to_vec(), values)?, false)
}

fn outlet(input: Input) -> Outlet {
    let element = match input {
        Input::Averages(_) | Input::Beyond | Input::Distances => TensorElementType::Float32,
        _ => TensorElementType::Int64,
    };
    named(input.name(), element, input.dimensions().iter().map(|&name| (name, if name == "one" { 1 } else { -1 })))
}

/// Sizes by name; -1 varies from batch to batch.
fn named<'a>(name: &str, ty: TensorElementType, sizes: impl IntoIterator<Item = (&'a str, i64)>) -> Outlet {
    let (names, sizes): (Vec<String>, Vec<i64>) =
        sizes.into_iter().map(|(name, size)| (if size < 0 { name.to_owned() } else { String::new() }, size)).unzip();
    Outlet::new(name, ValueType::Tensor { ty, shape: Shape::new(sizes), dimension_symbols: SymbolicDimensions::new(names) })
}

fn attribute(attribute: Attribute) -> ort::Result<OrtAttribute> {
    match attribute {
        Attribute::Int(name, value) => OrtAttribute::new(name, value),
        Attribute::Float(name, value) => OrtAttribute::new(name, value),
    }
}

fn add_constant(edited: &mut editor::Graph, Constant { name, shape, data }: Constant) -> ort::Result<()> {
    match data {
        Data::Int64(values) => edited.add_initializer(name, filled(shape, &values)?, false),
        Data::Int32(values) => edited.add_initializer(name, filled(shape, &values)?, false),
        Data::Float(values) => edited.add_initializer(name, filled(shape, &values)?, false),
    }
}

/// A tensor in memory of ONNX Runtime's own, which it takes over.
fn filled<T: PrimitiveTensorElementType + Copy + std::fmt::Debug>(shape: Vec<i64>, values: &[T]) -> ort::Result<Tensor<T>> {
    let mut tensor = Tensor::<T>::new(&Allocator::default(), shape)?;
    tensor.extract_tensor_mut().1.copy_from_slice(values);
    Ok(tensor)
}
