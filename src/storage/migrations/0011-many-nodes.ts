/**
 * What gateways on the same books must agree on. `installation` is one row: the revision of the directory, by which each sees that
 * another one has changed it, and a text sealed with the secret key that all of them must have. A lease says since when its gateway
 * runs, when it was last heard and how it fares then (JSON); times are the books' own. A response in the background says who asks for
 * it, by the lease of that gateway, and is found by its id.
 */
export const manyNodes = {
  number: 11,
  name: 'many-nodes',
  sql: `
create table installation (
  id bigint primary key,
  revision bigint not null,
  secret_check text
);
insert into installation (id, revision) values (1, 0);
alter table leases add column since bigint not null default 0;
alter table leases add column heard_at bigint not null default 0;
alter table leases add column about text not null default '{}';
alter table background add column response_id text;
alter table background add column lease_id text;
create index background_by_response on background (response_id);
`,
}
