"""URLs of the page."""

from django.urls import path

from orders import views

app_name = "orders"
urlpatterns = [
    path("", views.index, name="index"),
    path("orders/", views.recent, name="recent"),
    path("orders/new/", views.order, name="new"),
    path("process/", views.process, name="process"),
]
