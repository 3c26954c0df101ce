"""One credential kept fresh for many connections, threads and processes."""
