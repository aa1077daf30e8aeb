"""Other servers in the place of those that run: the policy, the pods, and the way back."""
