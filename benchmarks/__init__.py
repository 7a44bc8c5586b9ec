"""Speed, memory and accuracy measurements, run as ``python -m benchmarks.NAME`` from a checkout."""
