"""What a credential may do on a broker, decided exactly as the broker decides it.

Nothing here speaks to a network or knows a framework. `scopes` and `wildcards` are RabbitMQ's
OAuth 2 scopes, `token_scopes` how a token comes to them, `regexes` its own ("open-source")
permissions, `operations` what each AMQP operation needs, `explain` puts a question to any of them,
and `versions` holds how brokers differ.
"""
