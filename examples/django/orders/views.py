"""The page and the JSON behind it."""

import os

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from orders.models import Order
from orders.tasks import work_at

SHOWN = 12


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Show the page."""
    return render(request, "orders/index.html")


@require_GET
def recent(_request: HttpRequest) -> JsonResponse:
    """Return the newest orders."""
    fields = ("number", "customer", "state", "result")
    return JsonResponse({"orders": list(Order.objects.order_by("-number").values(*fields)[:SHOWN])})


@require_GET
def process(_request: HttpRequest) -> JsonResponse:
    """Return which process of the server answers."""
    return JsonResponse({"pid": os.getpid()})


@require_POST
def order(_request: HttpRequest) -> JsonResponse:
    """Queue an order."""
    new = Order.objects.create(customer="you")
    work_at.delay(new.number)
    return JsonResponse({"number": new.number}, status=202)
