"""TLS towards targets: what to trust and what to show, by the settings of a target (BCP 195: TLS 1.2 or later)."""

import ssl
import tempfile

from hermes_common.targets import Tls
from hermes_dispatcher.adapters.targets.steps import TroubleError
from hermes_dispatcher.core.outcomes import Trouble


def context_of(tls: Tls) -> ssl.SSLContext:
    """Return the context of a target; :class:`TroubleError` if a certificate or key in it cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.check_name
    try:
        if tls.ca:
            context = _trusting(tls)
        if tls.certificate:
            _show(context, tls)
    except (ssl.SSLError, ValueError) as error:
        words = getattr(error, "reason", "") or str(error)
        raise TroubleError(Trouble.REJECTED, f"the TLS settings of the target cannot be used: {words}") from error
    return context


def _trusting(tls: Tls) -> ssl.SSLContext:
    """Return a context that trusts the given authorities and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.check_name
    context.load_verify_locations(cadata=tls.ca)
    return context


def _show(context: ssl.SSLContext, tls: Tls) -> None:
    """Load our certificate; the library reads it from a file only, which others cannot read and which is removed."""
    with tempfile.NamedTemporaryFile("w", prefix="hermes-", suffix=".pem") as file:
        file.write(f"{tls.certificate}\n{tls.key.get_secret_value()}\n")
        file.flush()
        context.load_cert_chain(file.name, password=lambda: b"")
