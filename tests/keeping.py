"""Keeping a state elsewhere, as a user who writes it to disk or sends it to a worker does."""

import pickle


def stored_and_read(state):
    """Return a state after a round trip through bytes, which ``get_state`` promises to survive.

    The one place of the tests that unpickles: its own bytes, written a line before.
    """
    return pickle.loads(pickle.dumps(state))
