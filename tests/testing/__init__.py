"""Tests of the test support itself: a guard or an origin that does not do what it says hides defects."""
