//! A reader of ONNX files that is not ours computes what ONNX Runtime computes from the exported model.

use std::path::PathBuf;

use burn::tensor::{Bytes, Device, Tensor, TensorData};
use retraind_reimport::{Model, WEIGHTS};
use safetensors::{Dtype, SafeTensors};

/// The same bound as the exporter's own check. Unit: the model's output, scaled counts.
const LARGEST_DIFFERENCE: f32 = 1e-5;

#[test]
fn the_imported_model_gives_onnx_runtimes_outputs() {
    let file = PathBuf::from(std::env::var_os("REIMPORT_DIR").expect("REIMPORT_DIR was set when this was built"))
        .join("windows.safetensors");
    let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("failed to read {}: {error}", file.display()));
    let saved = SafeTensors::deserialize(&bytes).unwrap();
    let (windows, shape) = floats(&saved, "windows");
    let (expected, expected_shape) = floats(&saved, "outputs");
    let [n, steps, features] = shape[..] else { panic!("windows are {shape:?}, not [n, steps, features]") };
    assert!(n > 0, "there is nothing to compare");

    let device = Device::flex();
    let model = Model::from_bytes(Bytes::from_bytes_vec(WEIGHTS.to_vec()), &device);
    let windows = Tensor::<3>::from_data(TensorData::new(windows, [n, steps, features]), &device);
    let outputs = model.forward(windows); // [n, 1]
    assert_eq!(outputs.dims().to_vec(), expected_shape);

    let outputs = outputs.into_data().try_to_vec::<f32>().unwrap();
    // Not a fold by `max`, which would pass over a NaN.
    let differences: Vec<f32> = outputs.iter().zip(&expected).map(|(ours, theirs)| (ours - theirs).abs()).collect();
    let largest = differences.iter().copied().max_by(f32::total_cmp).unwrap();
    println!("largest difference between burn-import and ONNX Runtime on {n} windows: {largest:e}");
    assert!(largest <= LARGEST_DIFFERENCE, "{largest:e} is more than {LARGEST_DIFFERENCE:e}");
}

fn floats(saved: &SafeTensors<'_>, name: &str) -> (Vec<f32>, Vec<usize>) {
    let tensor =
        saved.tensor(name).unwrap_or_else(|error| panic!("windows.safetensors has no usable `{name}`: {error}"));
    assert_eq!(tensor.dtype(), Dtype::F32, "`{name}`");
    let values = tensor.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    (values.collect(), tensor.shape().to_vec())
}
