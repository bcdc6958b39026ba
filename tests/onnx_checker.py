"""Checks an ONNX file with the project's own checker: onnx_checker.py MODEL.onnx

Prints what it found as one JSON document. Exit codes: 0 valid, 1 not (the reason on stderr), 2 usage.
"""

import argparse
import json
import sys

import onnx
from google.protobuf.message import DecodeError


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    path = parser.parse_args().model
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        # Strict: a shape that can't be inferred, or is declared otherwise, is an error. Constants are followed into shapes too.
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        print(json.dumps(describe(model), indent=2))
    except (OSError, DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        sys.exit(f"{path}: {error}")


def describe(model):
    initializers = {value.name for value in model.graph.initializer}
    return {
        "ir_version": model.ir_version,
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "inputs": [tensor(value) for value in model.graph.input if value.name not in initializers],
        "outputs": [tensor(value) for value in model.graph.output],
        "operators": [node.op_type for node in model.graph.node],
        "metadata_props": {entry.key: entry.value for entry in model.metadata_props},
    }


def tensor(value):
    of = value.type.tensor_type
    return {
        "name": value.name,
        "type": onnx.TensorProto.DataType.Name(of.elem_type).lower(),
        "shape": [getattr(d, d.WhichOneof("value")) if d.WhichOneof("value") else None for d in of.shape.dim],
    }


if __name__ == "__main__":
    main()
