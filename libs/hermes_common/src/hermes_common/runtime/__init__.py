"""What the services share at run time: life cycle, bus, object store, health, logs. Contracts stay outside of here."""
