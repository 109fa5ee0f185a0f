"""Delivers alerts of spending, in the process of the agent `jobs`.

Owns when to look, how often one delivery is tried and when it is given up. An alert goes out at least once on each
channel: whoever claims a delivery has it for the time of a lease, and what a process that died had in hand is tried
again. Refuses the statements (`connectors/postgres/spend.py`) and the forms (`connectors/alerting.py`). It needs no
broker: an alert that money runs out must not wait for one.
"""

from __future__ import annotations

from connectors.alerting import channels_of
from connectors.postgres import spend
from connectors.postgres.sink import TransactionalSink
from connectors.postgres.spend import ClaimedDelivery
from runtime import metrics
from runtime.errors import AdriaticError, DependencyUnavailable, OperatingError
from runtime.lifecycle import Lifecycle
from runtime.logs import get_logger
from runtime.settings import Settings
from streams.watching import PeriodicWatch

log = get_logger("spend")

LOOK_S = 1.0
"""How often to look: two small statements, by indexes that are empty as a rule."""
TRIES_MAX = 10
"""Tries of one delivery. With the pauses between them a quarter of an hour and more: an outage of whoever is told is
waited for, one that lasts longer is seen in the deliveries."""
PAUSE_S_MAX = 600.0


def pause_after(tries: int) -> float:
    """Seconds until the next try, twice as long each time."""
    return min(2.0**tries, PAUSE_S_MAX)


class AlertCourier(PeriodicWatch):
    """See `PeriodicWatch`."""

    def __init__(self, settings: Settings, life: Lifecycle) -> None:
        super().__init__(settings, life, "alerts", LOOK_S)
        self._channels = channels_of(settings.alerts, settings.secrets)

    def look(self, store: TransactionalSink) -> None:
        try:
            self._deliver_due(store)
        except OperatingError as error:
            log.info("alerts wait: the database does not take what became of them", detail=error.detail)

    def _deliver_due(self, store: TransactionalSink) -> None:
        """Everything that is due, one delivery after the other."""
        routed = spend.ROUTE_MAX
        while routed == spend.ROUTE_MAX:
            with store.transaction() as connection:
                routed = spend.route(connection, list(self._channels))
        while not self._life.stopping:
            with store.transaction() as connection:
                delivery = spend.claim(connection)
            if delivery is None:
                return
            state, outcome, error = self._try(delivery)
            with store.transaction() as connection:
                spend.finish(connection, delivery, state, error, pause_after(delivery.tries))
            metrics.ALERT_DELIVERIES.labels(delivery.channel, outcome).inc()

    def _try(self, delivery: ClaimedDelivery) -> tuple[str, str, str]:
        """State of the delivery afterwards, how the try ended, and why."""
        channel = self._channels.get(delivery.channel)
        if channel is None:
            return "failed", "failed", "the settings do not name this channel any more"
        try:
            channel.send(delivery.message)
        except DependencyUnavailable as error:
            if delivery.tries < TRIES_MAX:
                return "waiting", "retried", error.detail
            reason = f"given up after {delivery.tries} tries: {error.detail}"
        except AdriaticError as error:
            reason = str(error)
        except Exception as error:
            log.exception("an alert cannot be sent", channel=delivery.channel, alert_id=str(delivery.message.alert_id))
            reason = f"it cannot be sent: {type(error).__name__}"
        else:
            return "delivered", "delivered", ""
        log.error(
            "an alert was not delivered",
            channel=delivery.channel,
            alert_id=str(delivery.message.alert_id),
            detail=reason,
        )
        return "failed", "failed", reason
