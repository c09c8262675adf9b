"""The one exception that a user's mistake or environment can cause."""


class UserError(Exception):
    """A problem with input, files or settings, told in one sentence that says what to do.

    The command line prints it without a traceback; library code may catch it.
    """
