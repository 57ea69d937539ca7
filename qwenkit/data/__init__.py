"""PREPARE: raw rows in, clean labelled splits out, with every row accounted for."""
