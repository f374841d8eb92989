"""Evaluation: judges, peers, probes and reports. Needs the extra ``codec[eval]``."""
