/** What was given back of a call's charge, by whom and why: nano-dollars, never more than was charged. 0: nothing. */
export const refunds = {
  number: 2,
  name: 'refunds',
  sql: `
alter table holds add column refunded bigint not null default 0 check (refunded >= 0 and refunded <= settled);
alter table holds add column refund_reason text;
alter table holds add column refund_author text;
alter table holds add column refunded_at bigint;
`,
}
