/**
 * An account's calls are sought day by day, on the days on which it was asked, so an index less is written for every call: of a thousand accounts
 * that are asked in turn each had a page of its own there.
 */
export const accountDays = {
  number: 13,
  name: 'account-days',
  // By the time in a call's id, which is made within a minute of the beginning: of those that are there, both days are taken.
  sql: `
create table account_days (
  account_id text not null,
  -- Of UTC, since 1970.
  day bigint not null,
  primary key (account_id, day)
);
insert into account_days (account_id, day)
select account_id, began_at / 86400000 from calls where account_id is not null
union
select account_id, (began_at + 60000) / 86400000 from calls where account_id is not null;
drop index calls_by_account;
`,
}
