"""Making models: labelled candidates from simulated nights, training, proofs, model cards.

The pipeline never imports this room, nor the libraries that only it needs (JAX, LightGBM, ONNX).
"""
