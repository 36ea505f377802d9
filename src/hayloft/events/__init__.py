"""How consumers get the event log: in order, at least once, each at its own pace.

``local`` reads the directory's log, ``rabbitmq`` carries it through a broker; ``consumer`` is the loop that
deals with events one after the other and sets aside those that cannot be dealt with.
"""
