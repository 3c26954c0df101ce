"""Walks the chain from configuration to the broker and stops at the first broken link.

`walk.diagnose` yields what each link is like; `session` speaks as much AMQP as that takes, and
leaves nothing behind on the broker: no queue, no exchange, no binding, no message.
"""
