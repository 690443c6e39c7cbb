/** Codes that somebody was given, to be turned into credit or a subscription. */
export const codes = {
  number: 5,
  name: 'codes',
  sql: `
create table codes (
  id text primary key,
  hash text not null unique,
  hint text not null,
  kind text not null,
  amount bigint check (amount > 0),
  group_id text references groups (id),
  days bigint check (days > 0),
  daily_limit bigint,
  weekly_limit bigint,
  monthly_limit bigint,
  reason text not null,
  author text not null,
  made_at bigint not null,
  expires_at bigint,
  voided_at bigint,
  redeemed_by text references users (id),
  redeemed_at bigint,
  -- What came of it.
  entry_id text,
  subscription_id text references subscriptions (id),
  check (kind = 'credit' and amount is not null and group_id is null and days is null
    or kind = 'subscription' and amount is null and group_id is not null and days is not null),
  check ((redeemed_at is null) = (redeemed_by is null))
);
`,
}
