-- A database as schema version 2 wrote it: what sqlite3's shell says to .dump, and its two numbers. Never edited; each released version has one.
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE conversations (
    number      INTEGER PRIMARY KEY,  -- what the other tables call it
    tenant      TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    model       TEXT    NOT NULL,
    created     INTEGER NOT NULL,     -- Unix milliseconds
    forked_from TEXT,                 -- id@seq
    deleted     INTEGER,              -- Unix milliseconds
    purging     INTEGER NOT NULL DEFAULT 0, -- 1: deleted, and some of its content is still here
    live        INTEGER NOT NULL DEFAULT 0, -- 1: a turn is in progress
    owner       TEXT,                 -- who acquired it last
    epoch       INTEGER NOT NULL DEFAULT 0,
    seq         INTEGER NOT NULL DEFAULT 0, -- of the newest event
    first_seq   INTEGER NOT NULL DEFAULT 1, -- of the oldest that is retained
    last_batch  TEXT,                 -- the batch that the newest event came with
    metadata    TEXT    NOT NULL,     -- a JSON object
    state       TEXT    NOT NULL DEFAULT '',
    UNIQUE (tenant, id)
) STRICT;
INSERT INTO conversations VALUES(1,'default','conv_1','small',1700000000123,'conv_0@5',NULL,0,1,'host 1234',3,2,1,'0123abcd-0000-0000-0000-000000000001','{"title":"Grüße"}','{"turn":1}');
INSERT INTO conversations VALUES(2,'default','conv_0','small',1,NULL,1795282000000,0,0,NULL,1,0,1,NULL,'{}','');
CREATE TABLE events (
    conversation INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    tokens       BLOB    NOT NULL,    -- little-endian int32
    body         TEXT    NOT NULL,    -- JSON
    PRIMARY KEY (conversation, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO events VALUES(1,1,'turn_accepted',X'0100000000010000ffffffff','{"kind":"turn_accepted"}');
INSERT INTO events VALUES(1,2,'delta',X'','{"kind":"delta","text":"😀"}');
CREATE TABLE turns (
    conversation INTEGER NOT NULL,
    turn         INTEGER NOT NULL,
    turn_id      TEXT    NOT NULL,    -- chosen by the client
    payload_hash TEXT    NOT NULL,
    status       TEXT    NOT NULL,
    start_seq    INTEGER NOT NULL,
    end_seq      INTEGER NOT NULL,    -- 0 while it is in progress
    PRIMARY KEY (conversation, turn)
) STRICT, WITHOUT ROWID;
INSERT INTO turns VALUES(1,1,'turn-1','hash','InProgress',1,0);
CREATE TABLE segments (
    conversation INTEGER NOT NULL,
    number       INTEGER NOT NULL,
    first        INTEGER NOT NULL,    -- index of the first token in the log
    tokens       BLOB    NOT NULL,    -- little-endian int32
    hash         TEXT    NOT NULL,
    PRIMARY KEY (conversation, number)
) STRICT;
INSERT INTO segments VALUES(1,1,0,X'0700000008000000','00ff');
CREATE TABLE blobs (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation INTEGER NOT NULL,
    name         TEXT,                -- null: not whole yet, or replaced or deleted
    length       INTEGER NOT NULL     -- in bytes
) STRICT;
INSERT INTO blobs VALUES(1,1,'older',2);
INSERT INTO blobs VALUES(3,1,'state',3);
INSERT INTO blobs VALUES(4,1,NULL,5);
CREATE TABLE blob_pieces (
    blob         INTEGER NOT NULL,
    piece        INTEGER NOT NULL,    -- 0, 1, 2, ...
    content      BLOB    NOT NULL,
    PRIMARY KEY (blob, piece)
) STRICT;
INSERT INTO blob_pieces VALUES(1,0,X'0102');
INSERT INTO blob_pieces VALUES(3,0,X'00ff07');
INSERT INTO blob_pieces VALUES(4,0,X'0000000000');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('blobs',4);
CREATE INDEX conversations_listed ON conversations (tenant, id, deleted) WHERE deleted IS NULL;
CREATE INDEX conversations_live ON conversations (live) WHERE live = 1;
CREATE INDEX conversations_purging ON conversations (purging) WHERE purging = 1;
CREATE UNIQUE INDEX turns_by_id ON turns (conversation, turn_id);
CREATE UNIQUE INDEX blobs_by_name ON blobs (conversation, name);
CREATE INDEX blobs_unnamed ON blobs (name) WHERE name IS NULL;
COMMIT;
PRAGMA application_id = 1279489144;
PRAGMA user_version = 2;
