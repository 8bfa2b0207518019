"""OpenVINO, TensorFlow, LiteRT and ONNX Runtime side by side, on the networks of this project."""
