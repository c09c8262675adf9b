"""How commands end."""

import sys
from collections.abc import Callable

from nlf_jax.errors import UserError

USER_ERROR, INTERRUPTED = 2, 130


def exit_code(main: Callable[[], int | None]) -> int:
    """What ``main`` gives, None as 0; 2 after a user's mistake, in a line; 130 after Ctrl-C."""
    try:
        return main() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"error: {error.strerror or error}{where}", file=sys.stderr)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        print("error: the memory is not enough: use smaller batches or layers.", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return USER_ERROR
