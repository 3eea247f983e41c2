"""Captures made from captures, and captures compared: one module per operation.

An operation that makes a capture is a function from loaded captures to a
:class:`~townlet_replay.tools.derived.Derived`; :func:`~townlet_replay.tools.derived.write_capture`
puts it on disk.
"""
