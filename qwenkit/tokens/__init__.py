"""TOKENIZE: text in, token ids and lengths out, by one function for training and prediction."""
