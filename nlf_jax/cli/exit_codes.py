"""How the tools here end."""

import sys
from collections.abc import Callable

from nlf_jax.errors import UserError


def exit_code(main: Callable[[], int | None]) -> int:
    """What ``main`` gives, None as 0; 2 after a user's mistake, told in one line."""
    try:
        return main() or 0
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
