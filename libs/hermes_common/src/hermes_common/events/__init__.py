"""The events of Hermes: every fact that a service publishes, as a versioned model.

:data:`EVENT_TYPES` maps the permanent name of each type to its model; :func:`encode` and :func:`decode` are the way
to and from the wire (CloudEvents 1.0, NATS binary mode: attributes in headers, data in the body).
"""

from hermes_common.events import commitment, delivery, operations, reception, series, store, study, target
from hermes_common.events.base import Envelope, Event, Sender, SeriesRef, Tags, Time, Value
from hermes_common.events.commitment import CommitmentFailed, CommitmentReported, CommitmentRequested
from hermes_common.events.delivery import (
    DeliveryCancelled,
    DeliveryDismissed,
    DeliveryFailed,
    DeliveryHeld,
    DeliveryProgressed,
    DeliveryQueued,
    DeliveryReleased,
    DeliveryRestarted,
    DeliveryRetrying,
    DeliveryStarted,
    DeliverySucceeded,
    DeliveryWaiting,
    InstanceOutcome,
    SentAs,
)
from hermes_common.events.operations import (
    AlertCleared,
    AlertRaised,
    ConfigChanged,
    ExportMade,
    MessageParked,
    ServiceCrashed,
    ServiceStarted,
    ServiceStopped,
    UserChanged,
    UserCreated,
    UserDisabled,
    UserLoggedIn,
    UserLoggedOut,
    UserLoginFailed,
)
from hermes_common.events.reception import (
    AssociationAborted,
    AssociationClosed,
    AssociationOpened,
    AssociationRejected,
    InstanceDownloaded,
    InstanceQuarantined,
    InstanceRefused,
    InstanceResubmitted,
    InstanceStored,
)
from hermes_common.events.series import (
    Clause,
    Decision,
    PlannedDelivery,
    RuleOutcome,
    SeriesCompleted,
    SeriesDeferred,
    SeriesDeleted,
    SeriesDiscarded,
    SeriesRecovered,
    SeriesRouted,
    SeriesUnmatched,
)
from hermes_common.events.store import StoreCleaned, StorePressed, StoreRelieved, StoreSwept
from hermes_common.events.study import StudyCompleted, StudyHeld
from hermes_common.events.target import (
    TargetDown,
    TargetEndpointDown,
    TargetEndpointUp,
    TargetPaused,
    TargetResumed,
    TargetUp,
)
from hermes_common.events.wire import MalformedEventError, UnknownEventError, decode, encode

EVENT_TYPES: dict[str, type[Event]] = {
    model.type(): model
    for module in (reception, commitment, series, study, delivery, target, store, operations)
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, Event) and "verb" in vars(model)
}

__all__ = [
    "EVENT_TYPES",
    "AlertCleared",
    "AlertRaised",
    "AssociationAborted",
    "AssociationClosed",
    "AssociationOpened",
    "AssociationRejected",
    "Clause",
    "CommitmentFailed",
    "CommitmentReported",
    "CommitmentRequested",
    "ConfigChanged",
    "Decision",
    "DeliveryCancelled",
    "DeliveryDismissed",
    "DeliveryFailed",
    "DeliveryHeld",
    "DeliveryProgressed",
    "DeliveryQueued",
    "DeliveryReleased",
    "DeliveryRestarted",
    "DeliveryRetrying",
    "DeliveryStarted",
    "DeliverySucceeded",
    "DeliveryWaiting",
    "Envelope",
    "Event",
    "ExportMade",
    "InstanceDownloaded",
    "InstanceOutcome",
    "InstanceQuarantined",
    "InstanceRefused",
    "InstanceResubmitted",
    "InstanceStored",
    "MalformedEventError",
    "MessageParked",
    "PlannedDelivery",
    "RuleOutcome",
    "Sender",
    "SentAs",
    "SeriesCompleted",
    "SeriesDeferred",
    "SeriesDeleted",
    "SeriesDiscarded",
    "SeriesRecovered",
    "SeriesRef",
    "SeriesRouted",
    "SeriesUnmatched",
    "ServiceCrashed",
    "ServiceStarted",
    "ServiceStopped",
    "StoreCleaned",
    "StorePressed",
    "StoreRelieved",
    "StoreSwept",
    "StudyCompleted",
    "StudyHeld",
    "Tags",
    "TargetDown",
    "TargetEndpointDown",
    "TargetEndpointUp",
    "TargetPaused",
    "TargetResumed",
    "TargetUp",
    "Time",
    "UnknownEventError",
    "UserChanged",
    "UserCreated",
    "UserDisabled",
    "UserLoggedIn",
    "UserLoggedOut",
    "UserLoginFailed",
    "Value",
    "decode",
    "encode",
]
