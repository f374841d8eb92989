"""Language models on tokens: speech continued, and text read out. Needs the extra ``codec[lm]``."""
