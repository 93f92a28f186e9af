"""Requests to forget: `prepare`, `delete`, `verify` and `purge`.

A request starts from the last published model and from D without all that was ever forgotten. It
is published as a folder with a line in the ledger, or not at all.
"""
