"""Where things stand in a protected file: nodes, groups and the MHT, as plain arithmetic.

A file is a sequence of 4096-byte nodes. Node 0 holds the metadata and the first 3072 bytes of the
data. What is longer goes on in groups: one MHT node (a node of the Merkle hash tree: keys and tags
of others), then the up to 96 data nodes that it speaks for. MHT node 0 is the root; MHT node `q`
also speaks for the MHT nodes `32q + 1` to `32q + 32`, so a parent stands before its children in
the file and depends on them.

Numbers: *data node* and *MHT node* count each kind from 0; a *physical node* is a place in the
file, in units of 4096 bytes from its start.

Source: Gramine 1.9, `common/src/protected_files/protected_files_format.h`, and
`get_node_numbers` in `protected_files.c`. This module only computes.
"""

from __future__ import annotations

NODE_BYTES = 4096
HEAD_BYTES = 3072  # of the data, in node 0
KEY_BYTES = 16
TAG_BYTES = 16
ENTRY_BYTES = KEY_BYTES + TAG_BYTES  # what an MHT node holds for each node that it speaks for
GROUP_DATA_NODES = 96
CHILD_MHT_NODES = 32
GROUP_BYTES = GROUP_DATA_NODES * NODE_BYTES


def data_nodes(size: int) -> int:
    """How many data nodes follow node 0 for `size` bytes of data."""
    return -(-max(size - HEAD_BYTES, 0) // NODE_BYTES)


def mht_nodes(size: int) -> int:
    """How many groups, and so MHT nodes, `size` bytes of data take."""
    return -(-data_nodes(size) // GROUP_DATA_NODES)


def inner_mht_nodes(size: int) -> int:
    """How many of them have children: those are always the first ones."""
    return -(-max(mht_nodes(size) - 1, 0) // CHILD_MHT_NODES)


def node_count(size: int) -> int:
    """How many physical nodes a file with `size` bytes of data has, node 0 included."""
    return 1 + mht_nodes(size) + data_nodes(size)


def physical_data_node(index: int) -> int:
    """The place of a data node."""
    return 2 + index + index // GROUP_DATA_NODES


def physical_mht_node(index: int) -> int:
    """The place of an MHT node: right before its data nodes."""
    return 1 + index * (1 + GROUP_DATA_NODES)


def child_entry(index: int) -> int:
    """Offset of an MHT node's entry in its parent; the root has none."""
    return (GROUP_DATA_NODES + (index - 1) % CHILD_MHT_NODES) * ENTRY_BYTES


def parent_mht_node(index: int) -> int:
    """The MHT node that speaks for MHT node `index`; the root has none."""
    return (index - 1) // CHILD_MHT_NODES
