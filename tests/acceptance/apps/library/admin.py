from django.contrib import admin
from django.template.response import TemplateResponse
from django.urls import path

from apps.library.models import Book
from apps.library.tasks import import_books
from bridge import Bridge

taskbridge = Bridge()


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ("title", "author")

    def get_urls(self):
        mine = path("import/", self.admin_site.admin_view(self.import_view), name="import_books")
        return [mine, *super().get_urls()]

    def import_view(self, request):
        context = {**self.admin_site.each_context(request), "title": "Import books"}
        if request.method == "POST":
            text = request.FILES["books"].read().decode()
            job = taskbridge.enqueue(import_books.s(text), owner=f"user-{request.user.pk}")
            context |= {"job": job, "server": taskbridge.settings.server_url}
        return TemplateResponse(request, "import_books.html", context)
