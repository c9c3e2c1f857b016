//! The operators of Patina's own that its graphs use beside ONNX Runtime's: kernels of `kernels/` behind the interface for custom operators.

#![allow(unsafe_code)] // Disjoint parts of one output are written by several threads; each says why they are disjoint.

use std::cell::RefCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use half::bf16;
use ort::operator::{BoxedKernel, ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput};
use ort::value::{DynValue, PrimitiveTensorElementType, TensorElementType, ValueRef};
use ort::{Error, Result};

use crate::kernels::attention::{Scratch, Task, attend};
use crate::kernels::linear::{self, Each, Hands, Linear, Weight};
use crate::kernels::norm::{Norm, normalize};
use crate::kernels::quantize::{Products, dequantize, quantize};
use crate::kernels::shared::Shared;

/// The domain of these operators.
pub(crate) const DOMAIN: &str = "patina";

/// Attention on packed rows. Inputs: queries, keys, values, where rows start (int64 `[rows + 1]`), and optionally what is added to scores
/// by distance, `[2 * longest - 1, heads]`, and which token of each row asks (int64 `[rows]`), where not all do. Attributes: `heads`,
/// `kv_heads`, `scale`, `before`, `after`.
pub(crate) const ATTENTION: &str = "Attention";
/// `x` `[rows, in]`, the weight `[out, in]`, optionally the bias.
pub(crate) const LINEAR: &str = "Linear";
/// As [`LINEAR`], of a weight in bf16.
pub(crate) const LINEAR_BF16: &str = "LinearBf16";
/// `x`, the weight, optionally the bias, optionally a residual. Attributes: `epsilon`, `centred`.
pub(crate) const NORM: &str = "Norm";
/// `x` `[rows, in]` to integers, a scale and a zero for each row.
pub(crate) const QUANTIZE: &str = "Quantize";
/// Sums of products `[rows, out]` (int32), the rows' scales and zeros, the weight's scales and sums, optionally the bias.
pub(crate) const DEQUANTIZE: &str = "Dequantize";

/// Work, in multiplications or so, below which another thread costs more than it brings.
const WORTH_A_THREAD: usize = 100_000;

/// All of them, for a session of so many threads.
pub(crate) fn domain(threads: usize) -> Result<OperatorDomain> {
    OperatorDomain::new(DOMAIN)?
        .add(AttentionOperator)?
        .add(LinearOperator { bf16: false, threads })?
        .add(LinearOperator { bf16: true, threads })?
        .add(NormOperator)?
        .add(QuantizeOperator)?
        .add(DequantizeOperator)
}

/// A kernel that gives a panic back as an error: it is called from C++, where a panic would end the process.
fn kernel<'a>(mut compute: impl FnMut(&ComputeContext) -> Result<()> + Send + 'a) -> BoxedKernel<'a> {
    Box::new(move |context: &ComputeContext| {
        catch_unwind(AssertUnwindSafe(|| compute(context))).unwrap_or_else(|_| Err(Error::new("an operator panicked")))
    })
}

const FLOAT: TensorElementType = TensorElementType::Float32;

fn input(context: &ComputeContext, at: usize) -> Result<ValueRef<'_>> {
    context.input(at)?.ok_or_else(|| Error::new(format!("input {at} is missing")))
}

/// An optional input's values.
fn values<'a>(value: &'a Option<ValueRef<'_>>) -> Result<Option<&'a [f32]>> {
    value.as_ref().map(|value| Ok(value.try_extract_tensor::<f32>()?.1)).transpose()
}

fn wrong(what: &str) -> Error {
    Error::new(format!("{what} does not fit the other inputs"))
}

/// Runs `work` on parts of `rows` that cover them, on several threads if `cost` a row makes it worth while.
fn in_parts(context: &ComputeContext, rows: usize, cost: usize, work: impl Fn(Range<usize>) + Send + Sync) -> Result<()> {
    /// Parts are small enough that threads end at about the same time.
    const PARTS: usize = 16;
    if rows.saturating_mul(cost) < WORTH_A_THREAD {
        work(0..rows);
        return Ok(());
    }
    let size = rows.div_ceil(PARTS).max(1);
    whole(context, rows.div_ceil(size), |part| work(part * size..rows.min((part + 1) * size)))
}

