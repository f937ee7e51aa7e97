"""Version schema: the tables of descriptions, one for SQLite and PostgreSQL, grown by migrations.

A migration is never changed once it was released: the next one is added. Times are Unix
milliseconds. Only `pages` (what is shown) and `review_queue` are ever updated or deleted from; both
can be told from `decisions`, to which rows are only added, as to `versions`. In `product_id` stands
the key of a page: a product's id, or for another kind of page what `page_key` makes of its id.
"""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE versions (
            version_id TEXT PRIMARY KEY,
            product_id TEXT NOT NULL,
            number INTEGER NOT NULL,
            body TEXT NOT NULL,
            actor TEXT NOT NULL,
            model TEXT NOT NULL,
            created_ms BIGINT NOT NULL,
            UNIQUE (product_id, number)
        )""",
        """CREATE TABLE decisions (
            product_id TEXT NOT NULL,
            sequence INTEGER NOT NULL,
            version_id TEXT NOT NULL REFERENCES versions (version_id),
            action TEXT NOT NULL,
            actor TEXT NOT NULL,
            reason TEXT NOT NULL,
            at_ms BIGINT NOT NULL,
            PRIMARY KEY (product_id, sequence)
        )""",
        "CREATE INDEX decisions_of_version ON decisions (version_id)",
        """CREATE TABLE pages (
            product_id TEXT PRIMARY KEY,
            version_id TEXT NOT NULL REFERENCES versions (version_id),
            at_ms BIGINT NOT NULL
        )""",
        """CREATE TABLE review_queue (
            version_id TEXT PRIMARY KEY REFERENCES versions (version_id),
            product_id TEXT NOT NULL,
            impact DOUBLE PRECISION NOT NULL
        )""",
        "CREATE INDEX review_queue_order ON review_queue (impact, version_id)",
        "CREATE INDEX review_queue_product ON review_queue (product_id)",
        """CREATE TABLE outbox (
            message_id TEXT PRIMARY KEY,
            body TEXT NOT NULL,
            created_ms BIGINT NOT NULL,
            attempts INTEGER NOT NULL,
            next_ms BIGINT NOT NULL,
            delivered_ms BIGINT
        )""",
        "CREATE INDEX outbox_due ON outbox (next_ms)",
    ),
    (
        "ALTER TABLE review_queue ADD COLUMN kind TEXT NOT NULL DEFAULT 'product'",
        "CREATE INDEX review_queue_kind ON review_queue (kind, impact, version_id)",
    ),
    (
        # Content in base64, so that the type is the same in both.
        """CREATE TABLE photos (
            digest TEXT PRIMARY KEY,
            fingerprint TEXT NOT NULL,
            content TEXT NOT NULL
        )""",
        """CREATE TABLE photo_products (
            digest TEXT NOT NULL REFERENCES photos (digest),
            product_id TEXT NOT NULL,
            PRIMARY KEY (digest, product_id)
        )""",
        "CREATE INDEX pages_at ON pages (at_ms)",
    ),
)
