"""A mount that an earlier version left, in any state, is taken over by the present code."""
