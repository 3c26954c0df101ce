"""Real RabbitMQ nodes: where they are installed, how they are configured and run."""
