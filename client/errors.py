"""The errors that end a command, with one sentence and an exit code."""

from __future__ import annotations


class ClientError(Exception):
    """Ends the command with one line on stderr and exit code 1."""

    exit_code = 1

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class UsageError(ClientError):
    """The command line is wrong."""

    exit_code = 2


class Refused(ClientError):
    """The service answered with a problem; `code` is its stable code."""

    def __init__(self, sentence: str, code: str) -> None:
        super().__init__(sentence)
        self.code = code


class Unreachable(ClientError):
    """The service did not answer within the caller's patience."""
