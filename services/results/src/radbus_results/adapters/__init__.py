"""The records that results keeps, those of others that it reads, and the archives it makes."""
