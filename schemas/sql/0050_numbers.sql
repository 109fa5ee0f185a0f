-- Numbers of ADRs that are written elsewhere, on a branch: nobody else gets them until then. A row whose number has an
-- ADR, or whose time is over, holds nothing; the next reservation of its log takes it away or over.
create table app.number_reservations (
    tenant_id   uuid not null,
    log_id      uuid not null,
    number      integer not null check (number > 0),
    holder      text not null check (length(holder) between 1 and 200),
    reserved_by uuid not null,
    reserved_at timestamptz not null,
    expires_at  timestamptz not null,
    primary key (tenant_id, log_id, number),
    unique (tenant_id, log_id, holder),
    foreign key (tenant_id, log_id) references app.logs
);
call app.protect('app.number_reservations');
grant select, insert, update, delete on app.number_reservations to adriatic_api;