/// Runs `work` for every number below `count` on the session's threads. A panic on one of them becomes an error.
fn whole(context: &ComputeContext, count: usize, work: impl Fn(usize) + Send + Sync) -> Result<()> {
    let panicked = std::sync::atomic::AtomicBool::new(false);
    context.par_for(count, 0, |at| {
        if catch_unwind(AssertUnwindSafe(|| work(at))).is_err() {
            panicked.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    })?;
    match panicked.into_inner() {
        true => Err(Error::new("an operator panicked")),
        false => Ok(()),
    }
}

fn attribute(context: &KernelContext<'_>, name: &str) -> Result<i64> {
    context.get(name).ok_or_else(|| Error::new(format!("the attribute {name} is missing")))
}

fn number(context: &KernelContext<'_>, name: &str) -> Result<f32> {
    context.get(name).ok_or_else(|| Error::new(format!("the attribute {name} is missing")))
}

fn count(context: &KernelContext<'_>, name: &str) -> Result<usize> {
    usize::try_from(attribute(context, name)?).map_err(|_| Error::new(format!("the attribute {name} is negative")))
}

/// See [`ATTENTION`].
struct AttentionOperator;

impl Operator for AttentionOperator {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        ATTENTION
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let float = || OperatorInput::required(FLOAT);
        let int = TensorElementType::Int64;
        [float(), float(), float(), OperatorInput::required(int), OperatorInput::optional(FLOAT), OperatorInput::optional(int)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(FLOAT)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> Result<BoxedKernel<'attr>> {
        let (heads, kv_heads) = (count(context, "heads")?, count(context, "kv_heads")?);
        let (before, after) = (count(context, "before")?, count(context, "after")?);
        let scale = number(context, "scale")?;
        if kv_heads == 0 || heads % kv_heads != 0 {
            return Err(Error::new("heads are no multiple of the heads of keys"));
        }
        Ok(kernel(move |context| {
            let (q, k, v, starts) = (input(context, 0)?, input(context, 1)?, input(context, 2)?, input(context, 3)?);
            let by_distance = context.input(4)?;
            let by_distance = values(&by_distance)?;
            let asking = context.input(5)?;
            let asking = asking.as_ref().map(|value| Ok::<_, Error>(value.try_extract_tensor::<i64>()?.1)).transpose()?;
            let (shape, q) = q.try_extract_tensor::<f32>()?;
            let (k, v) = (k.try_extract_tensor::<f32>()?.1, v.try_extract_tensor::<f32>()?.1);
            let starts = starts.try_extract_tensor::<i64>()?.1;
            let (queries, q_stride) = (shape[0] as usize, shape[1] as usize);
            if starts.first() != Some(&0) || !starts.is_sorted() {
                return Err(wrong("the starts of the rows"));
            }
            let tokens = starts.last().map_or(0, |&end| end as usize);
            let size = q_stride / heads;
            let kv_stride = size * kv_heads;
            if k.len() != tokens * kv_stride || v.len() != k.len() || size * heads != q_stride {
                return Err(wrong("the keys or the values"));
            }
            let rows = starts.len() - 1;
            let row = |at: usize| starts[at] as usize..starts[at + 1] as usize;
            let fits = match asking {
                None => queries == tokens,
                Some(asking) => {
                    let lies = |(at, &token): (usize, &i64)| usize::try_from(token).is_ok_and(|token| row(at).contains(&token));
                    queries == rows && asking.len() == rows && asking.iter().enumerate().all(lies)
                }
            };
            if !fits {
                return Err(wrong("the queries"));
            }
            // The places in a row whose queries are there, and the first of them among all queries.
            let asked = |at: usize| match asking {
                None => (0..row(at).len(), row(at).start),
                Some(asking) => {
                    let place = asking[at] as usize - row(at).start;
                    (place..place + 1, at)
                }
            };
            let longest = (0..rows).map(|at| row(at).len()).max().unwrap_or(0);
            if by_distance.is_some_and(|bias| bias.len() != (2 * longest).saturating_sub(1) * heads) {
                return Err(wrong("the bias"));
            }
            let mut out = context.output(0, shape.to_vec())?.ok_or_else(|| Error::new("the output is missing"))?;
            let out = Shared::new(out.try_extract_tensor_mut::<f32>()?.1);
            let one = |task: usize| {
                let (range, head) = (row(task / heads), task % heads);
                let length = range.len();
                if length == 0 {
                    return;
                }
                let kv_head = head / (heads / kv_heads);
                let (queries, first) = asked(task / heads);
                let (first, kv_first) = (first * q_stride + head * size, range.start * kv_stride + kv_head * size);
                // Of the distances that this row has, which lie in the middle.
                let bias: Option<Vec<f32>> = by_distance
                    .map(|bias| (longest - length..longest + length - 1).map(|distance| bias[distance * heads + head]).collect());
                let task = Task {
                    q: &q[first..],
                    k: &k[kv_first..],
                    v: &v[kv_first..],
                    q_stride,
                    kv_stride,
                    queries: queries.clone(),
                    tokens: length,
                    size,
                    scale,
                    before,
                    after,
                    bias: bias.as_deref(),
                };
                thread_local! {
                    static SCRATCH: RefCell<Scratch> = RefCell::default();
                }
                SCRATCH.with_borrow_mut(|scratch| {
                    attend(&task, scratch);
                    for (at, computed) in scratch.out.chunks_exact(size).take(queries.len()).enumerate() {
                        let place = first + at * q_stride;
                        // SAFETY: the output lives until this kernel returns, and no other task has this row and head.
                        unsafe { out.part(place..place + size) }.copy_from_slice(computed);
                    }
                });
            };
            let work: usize = (0..rows).map(|at| row(at).len() * asked(at).0.len()).sum::<usize>().saturating_mul(q_stride);
            if work < WORTH_A_THREAD {
                (0..rows * heads).for_each(one);
                return Ok(());
            }
            whole(context, rows * heads, one)
        }))
    }
}

/// See [`LINEAR`] and [`LINEAR_BF16`].
struct LinearOperator {
    bf16: bool,
    threads: usize,
}

impl Operator for LinearOperator {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        if self.bf16 { LINEAR_BF16 } else { LINEAR }
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let weight = if self.bf16 { TensorElementType::Bfloat16 } else { FLOAT };
        [OperatorInput::required(FLOAT), OperatorInput::required(weight), OperatorInput::optional(FLOAT)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(FLOAT)]
    }

    fn create_kernel<'attr>(&self, _: &KernelContext<'attr>) -> Result<BoxedKernel<'attr>> {
        let (half, threads) = (self.bf16, self.threads);
        Ok(kernel(move |context| {
            let (x, weight, bias) = (input(context, 0)?, input(context, 1)?, context.input(2)?);
            let (shape, x) = x.try_extract_tensor::<f32>()?;
            let (of_weight, weight) = match half {
                true => weight.try_extract_tensor::<bf16>().map(|(shape, weight)| (shape, Weight::Bf16(weight)))?,
                false => weight.try_extract_tensor::<f32>().map(|(shape, weight)| (shape, Weight::F32(weight)))?,
            };
            let bias = values(&bias)?;
            let (&[rows, inputs], &[outputs, of_inputs]) = (&**shape, &**of_weight) else {
                return Err(wrong("the weight"));
            };
            if inputs != of_inputs || inputs == 0 || bias.is_some_and(|bias| bias.len() != outputs as usize) {
                return Err(wrong("the weight or the bias"));
            }
            let mut out = context.output(0, [rows, outputs])?.ok_or_else(|| Error::new("the output is missing"))?;
            let linear = Linear { x, weight, bias, inputs: inputs as usize, outputs: outputs as usize };
            let cost = (rows as usize).saturating_mul(linear.inputs).saturating_mul(linear.outputs);
            let each: Each<'_, Error> = &|count, work| match cost < WORTH_A_THREAD {
                true => {
                    (0..count).for_each(work);
                    Ok(())
                }
                false => whole(context, count, work),
            };
            linear::compute(&linear, out.try_extract_tensor_mut::<f32>()?.1, &Hands { each, threads })
        }))
    }
}

