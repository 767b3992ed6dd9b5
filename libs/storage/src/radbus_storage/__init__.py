"""The two stores: objects (any S3, by minio) and documents (MongoDB, by motor). Nothing else imports those clients."""
