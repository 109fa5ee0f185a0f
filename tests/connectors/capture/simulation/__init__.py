"""The real core of change capture in a simulated world: one thread, one clock, one seed a schedule.

    python -m tests.connectors.capture.simulation --seconds 60      as many schedules as fit
    python -m tests.connectors.capture.simulation --seed 7          one of them, shrunk if it fails
    python -m tests.connectors.capture.simulation --mutants         cores that break a law, and what shows it

Owns everything around the ports (`connectors/capture/ports.py`): a Postgres that is restored, cut off and moved
(`database.py`, `wal_port.py`, `state_port.py`), a broker that freezes, dies and goes back, with a producer that drops
and retries as librdkafka does (`broker.py`, `log_port.py`), processes that are killed and stopped anywhere
(`clockwork.py`, `capture.py`), what happens to all of them (`schedule.py`, `world.py`), and what must be true
(`oracle.py`). Refuses real time, I/O and chance: whatever happens once happens again.
"""
