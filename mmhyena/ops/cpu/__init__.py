"""Operators in forms that pay on a CPU alone."""