/// See [`NORM`].
struct NormOperator;

impl Operator for NormOperator {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        NORM
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(FLOAT), OperatorInput::required(FLOAT), OperatorInput::optional(FLOAT), OperatorInput::optional(FLOAT)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(FLOAT)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> Result<BoxedKernel<'attr>> {
        let epsilon = number(context, "epsilon")?;
        let centred = attribute(context, "centred")? != 0;
        Ok(kernel(move |context| {
            let (x, weight, bias, residual) = (input(context, 0)?, input(context, 1)?, context.input(2)?, context.input(3)?);
            let (shape, x) = x.try_extract_tensor::<f32>()?;
            let weight = weight.try_extract_tensor::<f32>()?.1;
            let (bias, residual) = (values(&bias)?, values(&residual)?);
            let size = weight.len();
            if size == 0 || !x.len().is_multiple_of(size) || bias.is_some_and(|bias| bias.len() != size) {
                return Err(wrong("the weight or the bias"));
            }
            if residual.is_some_and(|residual| residual.len() != x.len()) {
                return Err(wrong("the residual"));
            }
            let mut out = context.output(0, shape.to_vec())?.ok_or_else(|| Error::new("the output is missing"))?;
            let out = Shared::new(out.try_extract_tensor_mut::<f32>()?.1);
            in_parts(context, x.len() / size, size, |rows| {
                let part = rows.start * size..rows.end * size;
                // SAFETY: the output lives until this kernel returns, and parts of rows are disjoint.
                let out = unsafe { out.part(part.clone()) };
                normalize(&x[part.clone()], residual.map(|residual| &residual[part]), &Norm { weight, bias, epsilon, centred }, out);
            })
        }))
    }
}

