"""Operators as Triton kernels. Importing :mod:`kernel` needs Triton; nothing else does."""
