"""How ingest talks to clients and stores."""
