//! The number format of an index's vectors.

use serde::Serialize;

/// How the vectors of an index are kept. The formats of fewer bits find candidates, which are compared again in single precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scalar {
    /// Single precision: 4 bytes a number.
    #[default]
    F32,
    /// Half precision: 2 bytes a number.
    F16,
    /// A whole number from -127 to 127, scaled so that a vector's greatest number is 127.
    I8,
    /// The sign alone: 8 numbers a byte.
    B1,
}

impl Scalar {
    /// Every format, the default first.
    pub const ALL: [Scalar; 4] = [Scalar::F32, Scalar::F16, Scalar::I8, Scalar::B1];

    /// The word in recipes and manifests.
    pub fn name(self) -> &'static str {
        match self {
            Scalar::F32 => "f32",
            Scalar::F16 => "f16",
            Scalar::I8 => "i8",
            Scalar::B1 => "b1",
        }
    }

    /// Whether it is the default, which a recipe's hash leaves out.
    pub fn is_default(&self) -> bool {
        *self == Scalar::default()
    }
}
