"""What the pipeline's steps are made of: one job a module, plain values in and out."""
