"""The demo of `hermes up --demo`: targets and rules that show what the router does, and a few series sent in."""

from hermes_local.demo.tour import run_demo

__all__ = ["run_demo"]
