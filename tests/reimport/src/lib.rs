//! The exported model as burn-import understood it: generated code and the weights beside it.

#[allow(unused_variables)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/model/model.rs"));
}
pub use generated::Model;

/// The weights that the importer took out of the file, for [`Model::from_bytes`].
pub const WEIGHTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/model/model.bpk"));
