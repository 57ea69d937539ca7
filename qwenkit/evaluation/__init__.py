"""EVALUATE: logits in; metrics, predictions, comparisons and the report out."""
