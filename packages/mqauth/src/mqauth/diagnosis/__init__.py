"""What the `mqauth` command and frameworks tell about credentials, without any command line.

`walk.diagnose` walks the chain from configuration to the broker, stops at the first broken link,
and yields what each link is like; `session` speaks as much AMQP as that takes, and leaves nothing
behind on the broker: no queue, no exchange, no binding, no message. `token_facts` tells about one
credential without giving it away.
"""
