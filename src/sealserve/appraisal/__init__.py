"""Appraisal: claims against the owner's policy, with an explanation of the outcome. Pure."""
