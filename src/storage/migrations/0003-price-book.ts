import type { Migration } from '../migrate.ts'

/** A number for the book as a whole, so that whoever writes into it says which book was read before. */
export const priceBook: Migration = {
  number: 3,
  name: 'price-book',
  sql: `
create table price_book (
  id bigint primary key check (id = 1),
  -- Goes up with every change of any price.
  revision bigint not null
);
insert into price_book (id, revision) values (1, 0);
`,
}
