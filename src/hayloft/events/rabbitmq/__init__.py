"""The event log through RabbitMQ, for consumers that are services of their own.

``relay`` publishes the directory's log, ``source`` is a queue as ``roles.EventSource``, ``dead_letters``
keeps what could not be dealt with, ``broker`` is the connection and what lies on the wire.
"""
