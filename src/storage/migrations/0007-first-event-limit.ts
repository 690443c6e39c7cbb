/** How long the first event of a stream may take in a group before somebody else is asked. */
export const firstEventLimit = {
  number: 7,
  name: 'first-event-limit',
  sql: 'alter table groups add column first_event_limit_ms bigint;',
}
