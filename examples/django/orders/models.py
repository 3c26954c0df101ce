"""What the page shows: orders and what became of them."""

from django.db import models


class Order(models.Model):
    """One order, from the page to its result."""

    class State(models.TextChoices):
        """How far it has come."""

        QUEUED = "queued"
        WORKING = "working"
        DONE = "done"

    number = models.BigAutoField(primary_key=True)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    customer = models.CharField(max_length=40)
    result = models.CharField(max_length=100, blank=True)
    created = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        """Return what staff call it."""
        return f"order {self.number} of {self.customer}"
