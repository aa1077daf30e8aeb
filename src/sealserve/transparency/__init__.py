"""A log that can only grow, and proofs of it: Merkle tree, proofs, signed checkpoints. Pure.

`tree` hashes and grows, `proofs` makes and verifies, `checkpoint` signs what the log's head is.
Sources: RFC 9162, section 2.1; C2SP signed-note and tlog-checkpoint. In our words,
`docs/formats.md`. This room stores nothing: it is handed leaves, and the nodes that it gave away.
"""
