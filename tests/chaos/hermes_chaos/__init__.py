"""The chaos harness: the real router as processes, faults while instances are on their way, and a join of all books.

python -m hermes_chaos --cycles 120 --seed 7        (just chaos ...)
"""
