"""Tables of the documents, written from the code by ``python -m townlet_replay.reference``."""
