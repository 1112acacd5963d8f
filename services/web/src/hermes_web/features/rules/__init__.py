"""The rule set: editing, checking, testing, history."""
