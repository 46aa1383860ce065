"""How the installation does: the status document, alerts, the watchdog, health, and `/fix`."""
