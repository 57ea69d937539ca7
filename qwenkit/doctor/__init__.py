"""Is this machine fit, and is this config or model sound? Each question is one small check in an open list.

It lies beside the pipeline and not in modeling/, since it asks the data, the hub and the tokenizer as well.
"""
