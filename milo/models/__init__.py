"""Model names, versions and files: the registry, the store on disk, and pulls from a hub."""
