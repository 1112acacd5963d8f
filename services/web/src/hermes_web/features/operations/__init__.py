"""Liveness, readiness, metrics, the API's description."""
