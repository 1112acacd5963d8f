"""What the API and the pages of storage and policies do alike."""

from typing import Any, cast

from hermes_common.config import Kind, Policies
from hermes_common.runtime.clock import now
from hermes_web.core.configuration import check_fit, parse_document
from hermes_web.features.storage.preview import Preview, preview
from hermes_web.web import Web


async def preview_policies(web: Web, document: Any) -> Preview:
    """Return what policies would delete at once if they were saved; raises what says why they cannot be saved."""
    after = cast(Policies, parse_document(Kind.POLICIES, document))
    _, rules = await web.rules()
    _, targets = await web.targets()
    check_fit(Kind.POLICIES, after, rules, targets)
    before = cast(Policies, (await web.config.current(Kind.POLICIES)).parsed())
    return await web.database.run(preview, before.retention, after.retention, now())
