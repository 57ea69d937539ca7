"""TRAIN: steps of documents in, a trained model out (step batches, loss, trainer, checkpoints)."""
