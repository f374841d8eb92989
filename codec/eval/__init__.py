"""Evaluation: metrics, baselines, probes and reports. Needs the extra ``codec[eval]``."""
