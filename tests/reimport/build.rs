//! Has burn-import write Burn code for the exported model. It shares no line with the exporter.

use std::env;
use std::path::PathBuf;

use burn_import::ModelGen;
use burn_import::onnx::LoadStrategy;

fn main() {
    println!("cargo::rerun-if-env-changed=REIMPORT_DIR");
    let Some(directory) = env::var_os("REIMPORT_DIR").map(PathBuf::from) else {
        return fail("REIMPORT_DIR, the directory of model.onnx and windows.safetensors, is not set");
    };
    let model = directory.join("model.onnx");
    println!("cargo::rerun-if-changed={}", model.display());
    if !model.is_file() {
        return fail(&format!("there is no {}", model.display()));
    }
    let Some(model) = model.to_str() else {
        return fail("REIMPORT_DIR is not UTF-8, which the importer needs");
    };
    ModelGen::new()
        .input(model)
        .out_dir("model/")
        // Of the strategies that load weights, the one that writes no absolute path into the code.
        .load_strategy(LoadStrategy::Bytes)
        .run_from_script();
}

fn fail(what: &str) {
    println!("cargo::error={what}: `make test-reimport` exports a model and tests how it is read back");
}
