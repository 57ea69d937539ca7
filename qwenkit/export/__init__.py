"""EXPORT: one module a format, the parity check that each must pass, and the model card."""
