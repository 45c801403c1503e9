-- The event store. One statement ends with each line that ends in a semicolon.

-- Whoever works on a stream locks its row first. Here and in the events no CHECK says that versions begin with 1, as an append makes them:
-- a server reads a CHECK and prepares it anew for each statement, which was a tenth of its work for an append.
CREATE TABLE {schema}.streams (
    stream_id text PRIMARY KEY,
    version bigint NOT NULL
);

CREATE TABLE {schema}.events (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream_id text NOT NULL,
    version bigint NOT NULL,
    type text NOT NULL,
    data jsonb NOT NULL,
    metadata jsonb NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (stream_id, version)
);

-- For what a pass owes: the events of transactions that its checkpoint does not see.
CREATE INDEX events_by_xid ON {schema}.events (xid, position);

-- Read by every append, so written only when a state changes.
CREATE TABLE {schema}.generations (
    projection text NOT NULL,
    generation bigint NOT NULL CHECK (generation > 0),
    state text NOT NULL CHECK (state IN ('building', 'live', 'retired', 'abandoned')),
    handler_version bigint NOT NULL,
    PRIMARY KEY (projection, generation)
);

CREATE UNIQUE INDEX generations_one_live ON {schema}.generations (projection) WHERE state = 'live';

CREATE UNIQUE INDEX generations_one_building ON {schema}.generations (projection) WHERE state = 'building';

-- Written by every batch, so in a row that no append reads.
CREATE TABLE {schema}.rebuild_progress (
    projection text NOT NULL,
    generation bigint NOT NULL,
    phase text NOT NULL CHECK (phase IN ('fencing', 'replaying', 'done', 'abandoned')),
    fenced boolean NOT NULL DEFAULT false,
    epoch bigint NOT NULL DEFAULT 1,
    pass bigint NOT NULL DEFAULT 0,
    checkpoint pg_snapshot NOT NULL DEFAULT '1:1:',
    pass_snapshot pg_snapshot,
    cursor bigint NOT NULL DEFAULT 0,
    pass_end bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (projection, generation)
);

-- Led by the stream: an append asks whether anything of its own stream is pending.
CREATE TABLE {schema}.skips (
    stream_id text NOT NULL,
    projection text NOT NULL,
    generation bigint NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    reason text NOT NULL CHECK (reason IN ('rebuilding', 'behind', 'no_handler', 'failed', 'held')),
    attempts bigint NOT NULL DEFAULT 0,
    last_error text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream_id, projection, generation, version)
);

-- For a drain that looks for work: it must not have to read the records of a building generation.
CREATE INDEX skips_by_generation ON {schema}.skips (projection, generation, stream_id, version);

-- A record is archived once: the key makes a second time an error.
CREATE TABLE {schema}.skip_archive (
    stream_id text NOT NULL,
    projection text NOT NULL,
    generation bigint NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    reason text NOT NULL,
    attempts bigint NOT NULL,
    last_error text,
    recorded_at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('projected', 'already_projected', 'superseded')),
    archived_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream_id, projection, generation, version)
);
