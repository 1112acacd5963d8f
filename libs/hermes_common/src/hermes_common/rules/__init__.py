"""The rule language of routing rules, of study completion and of searches; docs/rules.md describes it for its users.

All of it is pure: no I/O, no clock (the present is an argument), no randomness. A text goes through
:mod:`~hermes_common.rules.lexer`, :mod:`~hermes_common.rules.parser` and :mod:`~hermes_common.rules.checker` to a tree
that makes sense, and through :mod:`~hermes_common.rules.compiler` to closures.
"""

from hermes_common.rules.checker import Checked, Scope, check
from hermes_common.rules.compiler import CompiledRule, compile_rule
from hermes_common.rules.decision import PlannedTarget, RuleResult, SetDecision, Status
from hermes_common.rules.dictionary import FieldInfo, Kind, fields
from hermes_common.rules.explanation import (
    ClauseResult,
    Context,
    Explanation,
    Outcome,
    SeriesResult,
    Tags,
    Verdict,
)
from hermes_common.rules.formatter import format_rule
from hermes_common.rules.lexer import KEYWORDS
from hermes_common.rules.parser import parse
from hermes_common.rules.problems import Problem, RuleError, RuleSyntaxError, RuleTypeError, Span
from hermes_common.rules.ruleset import (
    CompiledRuleSet,
    Earlier,
    Known,
    RuleEntry,
    RuleLike,
    decide,
    decide_in_study,
    decide_series,
)
from hermes_common.rules.tree import Rule
from hermes_common.rules.vocabulary import vocabulary

__all__ = [
    "KEYWORDS",
    "Checked",
    "ClauseResult",
    "CompiledRule",
    "CompiledRuleSet",
    "Context",
    "Earlier",
    "Explanation",
    "FieldInfo",
    "Kind",
    "Known",
    "Outcome",
    "PlannedTarget",
    "Problem",
    "Rule",
    "RuleEntry",
    "RuleError",
    "RuleLike",
    "RuleResult",
    "RuleSyntaxError",
    "RuleTypeError",
    "Scope",
    "SeriesResult",
    "SetDecision",
    "Span",
    "Status",
    "Tags",
    "Verdict",
    "check",
    "compile_rule",
    "decide",
    "decide_in_study",
    "decide_series",
    "fields",
    "format_rule",
    "parse",
    "vocabulary",
]
