"""Generator losses. A new one is one file in this folder with ``@loss("type")``."""
