"""Models as vectors: ``codec merge`` adds what branches of one base learned (docs/merging.md).

``vectors`` and ``folding`` are functions of state dicts, ``checks`` says what may not be merged, ``codecs`` and
``encoders`` read and write our models and those of transformers, ``merge`` puts them together.
"""
