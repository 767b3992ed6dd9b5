"""Start the ingest service: `python -m radbus_ingest`."""

from radbus_runtime.service import main

from radbus_ingest.app import create_app
from radbus_ingest.settings import IngestSettings

if __name__ == "__main__":
    main("ingest", IngestSettings, create_app)
