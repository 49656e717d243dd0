"""Measurements. Each target writes bench/results/<target>.json; none is a test."""
