"""Alerts: candidates that trigger get names, a past, stamps, and wait as packets in the outbox.

Nothing is exported here: sending packets (`send`) or gathering their light curves (`curves`) imports little,
making them (`run`) the better part of the package.
"""
