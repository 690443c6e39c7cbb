/** The first schema. Booleans are 0 or 1, times are milliseconds since 1970 UTC, money is nano-dollars, lists are JSON text. */
export const books = {
  number: 1,
  name: 'books',
  sql: `
create table users (
  id text primary key,
  email text not null unique,
  concurrency bigint not null,
  requests_per_minute bigint,
  tokens_per_minute bigint,
  disabled bigint not null default 0,
  created_at bigint not null
);

create table groups (
  id text primary key,
  name text not null unique,
  multiplier text not null,
  pays text not null,
  unpriced text not null,
  on_client_left text not null,
  created_at bigint not null
);

create table accounts (
  id text primary key,
  name text not null unique,
  provider text not null,
  base_url text not null,
  api_key_sealed text not null,
  concurrency bigint not null,
  priority bigint not null,
  weight bigint not null,
  models text not null,
  capabilities text not null,
  proxy text,
  allow_private_address bigint not null,
  default_tier text not null,
  requests_per_minute bigint,
  tokens_per_minute bigint,
  disabled bigint not null default 0,
  created_at bigint not null
);

create table account_groups (
  account_id text not null references accounts (id),
  group_id text not null references groups (id),
  primary key (account_id, group_id)
);

create table keys (
  id text primary key,
  user_id text not null references users (id),
  name text not null,
  hash text not null unique,
  hint text not null,
  concurrency bigint,
  requests_per_minute bigint,
  tokens_per_minute bigint,
  allow_addresses text not null,
  deny_addresses text not null,
  expires_at bigint,
  disabled bigint not null default 0,
  created_at bigint not null,
  unique (user_id, name)
);

create table key_groups (
  key_id text not null references keys (id),
  group_id text not null references groups (id),
  position bigint not null,
  primary key (key_id, group_id)
);

create table prices (
  id text primary key,
  model text not null,
  tier text not null,
  context_over bigint not null,
  input text not null,
  cached text not null,
  cache_write text not null,
  cache_write_12h text not null,
  output text not null,
  web_search text,
  file_search text,
  max_output bigint,
  aliases text not null,
  source text,
  effective_from bigint not null,
  effective_to bigint
);
create index prices_by_model on prices (model, tier, context_over, effective_from);
create unique index prices_running on prices (model, tier, context_over) where effective_to is null;

create table wallets (
  id text primary key,
  user_id text not null unique references users (id),
  balance bigint not null check (balance >= 0),
  held bigint not null check (held >= 0 and held <= balance),
  -- What the latest hold or charge came to, for the next statement of the same transaction. Means nothing afterwards.
  moved bigint not null default 0
);

create table entries (
  wallet_id text not null references wallets (id),
  id text not null,
  kind text not null,
  reference text not null,
  amount bigint not null,
  reason text,
  author text,
  created_at bigint not null,
  primary key (wallet_id, id),
  unique (kind, reference)
);

create table subscriptions (
  id text primary key,
  user_id text not null references users (id),
  group_id text not null references groups (id),
  starts_at bigint not null,
  ends_at bigint not null,
  daily_limit bigint,
  weekly_limit bigint,
  monthly_limit bigint
);
create index subscriptions_by_user on subscriptions (user_id, group_id);

create table windows (
  subscription_id text not null references subscriptions (id),
  kind text not null,
  starts_at bigint not null,
  used bigint not null check (used >= 0),
  held bigint not null check (held >= 0),
  primary key (subscription_id, kind, starts_at)
);

create table leases (
  id text primary key,
  expires_at bigint not null
);

create table holds (
  id text primary key,
  wallet_id text references wallets (id),
  subscription_id text references subscriptions (id),
  amount bigint not null check (amount >= 0),
  state text not null,
  settled bigint not null default 0,
  lease_id text not null,
  began_at bigint not null,
  user_id text not null,
  key_id text not null,
  group_id text not null,
  model text not null,
  path text not null,
  address text not null,
  stream bigint not null
);
create index holds_open on holds (lease_id) where state = 'held';

create table calls (
  id text primary key,
  user_id text not null,
  key_id text not null,
  group_id text,
  account_id text,
  path text not null,
  stream bigint not null,
  requested_model text,
  served_model text,
  tier text,
  price_id text,
  status bigint not null,
  ended text not null,
  fault text,
  basis text not null,
  input_tokens bigint not null,
  cached_tokens bigint not null,
  cache_write_tokens bigint not null,
  cache_write_12h_tokens bigint not null,
  output_tokens bigint not null,
  reasoning_tokens bigint not null,
  web_searches bigint not null,
  file_searches bigint not null,
  held bigint not null,
  cost bigint not null,
  uncollected bigint not null,
  attempts bigint not null,
  line_ms bigint not null,
  first_token_ms bigint,
  duration_ms bigint not null,
  address text not null,
  user_agent text,
  instructions_added bigint not null,
  output_lowered_to bigint,
  upstream_request_id text,
  began_at bigint not null
);
create index calls_by_user on calls (user_id, id);
create index calls_by_account on calls (account_id, id);

create table attempts (
  call_id text not null,
  number bigint not null,
  account_id text not null,
  model text not null,
  began_at bigint not null,
  status bigint,
  fault text,
  first_event_ms bigint,
  duration_ms bigint not null,
  upstream_request_id text,
  answered bigint not null,
  primary key (call_id, number)
);

create table owners (
  id text primary key,
  kind text not null,
  user_id text not null,
  account_id text not null,
  context_tokens bigint not null,
  created_at bigint not null
);
`,
}
