"""Inference with detectors, segmentors and classifiers."""
