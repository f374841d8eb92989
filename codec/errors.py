"""The one exception that users are meant to see."""


class CodecError(Exception):
    """A problem that the caller can fix.

    The message is one line: what was found, and what to do about it. The command line prints it
    without a traceback and exits with a non-zero status.
    """
