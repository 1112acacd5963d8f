"""A fake."""

from fake_service import main

main("bookkeeper")
