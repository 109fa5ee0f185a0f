-- Pages whose text is made by scripts: whether a crawl has them rendered by a browser, and which were.

alter table app.crawls
    add column render text check (render in ('never', 'auto', 'always'));  -- null: as crawler.render says
alter table app.crawl_schedules
    add column render text check (render in ('never', 'auto', 'always'));
alter table app.crawl_urls
    add column rendered boolean not null default false;  -- its text is what a browser showed
