"""Problems that people hand in: a diagnosis always, the operator's command only if there is one."""
