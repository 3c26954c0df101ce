"""What workers do."""

import os
import time

from celery import shared_task

from orders.models import Order

SECONDS = 1.0


@shared_task
def work_at(number: int) -> str:
    """Work at an order and write its result down."""
    orders = Order.objects.filter(number=number)
    orders.update(state=Order.State.WORKING)
    time.sleep(SECONDS)
    result = f"packed by process {os.getpid()}"
    orders.update(state=Order.State.DONE, result=result)
    return result


@shared_task
def standing_order() -> None:
    """Order something on schedule, from inside a worker."""
    work_at.delay(Order.objects.create(customer="the standing order").number)
