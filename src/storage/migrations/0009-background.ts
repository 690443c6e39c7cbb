/**
 * Responses that go on upstream after their create was answered: what is needed to settle each, as JSON. Their holds live by a lease of
 * their own that never runs out, because they outlive the gateway that placed them. Owners remember what the client called the model
 * when the upstream was told another name; null: the same.
 */
export const background = {
  number: 9,
  name: 'background',
  sql: `
create table background (
  call_id text primary key,
  pending text not null
);
insert into leases (id, expires_at) values ('background', 9007199254740991);
alter table owners add column model text;
`,
}
