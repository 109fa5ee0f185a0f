-- A document whose text has not all that its file shows is `partial`: it is found like a processed one, and says what is missing.

alter table app.documents
    drop constraint documents_state_check,
    drop constraint documents_check,
    add column gaps jsonb not null default '[]',        -- what the file shows and the text has not: [{code, detail, pages}]
    add column characters jsonb not null default '{}',  -- by kind of text: {held, kept}
    add column parser integer not null default 0,       -- version of what read it; 0: read before there was one
    add constraint documents_state_check
        check (state in ('stored', 'processing', 'processed', 'partial', 'refused')),
    add constraint documents_check check ((state in ('partial', 'refused')) = (reason is not null));
