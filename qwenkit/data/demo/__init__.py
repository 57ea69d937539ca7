"""A small labelled data set inside the package: documentation prose, and machine text made from it."""

from qwenkit.data.demo.build import DEMO_REVISION, make_demo_rows

__all__ = ["DEMO_REVISION", "make_demo_rows"]
