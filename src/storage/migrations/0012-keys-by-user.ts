/**
 * A key's calls are found among those of its user, so an index less is written for every call: among many keys each had a page of its own
 * there. For that it must be known whose a key was, also when the key is gone and its calls are not.
 */
export const keysByUser = {
  number: 12,
  name: 'keys-by-user',
  // The keys that calls name are found one after another by the index, and not by reading all calls.
  sql: `
create table removed_keys (
  id text primary key,
  user_id text not null
);
insert into removed_keys (id, user_id)
with recursive named (key_id) as (
  select min(key_id) from calls
  union all
  select (select min(calls.key_id) from calls where calls.key_id > named.key_id) from named where named.key_id is not null
)
select key_id, (select user_id from calls where calls.key_id = named.key_id limit 1) from named
where key_id is not null and not exists (select 1 from keys where keys.id = named.key_id);
drop index calls_by_key;
`,
}
