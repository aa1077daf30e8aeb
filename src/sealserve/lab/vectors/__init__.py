"""Conformance vectors: genuine evidence of the lab, and the same with one thing changed each.

Every check that a DCAP verifier has to make is made to fail by one change, and what is signed is
signed again by whom it must be, so that no other check can object. The cases test our own verifier,
and `sealserve lab vectors` publishes them for others. All of it is SIMULATED.

    case          what a case is
    original      genuine evidence, and how to change one thing in it
    originals     that evidence, of every form of quote
    reissuing     certificates and CRLs issued again with one difference
    catalogue     all cases: which are made for which form of quote
    publishing    them as a folder of files, for other projects
    replaying     our verifier over such a folder

The other modules are the cases, by what they change.
"""
