"""Rows that belong together, from the pairs that say so."""

import numpy as np


def join_labels(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Make one cluster of every two that hold a pair; each keeps its smallest label.

    Args:
        labels: int64, shape (rows,); a label is the place of a row.
        first, second: Places of the rows of each pair, shape (pairs,).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(first):
        return labels
    nodes, ends = np.unique(np.concatenate([labels[first], labels[second]]), return_inverse=True)
    edges = np.ones(len(first), dtype=np.int8)
    graph = coo_array((edges, tuple(np.split(ends, 2))), shape=(len(nodes), len(nodes)))
    n_clusters, clusters = connected_components(graph, directed=False)
    smallest = np.full(n_clusters, len(labels))
    np.minimum.at(smallest, clusters, nodes)
    renamed = np.arange(len(labels))
    renamed[nodes] = smallest[clusters]
    return renamed[labels]
