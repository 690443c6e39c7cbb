/** A key's own calls, newest first: whoever holds the key may ask for them as often as a prompt is drawn. */
export const callsByKey = {
  number: 2,
  name: 'calls-by-key',
  sql: 'create index calls_by_key on calls (key_id, id);',
}
