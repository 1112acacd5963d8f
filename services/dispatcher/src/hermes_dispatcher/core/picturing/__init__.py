"""Small pictures of data sets."""
