"""The one exception that a user's mistake or environment can cause."""


class UserError(Exception):
    """A problem with input, files or settings, told in one sentence that says what to do.

    The command line prints it without a traceback; library code may catch it. The text may quote
    names and contents of files: it is `printable`, except that a newline stays one.

    Examples:
        >>> import nlf_jax
        >>> try:
        ...     nlf_jax.ModelConfig(model="af_cfs")
        ... except nlf_jax.UserError as error:
        ...     print(str(error).partition(";")[0])
        model is 'af_cfs'
    """

    def __init__(self, message: str):
        super().__init__("\n".join(map(printable, message.split("\n"))))


def printable(text: str) -> str:
    r"""The text with `\x1b`, `\udcff` and the like for what a terminal would obey or not show."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
