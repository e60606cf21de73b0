BEGIN TRANSACTION;
CREATE TABLE arriving (           -- runs that are being taken in with a document, which is not there yet
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (owner, id)
) WITHOUT ROWID;
CREATE TABLE documents (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    words TEXT NOT NULL,          -- the name as it is searched
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    head TEXT NOT NULL,           -- the node that is shown
    made_at INTEGER NOT NULL,     -- milliseconds since 1970, here and below
    changed_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    binned_at INTEGER,
    bytes INTEGER NOT NULL,       -- of its history
    stale INTEGER NOT NULL DEFAULT 0  -- whether `refs` may name more than the nodes do
) WITHOUT ROWID;
INSERT INTO "documents" VALUES('00000000000000000000000000000002','me','Version 2','version 2',300,200,'0000000000000000000000000000000b',1795312605192,1795312605194,1795312605194,NULL,279,0);
CREATE TABLE marks (              -- what a person said of a picture, which its file does not tell
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    favourite INTEGER NOT NULL DEFAULT 0,
    binned_at INTEGER,
    PRIMARY KEY (owner, id)
) WITHOUT ROWID;
INSERT INTO "marks" VALUES('me','1700000000000-0123456789abcdef',1,NULL);
CREATE TABLE nodes (
    document TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    parent TEXT,
    number INTEGER NOT NULL,      -- in the order of making
    label TEXT NOT NULL,
    at INTEGER NOT NULL,
    bytes INTEGER NOT NULL,       -- of its state and of the pixels that its parent does not have
    state BLOB NOT NULL,          -- JSON, packed by zlib
    PRIMARY KEY (document, id)
);
INSERT INTO "nodes" VALUES('00000000000000000000000000000002','4bd719bd9311dc6dfab55b50b4172e20',NULL,1,'New',1795312605192,93,X'789C2DCB410A80201005D0BBFCB50BA9567395682135A964053A2521DE3DA1F6EF159859FCCDA0E30A41C1B1B74E409DD60AC13C1C13689C1476933650C1CA461C47D0A060E399410D8A0FDC5CA9F583FFC97E1107EAB5AE2FF48F216E');
INSERT INTO "nodes" VALUES('00000000000000000000000000000002','0000000000000000000000000000000b','4bd719bd9311dc6dfab55b50b4172e20',2,'Stroke 1',1795312605193,93,X'789C2DCB410A80201005D0BBFCB50BA9567395682135A964053A2521DE3DA1F6EF159859FCCDA0E30A41C1B1B74E409DD60AC13C1C13689C1476933650C1CA461C47D0A060E399410D8A0FDC5CA9F583FFC97E1107EAB5AE2FF48F216E');
INSERT INTO "nodes" VALUES('00000000000000000000000000000002','0000000000000000000000000000000c','4bd719bd9311dc6dfab55b50b4172e20',3,'Stroke 2',1795312605194,93,X'789C2DCB410A80201005D0BBFCB50B8B567395682135A964053A2521DE3DA1F6EF159859FCCDA0E30A41C1B1B74E409DD60AC13C1C13689C1476933650C1CA461C47D0A060E399410D8A0FDC5CA9F583FFC97E1107EAB5AE2FF43B216C');
CREATE TABLE pictures (           -- what the files say, to be searched. Made again from them where it is lost
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    words TEXT NOT NULL,          -- what is searched
    model TEXT NOT NULL,
    seed INTEGER NOT NULL,
    request TEXT NOT NULL,        -- JSON
    stopped_at INTEGER,
    bytes INTEGER NOT NULL,
    fill INTEGER,                 -- whether it fills a region of another picture, NULL where nobody has looked yet
    PRIMARY KEY (owner, id)
) WITHOUT ROWID;
CREATE TABLE refs (               -- everything that some node of a document refers to
    document TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,           -- pixels, run
    id TEXT NOT NULL,
    PRIMARY KEY (document, kind, id)
) WITHOUT ROWID;
INSERT INTO "refs" VALUES('00000000000000000000000000000002','run','1700000000000-0123456789abcdef');
CREATE TABLE runs (               -- what the files of runs say. Made again from them where it is lost
    owner TEXT NOT NULL,
    id TEXT NOT NULL,             -- of its picture
    parent TEXT,                  -- the run that it goes on from
    branch_at INTEGER,
    steps INTEGER NOT NULL,       -- with those that it shares
    seconds REAL,
    open INTEGER NOT NULL,        -- whether every step of it can still be opened
    bytes INTEGER NOT NULL,       -- of its own recording
    PRIMARY KEY (owner, id)
) WITHOUT ROWID;
INSERT INTO "runs" VALUES('me','1700000000000-0123456789abcdef',NULL,NULL,20,1.5,1,2048);
CREATE INDEX documents_of ON documents (owner, used_at);
CREATE INDEX nodes_in_order ON nodes (document, number);
CREATE INDEX refs_to ON refs (kind, id);
CREATE INDEX pictures_by_model ON pictures (owner, model);
CREATE INDEX runs_from ON runs (owner, parent);
COMMIT;
PRAGMA user_version = 2;
