"""MODELING: base model, quantization, adapters, the bundle beside every model, and the one forward."""
