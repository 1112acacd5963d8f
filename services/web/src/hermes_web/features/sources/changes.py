"""What the buttons of the page of sources do to the document."""

import re
from collections.abc import Callable
from typing import Any

from hermes_common.config import SourceMode, Sources
from hermes_common.passcodes import hash_passcode
from hermes_web.errors import FieldProblem, InvalidError, NotFoundError
from hermes_web.http.forms import Form

_FIELDS = ("slug", "name", "calling_aet", "called_aet", "network", "comment")
_SHORTEST = 8

Document = dict[str, Any]


def changed(sources: Sources, form: Form, salt: bytes) -> tuple[Document, str]:
    """Return the document after the action of a form, and the comment of its revision; ``salt`` is for a passcode."""
    document: Document = sources.model_dump(mode="json")
    if form.text("action") == "user":
        return document, _user(document, form, salt)
    action = _ACTIONS.get(form.text("action"))
    if action is None:
        raise NotFoundError("there is no such action")
    return document, action(document, form)


def _mode(document: Document, form: Form) -> str:
    document["mode"] = form.text("mode")
    return f"mode: {SourceMode.OPEN if form.text('mode') == 'open' else SourceMode.ALLOW_LIST}"


def _add(document: Document, form: Form) -> str:
    entry: Document = {"slug": "", "name": "", **form.filled({name: name for name in _FIELDS})}
    entry |= {"allow": form.text("allow") != "deny", "commitment": _commitment(form)}
    document["sources"] = [*document["sources"], entry]
    return f"{form.text('slug')}: added"


def _commitment(form: Form) -> Document | None:
    filled = form.filled({"commitment_host": "host", "commitment_port": "port", "commitment_aet": "aet"})
    if not filled:
        return None
    return {**filled, "tls": form.text("commitment_tls") == "yes"}


def _known(document: Document, form: Form) -> str:
    """Make an entry of a sender that was seen."""
    calling, address = form.text("calling_aet"), form.text("address")
    taken = {entry["slug"] for entry in document["sources"]}
    stem = re.sub(r"[^a-z0-9]+", "-", calling.lower()).strip("-")[:50] or "sender"
    slug = next(name for name in (stem, *(f"{stem}-{n}" for n in range(2, len(taken) + 3))) if name not in taken)
    entry = {"slug": slug, "name": calling or address, "network": address, "allow": True}
    document["sources"] = [*document["sources"], entry | ({"calling_aet": calling} if calling else {})]
    return f"{slug}: added, as it was seen"


def _remove(document: Document, form: Form) -> str:
    slug = form.text("slug")
    document["sources"] = [entry for entry in document["sources"] if entry["slug"] != slug]
    return f"{slug}: removed"


def _up(document: Document, form: Form) -> str:
    entries, slug = document["sources"], form.text("slug")
    place = next((index for index, entry in enumerate(entries) if entry["slug"] == slug), 0)
    if place:
        entries[place - 1], entries[place] = entries[place], entries[place - 1]
    return f"{slug}: moved up"


def _user(document: Document, form: Form, salt: bytes) -> str:
    """Add a user to an entry; the passcode goes no further than this."""
    slug, name, passcode = form.text("slug"), form.text("user"), form.raw("passcode")
    entry = next((entry for entry in document["sources"] if entry["slug"] == slug), None)
    if entry is None:
        raise NotFoundError(f"there is no source {slug!r}")
    if passcode and len(passcode) < _SHORTEST:
        raise InvalidError(problems=[FieldProblem("passcode", f"at least {_SHORTEST} characters")])
    kept = hash_passcode(passcode.encode(), salt) if passcode else None
    others = [user for user in entry["users"] if user["name"] != name]
    entry["users"] = [*others, {"name": name, "passcode": kept}]
    return f"{slug}: user {name}"


def _drop_user(document: Document, form: Form) -> str:
    slug, name = form.text("slug"), form.text("user")
    for entry in document["sources"]:
        if entry["slug"] == slug:
            entry["users"] = [user for user in entry["users"] if user["name"] != name]
    return f"{slug}: user {name} removed"


def _called(document: Document, form: Form) -> str:
    aet, mode = form.text("aet"), form.text("called_mode")
    title = {"aet": aet, "mode": None if mode in ("", "same") else mode, "comment": form.text("comment")}
    document["called"] = [*(other for other in document["called"] if other["aet"] != aet), title]
    return f"called AE title {aet}"


def _drop_called(document: Document, form: Form) -> str:
    document["called"] = [title for title in document["called"] if title["aet"] != form.text("aet")]
    return f"called AE title {form.text('aet')} removed"


def _strictness(document: Document, form: Form) -> str:
    document["only_called"] = form.checked("only_called")
    document["refuse_unverified"] = form.checked("refuse_unverified")
    return "called AE titles and user identities"


_ACTIONS: dict[str, Callable[[Document, Form], str]] = {
    "mode": _mode,
    "add": _add,
    "known": _known,
    "remove": _remove,
    "up": _up,
    "drop_user": _drop_user,
    "called": _called,
    "drop_called": _drop_called,
    "strictness": _strictness,
}