/// See [`QUANTIZE`].
struct QuantizeOperator;

impl Operator for QuantizeOperator {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        QUANTIZE
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(FLOAT)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [TensorElementType::Uint8, FLOAT, TensorElementType::Int32].map(OperatorOutput::required)
    }

    fn create_kernel<'attr>(&self, _: &KernelContext<'attr>) -> Result<BoxedKernel<'attr>> {
        Ok(kernel(|context| {
            let x = input(context, 0)?;
            let (shape, x) = x.try_extract_tensor::<f32>()?;
            let (rows, size) = (shape[0] as usize, shape[1] as usize);
            let missing = || Error::new("an output is missing");
            let mut integers = context.output(0, [rows, size])?.ok_or_else(missing)?;
            let mut scales = context.output(1, [rows])?.ok_or_else(missing)?;
            let mut zeros = context.output(2, [rows])?.ok_or_else(missing)?;
            let integers = Shared::new(integers.try_extract_tensor_mut::<u8>()?.1);
            let scales = Shared::new(scales.try_extract_tensor_mut::<f32>()?.1);
            let zeros = Shared::new(zeros.try_extract_tensor_mut::<i32>()?.1);
            in_parts(context, rows, size, |rows| {
                let part = rows.start * size..rows.end * size;
                // SAFETY: the outputs live until this kernel returns, and parts of rows are disjoint.
                let (integers, scales, zeros) = unsafe { (integers.part(part.clone()), scales.part(rows.clone()), zeros.part(rows)) };
                quantize(&x[part], size, integers, scales, zeros);
            })
        }))
    }
}

/// See [`DEQUANTIZE`].
struct DequantizeOperator;

impl Operator for DequantizeOperator {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        DEQUANTIZE
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let int = || OperatorInput::required(TensorElementType::Int32);
        let float = || OperatorInput::required(FLOAT);
        [int(), float(), int(), float(), int(), OperatorInput::optional(FLOAT)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(FLOAT)]
    }

    fn create_kernel<'attr>(&self, _: &KernelContext<'attr>) -> Result<BoxedKernel<'attr>> {
        Ok(kernel(|context| {
            let (sums, scales, zeros) = (input(context, 0)?, input(context, 1)?, input(context, 2)?);
            let (weight_scales, weight_sums, bias) = (input(context, 3)?, input(context, 4)?, context.input(5)?);
            let (shape, sums) = sums.try_extract_tensor::<i32>()?;
            let (rows, outputs) = (shape[0] as usize, shape[1] as usize);
            let scales = of_length::<f32>(&scales, rows)?;
            let zeros = of_length::<i32>(&zeros, rows)?;
            let weight_scales = of_length::<f32>(&weight_scales, outputs)?;
            let weight_sums = of_length::<i32>(&weight_sums, outputs)?;
            let bias = values(&bias)?;
            if bias.is_some_and(|bias| bias.len() != outputs) {
                return Err(wrong("the bias"));
            }
            let mut out = context.output(0, shape.to_vec())?.ok_or_else(|| Error::new("the output is missing"))?;
            let out = Shared::new(out.try_extract_tensor_mut::<f32>()?.1);
            in_parts(context, rows, outputs, |rows| {
                let part = rows.start * outputs..rows.end * outputs;
                // SAFETY: the output lives until this kernel returns, and parts of rows are disjoint.
                let out = unsafe { out.part(part.clone()) };
                let (scales, zeros) = (&scales[rows.clone()], &zeros[rows]);
                dequantize(&Products { sums: &sums[part], scales, zeros, weight_scales, weight_sums, bias }, out);
            })
        }))
    }
}

fn of_length<T: PrimitiveTensorElementType>(value: &DynValue, length: usize) -> Result<&[T]> {
    let values = value.try_extract_tensor::<T>()?.1;
    if values.len() == length { Ok(values) } else { Err(wrong("a scale, a zero or a sum")) }
}
