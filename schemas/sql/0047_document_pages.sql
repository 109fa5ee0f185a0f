-- Pages of documents: where each begins in a text, and what was recognised on those that are pictures.

-- Of texts whose file has pages. Read with app.document_versions, and in no topic: a passage's page follows from its place.
create table app.document_pages (
    tenant_id   uuid not null,
    document_id uuid not null,
    version     bigint not null,
    starts      integer[] not null check (cardinality(starts) > 0),  -- of page 1, 2, …: characters before it
    primary key (tenant_id, document_id, version),
    foreign key (tenant_id, document_id, version) references app.document_versions
);
call app.protect('app.document_pages');
grant select on app.document_pages to adriatic_api;
grant insert on app.document_pages to adriatic_flows;

-- A row for each page that was looked at, so that a job that is cut off goes on, and a retry reads the others alone. Gone with the
-- original.
create table app.document_scans (
    tenant_id   uuid not null,
    document_id uuid not null,
    page        integer not null check (page > 0),
    scanner     integer not null,                  -- version of what recognised it
    text        text not null default '',
    lines       integer not null default 0,        -- in the text
    left_out    integer not null default 0,        -- of too little confidence
    unsure      integer not null default 0,        -- letters of these
    confidence  double precision not null default 0,  -- mean of the lines in the text
    script      text not null default '',          -- of most letters
    fault       jsonb,                             -- why there is nothing: {code, detail}
    primary key (tenant_id, document_id, page),
    foreign key (tenant_id, document_id) references app.documents
);
call app.protect('app.document_scans');
grant select on app.document_scans to adriatic_api;
grant insert, update, delete on app.document_scans to adriatic_flows;
