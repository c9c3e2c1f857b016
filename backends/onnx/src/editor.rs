//! From a recorded graph to a session, through ONNX Runtime's model editor: initializers are handed over as values that lie where they lie.

use ort::editor;
use ort::memory::Allocator;
use ort::operator::Attribute as OrtAttribute;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{
    DynTensor, DynValue, Outlet, PrimitiveTensorElementType, Shape, SymbolicDimensions, Tensor, TensorElementType, ValueType,
};

use crate::graph::{Attribute, Constant, Graph, Node, OPERATOR_SETS, OUTPUT, initializer_name};
use crate::inputs::{Data, Input};

/// The most bytes of an initializer that ONNX Runtime wants to own.
const MOST_COPIED: usize = 127;

/// A session that computes the graph with these tensors, which must outlive it: ONNX Runtime does not copy them.
pub(crate) fn session(graph: Graph, tensors: Vec<(String, DynValue)>, dimensions: usize, builder: &SessionBuilder) -> ort::Result<Session> {
    let mut edited = editor::Graph::new()?;
    edited.set_inputs(graph.inputs.iter().map(|&input| outlet(input)))?;
    edited.set_outputs([named(OUTPUT, TensorElementType::Float32, [("rows", -1), ("", dimensions as i64)])])?;
    for (tensor, value) in tensors {
        let value: DynTensor = value.downcast()?;
        let name = initializer_name(&tensor);
        // A small one is taken only by copy.
        let numbers = value.shape().num_elements();
        match numbers * size_of::<f32>() > MOST_COPIED {
            true => edited.add_initializer(name, value, true)?,
            false => {
                let (shape, values) = value.try_extract_tensor::<f32>()?;
                edited.add_initializer(name, filled(shape.to_vec(), values)?, false)?;
            }
        }
    }
    for constant in graph.constants {
        add_constant(&mut edited, constant)?;
    }
    for (number, Node { operator, domain, inputs, output, attributes }) in graph.nodes.into_iter().enumerate() {
        let attributes = attributes.into_iter().map(attribute).collect::<ort::Result<Vec<_>>>()?;
        edited.add_node(editor::Node::new(operator, domain, format!("{operator}_{number}"), &inputs, [output], attributes)?)?;
    }
    let sets = OPERATOR_SETS.iter().map(|&(domain, version)| editor::Opset::new(domain, version)).collect::<ort::Result<Vec<_>>>()?;
    let mut model = editor::Model::new(sets)?;
    model.set_graph(edited)?;
    model.into_session(builder)
}

fn outlet(input: Input) -> Outlet {
    let element = match input {
        Input::Lengths => TensorElementType::Int32,
        Input::Averages(_) | Input::Beyond | Input::Window(_) | Input::Distances => TensorElementType::Float32,
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
        Attribute::Ints(name, values) => OrtAttribute::new(name, values),
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
