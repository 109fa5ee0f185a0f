"""The contracts of records and of the database: Avro in `avro/`, SQL in `sql/`.

Owns the shapes, the codec and the compatibility gate. Refuses connections, and to import any other room but the
runtime. Read next: `catalog`, `codec`, `migrations`.
"""
