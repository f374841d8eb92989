"""``codec tokenize`` as a step of a pipeline of datatrove, whose tasks are its ranks."""

from collections.abc import Iterable
from typing import Any

from codec.corpora.remote import Folder
from codec.corpora.run import TokenizeConfig, tokenize


class TokenizeShards:
    """Makes a corpus of tokens: ``SlurmPipelineExecutor(pipeline=[TokenizeShards(config, "corpus")], tasks=64, ...)``.

    datatrove calls it once for each of its tasks, which share the shards; the package is not imported here.
    """

    def __init__(self, config: TokenizeConfig, folder: str | Folder):
        """
        Args:
            config: settings of ``codec tokenize``; set ``workers`` to the cores of a task.
            folder: of the corpus, which all tasks share.
        """
        self.config = config
        self.folder = folder

    def __call__(self, data: Iterable[Any] | None = None, rank: int = 0, world_size: int = 1) -> Iterable[Any] | None:
        """Make this task's shards; what comes from steps before is passed on.

        Raises:
            CodecError: as :func:`codec.corpora.run.tokenize`.
        """
        tokenize(self.config, self.folder, (rank, world_size))
        return data
