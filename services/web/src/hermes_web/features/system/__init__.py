"""The installation: services, streams, storage, retention, certificates, versions, and the diagnostics bundle."""
