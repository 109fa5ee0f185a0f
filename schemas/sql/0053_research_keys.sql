-- Research that a model writes spends with the credential of who asked, as a task of an agent does.
alter table app.research add column key_id text check (length(key_id) between 1 and 255);
