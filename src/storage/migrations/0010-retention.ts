import type { Migration } from '../migrate.ts'

/**
 * Up to where rows of calls were cut, and when somebody looks again. On a server the rows of calls and attempts lie in partitions by the
 * months of their ids, so that a month that nobody needs any more is dropped and not deleted row by row.
 */
export const retention: Migration = {
  number: 10,
  name: 'retention',
  sql: `
create table retention (
  id bigint primary key check (id = 1),
  -- Rows of calls whose id sorts before this may be gone. Goes up, never down.
  cut_before text not null,
  -- The moment of that id; 0 while everything is there.
  cut_before_ms bigint not null,
  next_run_at bigint not null
);
insert into retention (id, cut_before, cut_before_ms, next_run_at) values (1, '', 0, 0);
`,
  /*
   * What there is becomes the first partition as it stands: it is read once, to see that all of it belongs there, and not copied. It ends
   * with the month that runs, so the gateways make the months after it. What belongs to no month that there is lies in `_rest`.
   */
  postgres: `
do $$
declare
  next_month bigint := extract(epoch from date_trunc('month', now() at time zone 'UTC') + interval '1 month') * 1000;
  hex text := lpad(to_hex(next_month), 12, '0');
  bound text := substr(hex, 1, 8) || '-' || substr(hex, 9);
begin
  alter table calls rename to calls_before;
  alter index calls_pkey rename to calls_before_pkey;
  alter index calls_by_user rename to calls_before_by_user;
  alter index calls_by_account rename to calls_before_by_account;
  alter index calls_by_key rename to calls_before_by_key;
  create table calls (like calls_before including defaults, primary key (id)) partition by range (id);
  create index calls_by_user on calls (user_id, id);
  create index calls_by_account on calls (account_id, id);
  create index calls_by_key on calls (key_id, id);
  create table calls_rest partition of calls default;
  with later as (delete from calls_before where id >= bound returning *) insert into calls_rest select * from later;
  execute format('alter table calls attach partition calls_before for values from (minvalue) to (%L)', bound);

  alter table attempts rename to attempts_before;
  alter index attempts_pkey rename to attempts_before_pkey;
  create table attempts (like attempts_before including defaults, primary key (call_id, number)) partition by range (call_id);
  create table attempts_rest partition of attempts default;
  with later as (delete from attempts_before where call_id >= bound returning *) insert into attempts_rest select * from later;
  execute format('alter table attempts attach partition attempts_before for values from (minvalue) to (%L)', bound);
end $$;
`,
}
