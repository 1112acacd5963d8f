"""The hermes command line: what the web page shows, for scripts."""
